"""`genbench check` as a user types it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import broken_similarities
import pytest

import genbench
import genbench_similarities
from genbench.cli import main
from genbench.plugins import Plugins
from genbench.testing.checks import BUILDS, CHECKS

NAMES = [BUILDS, *dict(CHECKS["similarity"])]


class Namesake:
    """An extractor that is called as a similarity is, and another name that two declare."""

    @genbench.hookimpl
    def genbench_extractors(self) -> Iterator[genbench.ExtractorSpec]:
        yield genbench.ExtractorSpec("mse", "", "nowhere:Mse")

    @genbench.hookimpl
    def genbench_similarities(self) -> Iterator[genbench.SimilaritySpec]:
        yield genbench.SimilaritySpec("twice", "", f"{broken_similarities.__name__}:Sound")
        yield genbench.SimilaritySpec("twice", "", f"{broken_similarities.__name__}:Root")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


def load(monkeypatch: pytest.MonkeyPatch, *plugins: object) -> None:
    """Let these be all that is installed."""
    found = Plugins.of(*plugins)
    monkeypatch.setattr(Plugins, "load", classmethod(lambda _: found))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, broken_similarities.Plugin(), genbench_similarities)


def test_a_sound_similarity_exits_0_and_gets_a_line_for_each_check(
    broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "mse", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    heading, *lines = out.splitlines()
    assert heading == "similarity mse"
    assert [line[:21].strip() for line in lines[: len(NAMES)]] == NAMES
    assert [line[22:30].strip() for line in lines[: len(NAMES)]].count("ok") == len(NAMES) - 2
    assert lines[len(NAMES) :][:2] == ["", "2 skipped: there is no other device than the CPU here"]
    ran = len(NAMES) - 2
    assert lines[-1].startswith(f"{ran} checks ran in ")
    assert lines[-1].endswith(f" s: {ran} passed, 0 failed; 2 skipped")
    assert max(map(len, out.splitlines())) <= 80
    assert err == ""


def test_one_that_fails_exits_1_and_says_why_and_what_to_do(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "root", "mse", "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert "gradient at itself    failed  its gradient is not finite where both" in out
    assert "hint: gradient at itself, gradient anywhere: keep roots and logarithms off 0" in err
    assert out.splitlines()[-1].startswith(f"{2 * (len(NAMES) - 2)} checks of 2 parts ran in ")
    assert out.splitlines()[-1].endswith(f"{2 * (len(NAMES) - 2) - 2} passed, 2 failed; 4 skipped")
    assert max(map(len, out.splitlines())) <= 80


def test_what_fails_for_one_reason_is_one_line(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "scalar", "--device", "cpu"]) == 1
    out, _ = capsys.readouterr()
    alike = [line for line in out.splitlines() if line.endswith("its value has the shape () for N images, expected")]
    assert re.match(r"\d\d checks  +failed ", alike[0])
    assert len(alike) < 6


def test_what_can_not_be_had_is_one_line(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "absent"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "similarity absent",
        f"{f'{len(NAMES)} checks':<21} skipped the weights of `absent` are not here",
        "",
        f"{len(NAMES)} skipped: the weights of `absent` are not here",
        f"0 checks ran in 0 s: 0 passed, 0 failed; {len(NAMES)} skipped",
    ]
    assert "put them into GENBENCH_WEIGHTS" in err


def test_json(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "root", "absent", "--json", "--device", "cpu"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["passed"], told["failed"], told["skipped"]) == (
        False,
        len(NAMES) - 4,
        2,
        2 + len(NAMES),
    )
    assert [(part["kind"], part["name"]) for part in told["parts"]] == [
        ("similarity", "root"),
        ("similarity", "absent"),
    ]
    checks = {check["name"]: check for check in told["parts"][0]["checks"]}
    assert list(checks) == NAMES
    assert set(checks["shape"]) == {"name", "state", "found", "hint"}
    assert "sqrt" in checks["gradient at itself"]["hint"]


def test_settings_are_named_as_for_a_run(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mse", "-s", "similarity.reduction=mean", "--device", "cpu"]) == 0
    assert f"`auto` multiplies it by {3 * 32 * 32:.3g}" in capsys.readouterr().out


def test_a_file_in_the_working_folder_counts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "genbenchfile.py").write_text(
        "import genbench\nfrom genbench.interfaces import Similarity\n"
        "class Mine(Similarity):\n    def forward(self, real, fake):\n"
        "        print('bla')\n        return (real.images - fake.images).square().sum((1, 2, 3))\n"
        "@genbench.hookimpl\ndef genbench_similarities():\n"
        "    yield genbench.SimilaritySpec('my-own', '', 'genbenchfile:Mine')\n"
    )
    assert main(["check", "my-own", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("similarity my-own\n")
    assert "bla" not in out  # which is for data
    assert "bla" in err


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ([], "there is nothing to check", "--all"),
        (["mse", "--all"], "--all checks everything", "give names"),
        (["--all", "-s", "similarity.reduction=mean"], "--all names none", "give the names"),
        (["mze"], "nothing is called `mze`", "did you mean `mse`? see `genbench list`"),
        (["mse", "--kind", "model"], "unknown model `mse`", "genbench list models"),
        (["mse", "-s", "gamma=1"], "setting `gamma=1` belongs to nothing that is checked here", "`similarity.`"),
        (["mse", "-s", "similarity.gamma=1"], "`mse` has no setting `gamma`", "genbench show mse"),
        (["mse", "-s", "gamma"], "setting 'gamma' is not of the form key=value", "-s gamma=0.1"),
        (["mse", "--device", "tpu9"], "--device tpu9 can't be used", "--device auto"),
        (["mse:0.5+l1:0.5"], "is a mixture", "name its parts"),
        (["mse", "--kind", "metric"], "Invalid value for '--kind'", "genbench check --help"),
    ],
)
def test_a_wrong_command_exits_2_before_anything_is_checked(
    broken: None, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str
) -> None:
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err
    assert hint in err


def test_a_name_of_several_kinds_stands_for_all_of_them_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load(monkeypatch, genbench_similarities, Namesake())
    main(["check", "mse", "--json", "--device", "cpu"])
    told = json.loads(capsys.readouterr().out)
    assert [part["kind"] for part in told["parts"]] == ["similarity", "extractor"]
    main(["check", "mse", "--kind", "similarity", "--json", "--device", "cpu"])
    told = json.loads(capsys.readouterr().out)
    assert [part["kind"] for part in told["parts"]] == ["similarity"]


def test_all_checks_all_of_a_kind_and_a_name_that_two_declare_is_but_one_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load(monkeypatch, Namesake())
    assert main(["check", "--all", "--kind", "similarity"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "similarity twice"
    assert "declared by" in " ".join(out.split())
    assert out.splitlines()[-1].endswith("0 passed, 1 failed; 0 skipped")
    assert "warning: similarity `twice` is declared by" in err
