"""`genbench run` as a user types it: what it prints where, its exit statuses, and signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from desks import at_desk
from leaderboards import make_record
from safetensors import safe_open
from safetensors.torch import load_file

from genbench.cli import main
from genbench.cli.progress import Lines
from genbench.cli.run import print_record
from genbench.records import Record
from genbench.train import engines

BATCH, STEPS = 8, 8
TINY = [
    *("--size", "16", "--width", "0.05", "--images", str(STEPS * BATCH), "--batch-size", str(BATCH)),
    *("-s", "dataset.count=64", "-s", "network.latent_size=4", "-s", "network.encoder_hidden=64"),
    *("--device", "cpu", "--threads", "1"),
]
NO_SCORES = [*TINY, "--evaluators", "none"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, with a cache that the tests share, one thread and no terminal."""
    monkeypatch.setattr(engines, "LOG_STEPS", 3)
    with at_desk(tmp_path, cache):
        yield tmp_path


def only_folder(runs: Path) -> Path:
    """Return the folder of the one run in a store."""
    (found,) = runs.glob("*/*/s*")
    return found


def state(runs: Path) -> dict[str, Any]:
    """Return all of the one run in a store that must be the same in every repetition."""
    folder = only_folder(runs)
    path = folder / "checkpoint" / "last.safetensors"
    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    del progress["train_s"]
    tensors = {name: value.numpy().tobytes() for name, value in load_file(path).items()}
    return {"tensors": tensors, "progress": progress, "curve": (folder / "curve.jsonl").read_bytes()}


def send(monkeypatch: pytest.MonkeyPatch, after: Mapping[int, int]) -> None:
    """Let this process get signals after some steps."""
    advanced = Lines.advanced

    def interrupted(lines: Lines, images_seen: int, row: Mapping[str, float]) -> None:
        advanced(lines, images_seen, row)
        if not row and images_seen // BATCH in after:
            os.kill(os.getpid(), after[images_seen // BATCH])

    monkeypatch.setattr(Lines, "advanced", interrupted)


def test_scores_go_to_stdout_and_talk_to_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "vae", "toyfaces", *TINY, "--evaluators", " mse ,"]) == 0
    out, err = capsys.readouterr()
    title, heading, score, *health, last = out.splitlines()
    assert title == "vae · mse · toyfaces · seed 0: ok"
    assert heading.split() == ["score", "value"]
    assert score.startswith("mse")
    assert score.rstrip().endswith("lower is better")
    assert health, "nothing that has seen 64 images is well"
    assert all(line.startswith("health: ") for line in health)
    assert last.startswith("64 images at ")
    assert "genbench compare" in last
    assert "64 of 64 images, " in err
    assert "evaluating mse" in err
    assert (only_folder(here / "runs") / "record.json").exists()


def test_json_is_the_record_and_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "vaegan", "toyfaces", *TINY, "--evaluators", "mse", "--seed", "5", "--json"]) == 0
    out, err = capsys.readouterr()
    record = Record.model_validate_json(out)
    assert record.run.seed == 5
    assert record == Record.model_validate_json((only_folder(here / "runs") / "record.json").read_text())
    assert "64 of 64 images" in err


def test_a_run_done_before_is_printed_again_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "vae", "toyfaces", *NO_SCORES, "--json"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert again.err.startswith("done before: ")
    assert "images/s" not in again.err


def test_what_can_not_be_scored_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "gan", "toyfaces", *TINY, "--evaluators", "mse"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("gan · toyfaces · seed 0: ok\n")
    assert "mse: skipped: Gan has no encoder" in out


def test_a_diverged_run_exits_1_and_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "vae", "toyfaces", *NO_SCORES, "-s", "kl_weight=1e300"]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert out.startswith("vae · mse · toyfaces · seed 0: diverged (the gradient of encoder is not finite after 0")
    assert json.loads((only_folder(here / "runs") / "record.json").read_text())["status"] == "diverged"
    assert main(command) == 1
    assert "diverged" in capsys.readouterr().out


