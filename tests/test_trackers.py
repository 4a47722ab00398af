"""What is logged of a run, and what all observers have in common."""

import builtins
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from leaderboards import make_record
from tracked import finished, flagged, run_folder, score

import genbench
import genbench_mlflow
import genbench_tensorboard
from genbench import tracking
from genbench.errors import GenbenchError
from genbench.plugins import Plugins
from genbench.records import Score
from genbench.store import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path)


def test_the_curve_leaves_out_what_is_no_finite_number(folder: Path) -> None:
    lines = ['{"images_seen": 400, "kl": NaN, "x": "1", "y": true, "z": 1e999, "ok": 2}', "[1]", '{"kl": 3}', '{"imag']
    with RunFolder(folder).curve_path.open("a") as file:
        file.write("\n".join(lines))
    assert tracking.curve(folder)[2:] == [(300, {"kl": 1.0, "gan.real": 0.75}), (400, {"ok": 2.0})]


def test_a_folder_without_anything_has_no_curve_and_no_pictures(tmp_path: Path) -> None:
    assert tracking.curve(tmp_path / "nowhere") == []
    assert tracking.pictures(tmp_path / "nowhere") == []


def test_links_are_no_pictures(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "images" / "more.png").symlink_to(tmp_path / "secret")
    assert [path.name for path in tracking.pictures(folder)] == ["samples.png"]


def test_scores_of_one_name_are_told_apart_by_their_protocols_in_any_order() -> None:
    one, other, alone = score("fd", 1, "prior"), score("fd", 2, "gmm"), score("mse", 3)
    named = tracking.named_scores(finished(one, other, alone))
    assert named == {"fd sampler=prior": one, "fd sampler=gmm": other, "mse": alone}
    assert tracking.named_scores(finished(other, alone, one)) == named


def test_scores_that_no_single_part_of_a_protocol_tells_apart_still_have_names_of_their_own() -> None:
    scores = [
        Score(name="fd", value=v, direction="lower", protocol={"a": a, "b": b})
        for v, a, b in [(1, 0, 0), (2, 0, 1), (3, 1, 0)]
    ]
    named = tracking.named_scores(finished(*scores))
    assert sorted(s.value for s in named.values()) == [1, 2, 3]


def test_settings_are_flat_and_leave_out_what_to_score() -> None:
    record = finished()
    settings = tracking.settings(record)
    assert settings["model.settings.gamma"] == 1.0
    assert settings["seed"] == 0
    assert not any(key.startswith("evaluation") for key in settings)
    assert tracking.settings(make_record(similarity=None))["similarity"] == "none"
    odd = {"a": {"b": [1, None], "c": float("nan")}, "d": True}
    assert tracking.settings(finished(config=odd)) == {"a.b": "[1, null]", "a.c": "nan", "d": True}


def test_numbers_hold_all_that_a_record_counts() -> None:
    record = finished(
        score("mse", 0.5, uncertainty=None), score("ssim", 0.25), checks=(flagged(),), similarity_weight=2
    )
    numbers = tracking.numbers(record)
    assert {k: v for k, v in numbers.items() if not k.startswith("cost/")} == {
        "scores/mse": 0.5, "scores/ssim": 0.25, "uncertainty/ssim": 0.5, "checks/active-units": 2.0,
        "similarity_weight": 2.0,
    }  # fmt: skip
    assert numbers["cost/train_s"] == 60
    assert "cost/energy_j" not in numbers


def test_the_tracker_of_the_manual_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual = (Path(__file__).parents[1] / "docs" / "tracking.md").read_text(encoding="utf-8")
    module = ModuleType("mine")
    exec(manual.partition("```python\n")[2].partition("```")[0], vars(module))
    assert Plugins.of(module).run_finished(finished(), folder) == []
    assert "toyfaces/vae-mse/s0-abababab 100 {'kl': 1.5, 'gan.real': 0.25}" in capsys.readouterr().err


HOOKS: dict[str, Any] = {"GENBENCH_TENSORBOARD": genbench_tensorboard, "GENBENCH_MLFLOW": genbench_mlflow}
PACKAGES = {"GENBENCH_TENSORBOARD": "tensorboard", "GENBENCH_MLFLOW": "mlflow"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HOOKS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", HOOKS)
def test_nothing_happens_where_nobody_asked(variable: str, folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert Plugins.of(HOOKS[variable]).run_finished(finished(), folder) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_neither_listing_nor_an_idle_observer_imports_the_tracker(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from genbench.plugins import Plugins\n"
        "import genbench_tensorboard, genbench_mlflow\n"
        "plugins = Plugins.of(genbench_tensorboard, genbench_mlflow)\n"
        "assert [p.problem for p in plugins.loaded] == [None, None]\n"
        "assert plugins.run_finished(None, Path()) == []\n"
        "print(sorted({'torch', 'mlflow', 'tensorboard'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("variable", HOOKS)
def test_a_missing_package_is_one_warning_that_says_what_to_install(
    variable: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[variable]
    for name in [n for n in sys.modules if n.split(".")[0] == package or n.startswith(f"genbench_{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    monkeypatch.setenv(variable, str(tmp_path / "log"))
    (problem,) = Plugins.of(HOOKS[variable]).run_finished(finished(), folder)
    assert "\n" not in problem
    assert problem.startswith(f"plugin genbench_{package}")
    assert f"{variable} is set, but there is no module `{package}." in problem
    assert f"(`pip install 'genbench[{package}]'`, or unset {variable})" in problem


def test_an_observer_that_says_what_is_wrong_is_quoted_without_its_code() -> None:
    class Tracker:
        @staticmethod
        def genbench_run_finished(record: Any) -> None:
            raise GenbenchError("the tracker is full", "empty it")

    Tracker.genbench_run_finished = staticmethod(genbench.hookimpl(Tracker.genbench_run_finished))  # type: ignore[method-assign]
    record: Any = SimpleNamespace()
    (problem,) = Plugins.of(Tracker).run_finished(record, Path())
    assert problem == "plugin Tracker (Tracker 0): the tracker is full (empty it)"
