"""`genbench evaluate` as a user types it: further scores of finished runs, whatever state these are in."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from desks import at_desk
from evaluations import (
    PLUGIN,
    damaged,
    edit,
    files,
    foreign_setting,
    half_a_record,
    lose_checkpoint,
    old_format,
    older_configuration,
    other_configuration,
    other_weights,
    record_of,
    rewrite_checkpoint,
    run_of,
    scores,
    unfinished,
)

from genbench.cli import main
from genbench.records import Record
from genbench.store import read_record

TINY = [
    *("--size", "16", "--width", "0.05", "--images", "32", "--batch-size", "8", "--evaluators", "none"),
    *("-s", "dataset.count=40", "-s", "network.latent_size=4", "-s", "network.encoder_hidden=64"),
    *("--device", "cpu", "--threads", "1"),
]
HERE = ["--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a cache and a store of two runs that ended well and one that diverged."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENBENCH_CACHE", str(folder / "cache"))
        assert main(["run", "vae", "toyfaces", *TINY]) == 0
        assert main(["run", "gan", "toyfaces", *TINY]) == 0
        assert main(["run", "vae", "toyfaces", *TINY, "--seed", "1", "-s", "kl_weight=1e300"]) == 1
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, finished: Path) -> Iterator[Path]:
    """Work in a folder with a plugin and the store of two sound runs."""
    (tmp_path / "genbenchfile.py").write_text(PLUGIN)
    shutil.copytree(finished / "runs", tmp_path / "runs")
    (diverged,) = (tmp_path / "runs").glob("*/*/s1-*")
    shutil.move(diverged, tmp_path / "diverged")
    with at_desk(tmp_path, finished / "cache"):
        yield tmp_path


def evaluate(*arguments: str) -> int:
    return main(["evaluate", *HERE, *arguments])


def summary(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Evaluate, and return the status and the summary by model."""
    capsys.readouterr()
    status = evaluate("--json", *arguments)
    lines = json.loads(capsys.readouterr().out)
    return status, {Path(line["run"]).parent.name.partition("-")[0]: line for line in lines}


def test_missing_scores_are_added_and_all_else_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--evaluators", "count") == 0
    before, kept = record_of("vae"), files(run_of("vae"))
    capsys.readouterr()
    assert evaluate("--evaluators", "mse", "runs") == 0
    out, err = capsys.readouterr()
    after = record_of("vae")
    assert set(scores(after)) == {"count", "mse"}
    assert before.scores[0] in after.scores
    changed = {name for name in Record.model_fields if getattr(before, name) != getattr(after, name)}
    assert changed <= {"config", "plugins", "scores", "cost", "finished_utc"}
    assert after.config_hash == before.config_hash
    touched = {name for name, content in files(run_of("vae")).items() if kept.get(name) != content}
    assert not any(name.startswith("checkpoint") or name == "curve.jsonl" for name in touched)
    assert out.splitlines()[0].split() == ["run", "added", "skipped"], "nothing failed"
    name = "/".join(run_of("vae").parts[-3:])
    (row,) = [line for line in out.splitlines() if line.startswith(name)]
    assert "mse" in row
    assert "evaluating mse" in err
    assert "evaluating count" not in err
    assert "images/s" not in err


def test_what_is_there_is_not_computed_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate("--evaluators", "count") == 0
    before = files(Path("runs"))
    monkeypatch.setattr("genbench.pipeline.assemble", lambda *_: pytest.fail("begun anew"))
    status, lines = summary(capsys, "--evaluators", "count")
    assert (status, [line["state"] for line in lines.values()]) == (0, ["nothing missing"] * 2)
    assert files(Path("runs")) == before


def test_again_computes_what_is_asked_for_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--evaluators", "count,mse") == 0
    status, lines = summary(capsys, "--evaluators", "count", "--again")
    assert (status, lines["vae"]["evaluators"]) == (0, ["count"])
    assert set(scores(record_of("vae"))) == {"count", "mse"}