def test_a_broken_model_is_a_bug_and_its_run_has_failed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("genbench_vae.model.Vae.losses", fail)
    assert main(["run", "vae", "toyfaces", *NO_SCORES, "--similarity-weight", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "RuntimeError: out of luck" in err
    record = json.loads((only_folder(here / "runs") / "record.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: out of luck")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["vea", "toyfaces"], "error: unknown model `vea`", "hint: did you mean `vae`"),
        (["vae", "toyface"], "error: unknown dataset `toyface`", "hint: did you mean `toyfaces`?"),
        (["vae"], "error: genbench run: Missing argument 'DATASET'", "hint: see `genbench run --help`"),
        (["vae", "toyfaces", "--evaluators", "msee"], "unknown evaluator `msee`", "hint: did you mean `mse`?"),
        (["vae", "toyfaces", "--similarity", "dis-l"], "this model has no discriminator", "hint: models with one: "),
        (["gan", "toyfaces", "--similarity", "mse"], "`gan` reconstructs nothing", "hint: leave out --similarity"),
        (["vaegan", "toyfaces", "-s", "gamma=abc"], "setting `gamma` is 'abc'", "hint: see `genbench show vaegan`"),
        (["vaegan", "toyfaces", "-s", "gama=1"], "no setting `gama`", "hint: did you mean `gamma`?"),
        (["vae", "toyfaces", "-s", "trainig.images=1"], "unknown section `trainig`", "did you mean `training`?"),
        (["vae", "toyfaces", "--preset", "quik"], "unknown preset `quik`", "hint: did you mean `quick`?"),
        (["vae", "toyfaces", "--size", "3"], "error: genbench run: Invalid value for '--size'", "hint: see"),
        (["vae", "toyfaces", "--width", "nan"], "network: setting `width` is nan", "hint: "),
        (["vae", "toyfaces", "--seed", "-1"], "error: genbench run: Invalid value for '--seed'", "hint: see"),
        (["vae", "toyfaces", "--seed", str(2**63)], f"error: --seed is {2**63}", ""),
        (["vae", "toyfaces", "--similarity-weight", "big"], "--similarity-weight is 'big', expected `auto`", ""),
        (["vae", "toyfaces", "--device", "gpu"], "error: --device gpu can't be used", "hint: --device auto"),
        (["vae", "toyfaces", "--data", "nowhere"], "error: --data: nowhere is not there", "hint: "),
        (["vae", "toyfaces", "--sise", "3"], "No such option", "hint: see `genbench run --help`"),
    ],
)
def test_a_wrong_command_exits_2_and_leaves_nothing(
    here: Path, arguments: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err
    assert hint in err
    assert "Traceback" not in err
    assert list(here.iterdir()) == []


def test_a_size_that_convolutions_do_not_take_exits_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "vae", "toyfaces", *NO_SCORES, "--size", "8"]) == 2
    err = capsys.readouterr().err
    assert "error: convolutional networks take images of 16 to 256 px, not 8\nhint: choose another --size" in err
    assert list(here.iterdir()) == [], "refused before anything is prepared"


def test_runs_that_can_not_be_written_exit_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("in the way")
    assert main(["run", "vae", "toyfaces", *NO_SCORES, "--runs", "file/runs"]) == 2
    err = capsys.readouterr().err
    assert "error: cannot write file/runs" in err
    assert "hint: " in err
    assert (here / "file").read_text() == "in the way"


