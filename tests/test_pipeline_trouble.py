"""Runs that are stopped, diverge or fail, and everything that can be in a run's way."""

from pathlib import Path

import pytest
import torch
from bench import BATCH, STEPS, Bench, Broken, Watch, stop_after
from safetensors.torch import load_file

from genbench import GenbenchError
from genbench.execution import choose_device
from genbench.pipeline import Surroundings, run
from genbench.store import read_record
from genbench.train import loop


def test_a_stopped_run_has_no_record_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    config = bench.config("vaegan")
    assert bench.run(config, stop=stop_after(4)) is None
    folder = bench.folder(config)
    assert folder.checkpoint_path.exists()
    assert not folder.record_path.exists()
    watch = Watch()
    record = bench.finish(config, watch)
    assert watch.starts == [4 * BATCH]
    straight = Bench(tmp_path / "other")
    whole = straight.finish(config)
    assert record.scores == whole.scores
    mine, others = (load_file(b.folder(config).checkpoint_path) for b in (bench, straight))
    assert all(torch.equal(value, others[name]) for name, value in mine.items())


def test_a_run_stopped_before_its_first_step_goes_on(bench: Bench) -> None:
    assert bench.run(bench.config(), stop=lambda: True) is None
    assert bench.finish(bench.config()).images_seen == STEPS * BATCH


def test_a_diverged_run_is_recorded_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    monkeypatch.setattr(Broken, "how", "nan")
    config = bench.config("broken")
    record = bench.finish(config)
    assert (record.status, record.images_seen) == ("diverged", 3 * BATCH)
    assert record.reason == f"the gradient of encoder is not finite after {3 * BATCH} images"
    assert record.scores == ()
    assert read_record(bench.folder(config).record_path) == record
    assert all(bool(t.isfinite().all()) for t in load_file(bench.folder(config).checkpoint_path).values())
    watch = Watch()
    assert bench.finish(config, watch) == record
    assert watch.starts == []
    assert bench.extras.finished == [record]


def test_a_failed_run_is_recorded_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    monkeypatch.setattr(Broken, "how", "raise")
    config = bench.config("broken")
    with pytest.raises(RuntimeError, match="this model is broken"):
        bench.run(config)
    record = read_record(bench.folder(config).record_path)
    assert (record.status, record.reason) == ("failed", "RuntimeError: this model is broken")
    assert record.images_seen == 3 * BATCH
    assert bench.extras.finished == [record]
    monkeypatch.setattr(Broken, "how", "")
    watch = Watch()
    assert bench.finish(config, watch).status == "ok"
    assert watch.starts == [3 * BATCH]


def test_an_interrupt_leaves_no_record_and_the_last_checkpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    monkeypatch.setattr(Broken, "how", "interrupt")
    config = bench.config("broken")
    with pytest.raises(KeyboardInterrupt):
        bench.run(config)
    assert not bench.folder(config).record_path.exists()
    assert bench.folder(config).checkpoint_path.exists()


def test_a_similarity_without_a_gradient_is_the_users_to_mend(bench: Bench) -> None:
    config = bench.config(similarity="blind")
    with pytest.raises(GenbenchError, match="Blind: no weight can be measured") as caught:
        bench.run(config)
    assert caught.value.exit_code == 1
    assert not bench.folder(config).record_path.exists()


def test_an_evaluator_that_fails_costs_no_other_its_scores(bench: Bench) -> None:
    record = bench.finish(bench.config(evaluators=("failing", "one")))
    assert record.status == "ok"
    assert [s.name for s in record.scores] == ["one"]
    assert record.scores[0].protocol["evaluator_version"] == 3
    assert [(f.evaluator, f.reason) for f in record.failures] == [("failing", "RuntimeError: no luck")]


def test_an_observer_that_fails_is_told_and_harms_nothing(bench: Bench) -> None:
    watch = Watch()
    config = bench.config(seed=13)
    record = bench.finish(config, watch)
    assert bench.extras.finished == [record]
    assert any(word.startswith("warning: plugin Extras") and "the tracker is down" in word for word in watch.words)
    assert read_record(bench.folder(config).record_path) == record


def test_a_folder_in_use_is_refused_and_its_run_goes_on(bench: Bench) -> None:
    config = bench.config()
    errors: list[GenbenchError] = []

    def intrude() -> None:
        with pytest.raises(GenbenchError) as caught:
            bench.run(config)
        errors.append(caught.value)

    assert bench.finish(config, Watch({2: intrude})).status == "ok"
    (error,) = errors
    assert "another run is using this folder" in error.message
    assert error.hint is not None
    assert "resumes" in error.hint


def test_a_truncated_checkpoint_is_told_and_kept(bench: Bench) -> None:
    config = bench.config()
    bench.run(config, stop=stop_after(3))
    path = bench.folder(config).checkpoint_path
    path.write_bytes(path.read_bytes()[:-100])
    before = path.read_bytes()
    with pytest.raises(GenbenchError, match="can't be read") as caught:
        bench.run(config)
    assert caught.value.hint == "delete the checkpoint to start this run again from the beginning"
    assert path.read_bytes() == before
    path.unlink()
    assert bench.finish(config).status == "ok"


def test_a_checkpoint_that_was_moved_here_is_refused(bench: Bench) -> None:
    here, there = bench.config(), bench.config(seed=1)
    bench.run(there, stop=stop_after(2))
    bench.folder(here).path.parent.mkdir(parents=True, exist_ok=True)
    bench.folder(there).path.rename(bench.folder(here).path)
    with pytest.raises(GenbenchError, match="of another configuration"):
        bench.run(here)


def test_a_record_that_was_moved_here_is_refused(bench: Bench) -> None:
    here, there = bench.config(), bench.config(seed=1)
    bench.finish(there)
    bench.folder(there).path.rename(bench.folder(here).path)
    before = bench.folder(here).record_path.read_bytes()
    with pytest.raises(GenbenchError, match=r"record\.json: of another configuration"):
        bench.run(here)
    assert bench.folder(here).record_path.read_bytes() == before


def test_a_store_that_can_not_be_written_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    around = Surroundings(tmp_path / "file" / "runs", tmp_path / "cache", device="cpu")
    with pytest.raises(GenbenchError, match=r"cannot write .*file/runs") as caught:
        run(bench.plugins, bench.config(), around, Watch(), lambda: False)
    assert caught.value.hint is not None


@pytest.mark.parametrize("size", [8, 300])
def test_a_size_that_convolutions_do_not_take_is_refused(bench: Bench, size: int) -> None:
    with pytest.raises(GenbenchError, match=f"16 to 256 px, not {size}"):
        bench.run(bench.config(size=size))


def test_a_model_that_is_none_is_refused(bench: Bench) -> None:
    with pytest.raises(GenbenchError, match=r"model `other`: .*:Other is a Other, expected a genbench Model"):
        bench.run(bench.config("other"))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(GenbenchError, match=f"--device {name} can't be used") as caught:
        choose_device(name)
    assert caught.value.hint is not None
    assert "--device auto" in caught.value.hint