def test_without_names_it_is_the_default_set(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = summary(capsys, "--dry-run")
    asked = set(lines["vae"]["evaluators"])
    assert {"count", "mse", "health"} <= asked
    assert asked.isdisjoint({"odd", "bad"})


def test_a_run_is_evaluated_once_however_often_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of("vae")
    status, lines = summary(
        capsys, str(run), str(run / "record.json"), str(run.absolute().parent), "--evaluators", "mse"
    )
    assert (status, list(lines)) == (0, ["vae"])


def test_a_run_is_evaluated_where_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run_of("vae"), "elsewhere/my-run")
    assert evaluate("elsewhere", "--evaluators", "count") == 0
    assert scores(read_record(Path("elsewhere/my-run/record.json"))) == {"count": 10_000}
    assert scores(record_of("vae")) == {}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = files(Path("runs"))
    assert evaluate("--evaluators", "count", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["run", "would", "compute"]
    assert out.count("count") == 2
    assert files(Path("runs")) == before


def test_a_run_that_diverged_is_listed_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    before = files(Path("diverged"))
    assert evaluate("diverged", "runs", "--evaluators", "count") == 0
    assert "diverged: not evaluated: diverged: the gradient of encoder is not finite" in capsys.readouterr().out
    assert files(Path("diverged")) == before
    assert scores(record_of("vae")) == {"count": 10_000}


def test_samples_and_sampler_reach_the_evaluator(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--evaluators", "count", "--samples", "50", "--sampler", "gmm") == 0
    assert evaluate("--evaluators", "count", "-s", "evaluation.samples=60") == 0
    assert {(s.protocol["sampler"], s.value) for s in record_of("vae").scores} == {("gmm", 50), ("prior", 60)}


def test_an_evaluator_that_fails_exits_1_and_keeps_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = summary(capsys, "--evaluators", "bad,count")
    assert status == 1
    assert "count" in lines["vae"]["evaluators"]
    (failure,) = lines["vae"]["failed"]
    assert failure["evaluator"] == "bad"
    assert "out of luck" in failure["reason"]
    assert set(scores(record_of("vae"))) == {"count"}


def test_what_was_skipped_is_tried_again_where_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        status, lines = summary(capsys, "--evaluators", "odd")
        skipped = {entry["evaluator"]: entry["reason"] for entry in lines["vae"]["skipped"]}
        assert (status, skipped["odd"]) == (0, "not for this model")


def test_what_was_skipped_has_had_its_turn_where_it_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("genbenchfile.py").write_text(PLUGIN.replace('name == "count"', 'name == "odd"'))
    assert evaluate("--evaluators", "odd") == 0
    _, lines = summary(capsys, "--dry-run")
    assert "odd" not in lines["vae"]["evaluators"]
    assert "mse" in lines["vae"]["evaluators"]


TROUBLE = {
    lose_checkpoint: "its checkpoint is gone",
    old_format: "format 'genbench.checkpoint/1', expected",
    unfinished: "trained on 8 of 32 images",
    other_weights: "these weights are not those that were scored",
    other_configuration: "of another configuration",
    damaged: "can't be read",
    foreign_setting: "its configuration is no longer valid: training.momentum",
    older_configuration: "is of an older genbench",
    half_a_record: "half-written",
}


@pytest.mark.parametrize("spoil", TROUBLE, ids=lambda spoil: spoil.__name__)
def test_a_run_that_can_not_be_evaluated_is_named_and_stops_no_other(
    spoil: Callable[[], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil()
    before = files(run_of("vae"))
    monkeypatch.setattr("genbench.pipeline.train", lambda *_: pytest.fail("trained anew"))
    status, lines = summary(capsys, "--evaluators", "count")
    assert status == 1
    assert lines["vae"]["state"] == "failed"
    assert TROUBLE[spoil] in lines["vae"]["reason"]
    assert files(run_of("vae")) == before
    assert scores(record_of("gan")) == {"count": 10_000}
    capsys.readouterr()
    evaluate("--evaluators", "count")
    err = capsys.readouterr().err
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert str(run_of("vae")) in error
    assert "\nhint: " in err


def test_a_missing_setting_of_an_older_genbench_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    older_configuration()
    _, lines = summary(capsys, "--evaluators", "count")
    assert "training.precision" in lines["vae"]["reason"]


def test_weights_without_a_recorded_hash_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    edit("vae", lambda record: record.update(weights_sha256=None))
    assert evaluate("--evaluators", "count") == 0
    assert record_of("vae").weights_sha256 is not None


def test_a_bug_in_one_run_stops_no_other(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("on the way")

    monkeypatch.setattr("genbench_gan.model.Gan.__init__", fail)
    status, lines = summary(capsys, "--evaluators", "count")
    assert status == 1
    assert lines["gan"]["reason"] == "ZeroDivisionError: on the way"
    assert scores(record_of("vae")) == {"count": 10_000}


def test_a_stopped_evaluation_goes_on_where_it_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genbench.cli.progress import Lines

    said, seen = Lines.said, []

    def interrupted(lines: Lines, message: str) -> None:
        said(lines, message)
        seen.append(message)
        if message == "evaluating count" and seen.count(message) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Lines, "said", interrupted)
        assert evaluate("--evaluators", "count,mse") == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopped; the same command goes on from here" in capsys.readouterr().err
    done = {model: [s.name for s in record_of(model).scores] for model in ("gan", "vae")}
    assert done == {"gan": ["count"], "vae": ["count"]}, "what was done when it was stopped is kept"
    status, lines = summary(capsys, "--evaluators", "count,mse")
    assert status == 0
    assert (lines["vae"]["state"], lines["vae"]["evaluators"]) == ("evaluated", ["mse", "health"])


def test_json_is_one_line_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("runs", "diverged", "--evaluators", "count", "--json")
    lines = json.loads(capsys.readouterr().out)
    assert [set(line) for line in lines] == [{"run", "state", "evaluators", "skipped", "failed", "reason"}] * 3
    assert [line["state"] for line in lines] == ["evaluated", "evaluated", "not evaluated"]


def test_the_summary_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("--evaluators", "count,odd,bad,long-name-of-an-evaluator,mse")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    name = "/".join(run_of("vae").parts[-3:])
    assert name in out
    for label in ("count", "odd", "bad", "mse"):
        assert label in out


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["nowhere"], "nowhere: no such file or folder", "make one with `genbench run`"),
        (["empty"], "empty: no finished runs", "make one with `genbench run`"),
        (["genbenchfile.py"], "genbenchfile.py: not a run", "record.json"),
        (["--evaluators", "cuont"], "unknown evaluator `cuont`", "did you mean `count`"),
        (["--evaluators", ""], "no evaluators to compute", "--evaluators"),
        (["-s", "gamma=1"], "it belongs to training", "begins with `evaluation.`"),
        (["-s", "evaluation.sample=1"], "no setting `sample`", "did you mean samples"),
        (["--samples", "9", "-s", "evaluation.samples=9"], "is given twice", ""),
        (["--samples", "1"], "Invalid value for '--samples'", "see `genbench evaluate --help`"),
        (["--sampler", "uniform"], "Invalid value for '--sampler'", "see"),
        (["--data", "nowhere"], "--data: nowhere is not there", ""),
        (["--device", "gpu"], "--device gpu can't be used", "--device auto"),
    ],
)
def test_a_wrong_command_exits_2_and_changes_nothing(
    arguments: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    before = files(Path("runs"))
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err
    assert hint in err.replace("`samples`", "samples")
    assert "Traceback" not in err
    assert files(Path("runs")) == before


def test_images_that_are_not_finite_cost_their_scores_and_the_record_keeps_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def spoil(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
        name = next(n for n in tensors if n.startswith("model/") and "decoder" in n and n.endswith("weight"))
        tensors[name] *= float("nan")

    rewrite_checkpoint("vae", spoil)
    edit("vae", lambda record: record.update(weights_sha256=None))
    status, lines = summary(capsys, "--evaluators", "mse,count")
    assert (status, lines["vae"]["state"]) == (1, "evaluated")
    record = record_of("vae")
    assert set(scores(record)) == {"count"}
    (reason,) = [failure.reason for failure in record.failures if failure.evaluator == "mse"]
    assert reason.startswith("the model decodes to images that are not finite")


def test_a_record_tells_nothing_of_the_folders_of_whoever_scored_it(here: Path) -> None:
    lost = here / "jane" / "net.pth"
    named = ("-s", f"evaluation.fd.weights={lost}", "--evaluators", "fd:torchvision:squeezenet1_0")
    assert evaluate(*named) == 1
    record = record_of("vae")
    assert "no file at net.pth" in next(f.reason for f in record.failures if f.evaluator.startswith("fd"))
    for path in (run_of("vae") / "record.json", run_of("vae") / "config.toml"):
        assert "net.pth" in path.read_text()
        assert str(here) not in path.read_text()


def test_the_hint_of_a_damaged_checkpoint_does_not_cost_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    damaged()
    assert evaluate("--evaluators", "count") == 1
    err = capsys.readouterr().err
    assert "hint: put the checkpoint back that was scored, or move the run's folder away and train again" in err
    assert "delete" not in err


def test_a_configuration_that_was_edited_is_not_called_old_alone(capsys: pytest.CaptureFixture[str]) -> None:
    edit("vae", lambda record: record["config"]["network"].update(width=0.2))
    _, lines = summary(capsys, "--evaluators", "count")
    assert "was edited, or is of an older genbench" in lines["vae"]["reason"]


def test_an_empty_variant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--evaluators", "fd:") == 2
    assert capsys.readouterr().err == "error: evaluator `fd:`: no variant after the colon\nhint: ask for `fd`\n"


def test_a_store_of_nothing_but_unreadable_places_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(run_of("vae") / "record.json", "record.json")
    (run_of("vae") / "record.json").symlink_to(Path("record.json").absolute())
    assert evaluate(str(run_of("vae"))) == 2
    assert "no finished runs; " in (err := capsys.readouterr().err)
    assert "a symbolic link, not followed" in err
