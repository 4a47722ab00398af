"""`log.txt`: what is told of a run in words stays in its folder, with times, over all of its parts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench import BATCH, STEPS, Bench, Broken, Watch, stop_after

from genbench import GenbenchError, __version__
from genbench.config import RunConfig
from genbench.runlog import RunLog, logged
from genbench.store import append


def words(bench: Bench, config: RunConfig) -> list[str]:
    """Return the lines of a run's log without their times, which must be there and in order."""
    lines = bench.folder(config).log_path.read_text().splitlines()
    times = [datetime.fromisoformat(line.split(" ", 1)[0]) for line in lines]
    assert times == sorted(times)
    assert all(time.tzinfo == UTC for time in times)
    return [line.split(" ", 1)[1] for line in lines]


def test_a_resumed_runs_log_tells_of_both_parts(bench: Bench) -> None:
    config = bench.config("vaegan")
    begun = f"begun: genbench {__version__}, vaegan-dis-l, configuration {config.hash()[:8]}"
    assert bench.run(config, stop=stop_after(4)) is None
    first = words(bench, config)
    assert first == [begun, "note: drawn", f"training from 0 of {STEPS * BATCH} images", "stopped and saved"]
    watch = Watch()
    record = bench.finish(config, watch)
    score = f"mse {record.scores[0].value:.6g}"
    second = [
        begun,
        "note: drawn",
        f"resuming after 32 of {STEPS * BATCH} images",
        "evaluating mse",
        score,
        "ended: ok",
    ]
    assert words(bench, config) == first + second
    assert watch.words == ["note: drawn", "evaluating mse", score], "the observer is told as before"
    bench.finish(config)
    assert words(bench, config) == [*first, *second, f"done before: {bench.folder(config).record_path}"]


def test_how_a_run_went_wrong_is_in_its_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.config("broken")
    monkeypatch.setattr(Broken, "how", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run(config)
    assert words(bench, config)[-1].startswith("ended by KeyboardInterrupt")
    monkeypatch.setattr(Broken, "how", "raise")
    with pytest.raises(RuntimeError):
        bench.run(config)
    assert words(bench, config)[-2:] == [
        "ended: failed: RuntimeError: this model is broken",
        "ended by RuntimeError: this model is broken",
    ]
    monkeypatch.setattr(Broken, "how", "nan")
    reason = bench.finish(config).reason
    assert words(bench, config)[-1] == f"ended: diverged: {reason}"


def test_other_scores_of_a_trained_run_are_told_as_such(bench: Bench) -> None:
    bench.finish(bench.config(evaluators=()))
    config = bench.config(evaluators=("one",))
    bench.finish(config)
    assert f"trained before: {STEPS * BATCH} of {STEPS * BATCH} images" in words(bench, config)


def test_a_message_of_several_lines_is_one_line(tmp_path: Path) -> None:
    watch = Watch()
    RunLog(watch, tmp_path / "log.txt").said("two\nlines")
    assert (tmp_path / "log.txt").read_text().endswith(" two lines\n")
    assert watch.words == ["two\nlines"]


def test_a_log_that_can_not_be_written_is_told_and_hides_no_error(tmp_path: Path) -> None:
    (tmp_path / "log.txt").mkdir()
    with pytest.raises(GenbenchError, match=r"cannot write .*log\.txt"), logged(Watch(), tmp_path / "log.txt") as log:
        log.note("anything")
    with pytest.raises(RuntimeError, match="the cause"), logged(Watch(), tmp_path / "log.txt"):
        raise RuntimeError("the cause")


def test_appending_keeps_what_is_there_and_its_line_ends(tmp_path: Path) -> None:
    for text in ("γ\n", "b\r\n"):
        append(tmp_path / "file", text)
    assert (tmp_path / "file").read_bytes() == "γ\nb\r\n".encode()
