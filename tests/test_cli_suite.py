"""`genbench suite`: the plan, the runs, what fails, and two suites at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from suites import PLUGIN

from genbench.cli import main
from genbench.cli.suite import _Asked
from genbench.cli.suite_table import Lines
from genbench.store import find_records, read_record

SUITE = """
about = "two measures of very small faces"

[defaults]
model = "vae"
dataset = "toyfaces"
size = 16
images = 32
batch_size = 8
seeds = 2
evaluators = ["mse", "similarity:mse", "similarity:l1"]

[defaults.settings]
"dataset.count" = 80
"network.kind" = "mlp"
"network.width" = 0.02
"network.latent_size" = 4
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a suite's file in a working folder of its own, with a store and a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("GENBENCH_RUNS", raising=False)
    (tmp_path / "genbenchfile.py").write_text(PLUGIN)
    path = tmp_path / "small.toml"
    path.write_text(f'{SUITE}\n[[runs]]\nsimilarity = ["mse", "l1"]\n')
    return path


def test_a_dry_run_prints_the_plan_and_runs_nothing(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite", "small.toml", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "small: two measures of very small faces",
        "4 runs: 4 to train",
        "run        seeds  left        time",
        "vae · mse  2      2 to train  ?",
        "vae · l1   2      2 to train  ?",
        "time: unknown until runs of these kinds have been timed here",
    ]
    assert not Path("runs").exists()
    assert main(["suite", "small.toml", "--dry-run", "--only", "similarity=l1", "--only", "seed=1"]) == 0
    assert "vae · l1  1 " in capsys.readouterr().out
    assert main(["suite", "small.toml", "--dry-run", "--only", "similarity=l2"]) == 2
    assert "no run fulfils --only 'similarity=l2'" in capsys.readouterr().err


@pytest.mark.slow
def test_all_that_is_left_is_run_and_ranked_and_the_rest_costs_nothing(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "small.toml", "--threads", "1", "--only", "seed=0"]) == 0
    capsys.readouterr()
    assert main(["suite", "small.toml", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "4 runs: 2 to train, 2 done" in out
    assert "time: about" in out, "the first runs tell how long the others take"
    assert "toyfaces 16×16×3" in out
    assert "± 95 % interval over seeds" in out
    paths, problems = find_records(Path("runs"))
    assert (len(paths), problems) == (4, [])
    before = [path.stat().st_mtime_ns for path in paths]
    assert main(["suite", "small.toml"]) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert main(["compare", "--matrix"]) == 0
    assert "vae on toyfaces 16×16×3" in capsys.readouterr().out
    assert main(["export", "-o", "all.jsonl"]) == 0
    capsys.readouterr()
    assert main(["compare", "--format", "json", "runs", "all.jsonl"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [len(row["seeds"]) for row in table["rows"]] == [2, 2]
    assert "4 identical copies of a run counted once" in table["notes"]


@pytest.mark.slow
def test_what_fails_is_told_and_costs_no_other_run_anything(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite.write_text(f'{SUITE}\n[[runs]]\nseeds = 1\nimages = 200\nsimilarity = ["raising", "deadly", "mse"]\n')
    assert main(["suite", "small.toml", "--threads", "1"]) == 1
    said = capsys.readouterr()
    assert "vae · raising seed 0: failed after 0 s: RuntimeError: this measure is" in said.err
    assert "vae · deadly seed 0: failed" in said.err
    assert "SIGKILL" in said.err
    assert "2 of 3 runs did not end well: vae · raising seed 0 (failed), vae · deadly seed 0 (failed)" in said.err
    assert "vae · raising, seed 0: failed: RuntimeError: this measure is" in said.out, "listed, not dropped"
    ok = [read_record(path).run.similarity for path in find_records(Path("runs"))[0]]
    assert sorted(filter(None, ok)) == ["mse", "raising"]


@pytest.mark.slow
def test_two_suites_into_one_store_make_each_run_once(suite: Path) -> None:
    command = [sys.executable, "-m", "genbench", "suite", "small.toml", "--threads", "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    paths, _ = find_records(Path("runs"))
    assert len(paths) == 4
    for path in paths:
        log = path.with_name("log.txt").read_text()
        assert log.count("training from 0") == 1, log
    assert all("toyfaces 16×16×3" in out for out, _ in outputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "unknown suite `nope`"),
        (["small.toml", "--address", "auto"], "--address, --gpus and --cpus are for Ray"),
        (["small.toml", "--executor", "ray", "--jobs", "2"], "--jobs is for this machine"),
        (["small.toml", "--device", "warp"], "warp"),
        (["small.toml", "--only", "similarity"], "--only 'similarity'"),
    ],
)
def test_what_makes_no_sense_is_said(
    suite: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["suite", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("store", ["small.toml", "small.toml/runs"])
def test_a_store_that_nothing_could_be_kept_in_is_told_before_any_run(
    suite: Path, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    assert main(["suite", "small.toml", "--runs", store]) == 2
    assert f"error: --runs {store}: " in capsys.readouterr().err


def test_that_it_stops_is_said_by_the_watcher_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    asked = iter([False, True, True])
    stop = _Asked(lambda: next(asked), Lines(()))
    assert [stop(), stop(), stop()] == [False, True, True]
    assert capsys.readouterr().err == "stopping; once more to stop at once\n"