def test_the_environment_says_where_runs_are(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_RUNS", "elsewhere")
    assert main(["run", "vae", "toyfaces", *NO_SCORES]) == 0
    assert (only_folder(here / "elsewhere") / "record.json").exists()


def test_threads_are_those_asked_for(here: Path) -> None:
    assert main(["run", "vae", "toyfaces", *NO_SCORES]) == 0
    record = json.loads((only_folder(here / "runs") / "record.json").read_text())
    assert torch.get_num_threads() == record["execution"]["threads"] == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_saves_and_the_same_command_goes_on(
    number: signal.Signals,
    status: int,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["run", "vaegan", "toyfaces", *NO_SCORES]
    assert main([*command, "--runs", "whole"]) == 0
    capsys.readouterr()
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        send(patch, {4: number})
        assert main(command) == status
    assert signal.getsignal(number) is before
    out, err = capsys.readouterr()
    assert out == ""
    assert "stopping; once more to stop at once" in err
    assert err.endswith("stopped and saved; the same command goes on from here\n")
    assert state(here / "runs")["progress"]["images_seen"] == 4 * BATCH
    assert not (only_folder(here / "runs") / "record.json").exists()
    assert main(command) == 0
    assert "resuming after 32 of 64 images" in capsys.readouterr().err
    assert state(here / "runs") == state(here / "whole")


def test_a_second_signal_interrupts_at_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genbench.cli.run.Stop.__call__", lambda _: False)  # a step that takes for ever
    before = signal.getsignal(signal.SIGINT)
    send(monkeypatch, {2: signal.SIGINT, 4: signal.SIGINT})
    assert main(["run", "vae", "toyfaces", *NO_SCORES]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err.endswith("error: interrupted\n")
    assert not (only_folder(here / "runs") / "record.json").exists()


def test_a_signal_before_scores_are_computed_saves_and_the_same_command_computes_them(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "vae", "toyfaces", *TINY, "--evaluators", "mse"]
    with monkeypatch.context() as patch:
        send(patch, {STEPS: signal.SIGINT})
        assert main(command) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluating" not in err
    assert err.endswith("stopped and saved; the same command goes on from here\n")
    assert state(here / "runs")["progress"]["images_seen"] == STEPS * BATCH
    assert not (only_folder(here / "runs") / "record.json").exists()
    assert main(command) == 0
    assert "evaluating mse" in capsys.readouterr().err


def test_too_little_memory_is_no_bug(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("genbench_vae.model.Vae.losses", fail)
    assert main(["run", "vae", "toyfaces", *NO_SCORES, "--similarity-weight", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: the device is out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.\nhint: " in err
    assert "Traceback" not in err
    assert "bug" not in err
    assert json.loads((only_folder(here / "runs") / "record.json").read_text())["status"] == "failed"


DYING = """
import os, signal, sys
from genbench.train import engines, loop

loop.SAVE_S, engines.LOG_STEPS = 0.0, 3
rename, saves = os.replace, []

def replace(source, target):
    if str(target).endswith("last.safetensors"):
        saves.append(target)
        if len(saves) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.replace = replace
from genbench.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vaegan", "vae-dis-l"])
def test_a_run_killed_while_it_saves_ends_as_if_nothing_had_been(here: Path, model: str) -> None:
    command = ["run", model, "toyfaces", *NO_SCORES]
    done = subprocess.run([sys.executable, "-c", DYING, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = only_folder(here / "runs")
    assert state(here / "runs")["progress"]["images_seen"] == 4 * BATCH
    assert len(list((folder / "checkpoint").glob(".*.tmp"))) == 1
    assert main(command) == 0
    assert not list((folder / "checkpoint").glob(".*.tmp"))
    assert main([*command, "--runs", "whole"]) == 0
    assert state(here / "runs") == state(here / "whole")


@pytest.mark.slow
def test_control_c_in_a_shell(here: Path) -> None:
    """The real program, interrupted once it trains, while another one wants the same folder."""
    command = [sys.executable, "-m", "genbench", "run", "vae", "toyfaces", *NO_SCORES, "--images", "10000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "images/s" not in process.stderr.readline():
            assert process.poll() is None
        second = main(command[3:])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert second == 2
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("stopped and saved; the same command goes on from here\n")
    assert state(here / "runs")["progress"]["images_seen"] > 0


def test_a_score_without_a_direction_is_not_said_to_be_better_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    record = make_record(scores={"kl": 3.5, "mse": 0.1})
    kl, mse = record.scores
    print_record(record.model_copy(update={"scores": (kl.model_copy(update={"direction": "none"}), mse)}))
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "better" not in lines["kl"]
    assert lines["mse"].rstrip().endswith("lower is better")
