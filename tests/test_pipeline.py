"""A whole run and its record: finished, stopped, diverged, failed, repeated, and everything that can be in its way."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import genbench
from genbench import GenbenchError
from genbench.config import RunConfig
from genbench.evaluate.context import EvaluationContext
from genbench.execution import choose_device
from genbench.interfaces import Batch, DataRequest, Dataset, Evaluator, ImageSet, Losses, Similarity, View
from genbench.pipeline import Surroundings, run
from genbench.plugins import Plugins
from genbench.records import Record, Score
from genbench.resolution import RunRequest, resolve
from genbench.store import RunFolder, read_record, run_folder
from genbench.train import loop
from genbench_vae.model import Vae

BATCH, STEPS = 8, 6
TINY = ("network.width=0.05", "network.latent_size=4", "network.encoder_hidden=64")


class Blobs(Dataset):
    """A hundred grey discs on black, of which 60 train, 10 validate and 30 test."""

    prepared = 0

    def prepare(self, request: DataRequest) -> ImageSet:
        type(self).prepared += 1
        rng = np.random.default_rng(0)
        y, x = np.mgrid[: request.size, : request.size] / request.size
        radius = rng.uniform(0.1, 0.5, (100, 1, 1))
        inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 < radius**2
        images = np.where(inside, 200, 20).astype(np.uint8)[..., None].repeat(3, axis=3)
        splits = np.repeat([0, 1, 2], [60, 10, 30]).astype(np.uint8)
        return ImageSet(images, splits, (radius[:, :, 0] > 0.3).astype(np.uint8), ("large",), notes=("drawn",))


class Broken(Vae):
    """Fails after three steps, in one way or another."""

    how: str = ""

    def losses(self, batch: Batch) -> Losses:
        losses = super().losses(batch)
        if batch.images_seen >= 3 * BATCH:
            if self.how == "raise":
                raise RuntimeError("this model is broken")
            if self.how == "interrupt":
                raise KeyboardInterrupt
            if self.how == "nan":
                return Losses({name: loss * math.nan for name, loss in losses.of.items()}, losses.log)
        return losses


class Blind(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return torch.zeros(len(real.images))


class One(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield Score(name="one", value=1.0, direction="higher", protocol=context.protocol())


class Failing(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise RuntimeError("no luck")


class Other:
    """A class that is no model, whatever it is given."""

    def __init__(self, *_: object) -> None: ...


class Extras:
    """The plugin with all of the above."""

    def __init__(self) -> None:
        self.finished: list[Record] = []

    @genbench.hookimpl
    def genbench_datasets(self) -> Iterator[genbench.DatasetSpec]:
        yield genbench.DatasetSpec("blobs", "", f"{__name__}:Blobs", size=16, images=STEPS * BATCH)

    @genbench.hookimpl
    def genbench_models(self) -> Iterator[genbench.ModelSpec]:
        settings = "genbench_vae.settings:VaeSettings"
        yield genbench.ModelSpec("broken", "", f"{__name__}:Broken", settings, similarity="mse")
        yield genbench.ModelSpec("other", "", f"{__name__}:Other")

    @genbench.hookimpl
    def genbench_similarities(self) -> Iterator[genbench.SimilaritySpec]:
        yield genbench.SimilaritySpec("blind", "", f"{__name__}:Blind")

    @genbench.hookimpl
    def genbench_evaluators(self) -> Iterator[genbench.EvaluatorSpec]:
        yield genbench.EvaluatorSpec("one", "", f"{__name__}:One", version=3, default=False)
        yield genbench.EvaluatorSpec("failing", "", f"{__name__}:Failing", default=False)

    @genbench.hookimpl
    def genbench_run_finished(self, record: Record) -> None:
        self.finished.append(record)
        if record.run.seed == 13:
            raise RuntimeError("the tracker is down")


class Watch:
    """Observes, and does something after some steps."""

    def __init__(self, then: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.then = then or {}
        self.steps: list[int] = []
        self.words: list[str] = []
        self.starts: list[int] = []

    def started(self, images_seen: int, budget: int) -> None:
        self.starts.append(images_seen)

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        if not row:
            self.steps.append(images_seen)
            self.then.get(images_seen // BATCH, lambda: None)()

    def preparing(self, done: int, total: int) -> None: ...

    def said(self, message: str) -> None:
        self.words.append(message)


class Bench:
    """A store, a cache and plugins to run things with."""

    def __init__(self, folder: Path) -> None:
        self.extras = Extras()
        import genbench_datasets
        import genbench_evaluators
        import genbench_gan
        import genbench_similarities
        import genbench_vae
        import genbench_vaegan

        self.plugins = Plugins.of(
            self.extras,
            genbench_datasets,
            genbench_evaluators,
            genbench_gan,
            genbench_similarities,
            genbench_vae,
            genbench_vaegan,
        )
        self.around = Surroundings(folder / "runs", folder / "cache", device="cpu")

    def config(self, model: str = "vae", dataset: str = "blobs", **choices: Any) -> RunConfig:
        settings = (*TINY, *choices.pop("settings", ()))
        evaluators = choices.pop("evaluators", ("mse",))
        asked = RunRequest(model, dataset, batch_size=BATCH, evaluators=evaluators, settings=settings, **choices)
        return resolve(self.plugins, asked)

    def folder(self, config: RunConfig) -> RunFolder:
        similarity = config.similarity.name if config.similarity else None
        return run_folder(
            self.around.runs, config.dataset.name, config.model.name, similarity, config.seed, config.hash()
        )

    def run(
        self, config: RunConfig, watch: Watch | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Record | None:
        return run(self.plugins, config, self.around, watch or Watch(), stop)

    def finish(self, config: RunConfig, watch: Watch | None = None) -> Record:
        record = self.run(config, watch)
        assert record is not None
        return record


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench(tmp_path)
    torch.set_num_threads(threads)


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps)
    return lambda: next(asked, True)


def test_a_run_leaves_a_record_that_tells_all(bench: Bench) -> None:
    config = bench.config("vaegan", seed=3)
    record = bench.finish(config)
    assert (record.status, record.reason) == ("ok", None)
    assert record.run.model_dump() == {"model": "vaegan", "similarity": "dis-l", "dataset": "blobs", "seed": 3}
    assert RunConfig.model_validate(record.config) == config
    assert record.config_hash == config.hash()
    origins = {(plugin.kind, plugin.name): plugin.distribution for plugin in record.plugins}
    assert origins == {
        ("model", "vaegan"): "genbench_vaegan",
        ("similarity", "dis-l"): "genbench_similarities",
        ("dataset", "blobs"): "Extras",
        ("evaluator", "mse"): "genbench_evaluators",
    }
    assert (record.data.train, record.data.validation, record.data.test) == (60, 10, 30)
    assert (record.data.size, record.data.channels, record.data.attributes) == (16, 3, 1)
    assert record.data.notes == ("drawn",)
    assert record.images_asked == record.images_seen == STEPS * BATCH
    assert set(record.parameters) == {"encoder", "decoder", "discriminator"}
    (score,) = record.scores
    assert score.name == "mse"
    assert 0 < score.value < 1
    assert score.protocol["dataset_fingerprint"] == record.data.fingerprint
    assert record.cost.train_s > 0
    assert record.cost.images_per_s == pytest.approx(STEPS * BATCH / record.cost.train_s)
    assert 2**20 < record.cost.peak_memory_bytes < 2**40
    assert record.execution.device == "cpu"
    assert record.execution.threads == 1
    assert record.execution.versions["torch"] == torch.__version__
    assert record.started_utc <= record.finished_utc
    assert record.started_utc.endswith("+00:00")


def test_a_run_leaves_its_files(bench: Bench) -> None:
    config = bench.config("vaegan")
    record = bench.finish(config)
    folder = bench.folder(config)
    assert read_record(folder.record_path) == record
    assert {p.name for p in folder.path.iterdir()} >= {
        "record.json",
        "config.toml",
        "curve.jsonl",
        "checkpoint",
        "images",
    }
    tensors = load_file(folder.checkpoint_path)
    assert float(tensors["model/similarity.weight"]) == pytest.approx(record.similarity_weight)
    decoder = {name: t.numel() for name, t in tensors.items() if name.startswith("model/networks.decoder.")}
    counted = sum(count for name, count in decoder.items() if "running_" not in name and "num_batches" not in name)
    assert record.parameters["decoder"] == counted
    with Image.open(folder.images_path / "samples.png") as samples:
        assert samples.size == (16 * 16, 4 * 16)
    with Image.open(folder.images_path / "reconstructions.png") as reconstructions:
        assert reconstructions.width == 16 * 16


def test_a_gan_has_no_similarity_no_weight_and_no_reconstruction(bench: Bench) -> None:
    config = bench.config("gan", evaluators=("mse", "one"))
    record = bench.finish(config)
    assert (record.status, record.run.similarity, record.similarity_weight) == ("ok", None, None)
    assert bench.folder(config).path.parent.name == "gan-none"
    assert [s.name for s in record.scores] == ["one"]
    assert [(s.evaluator, "no encoder" in s.reason) for s in record.skipped] == [("mse", True)]
    assert not (bench.folder(config).images_path / "reconstructions.png").exists()


@pytest.mark.parametrize("model", ["vae", "gan", "vaegan", "vaegan-pixel", "vae-dis-l"])
def test_mlps_of_28_px_digits_do_in_every_model(bench: Bench, model: str) -> None:
    config = bench.config(model, "digits", size=28, images=3 * BATCH, settings=("network.kind=mlp",))
    record = bench.finish(config)
    assert record.status == "ok"
    assert (record.data.size, record.data.channels) == (28, 1)
    assert all(math.isfinite(score.value) for score in record.scores)
    assert len(record.scores) + len(record.skipped) == 1


def test_a_finished_run_is_returned_as_it_stands(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.config()
    record = bench.finish(config)
    monkeypatch.setattr("genbench.pipeline.assemble", lambda *_: pytest.fail("begun anew"))
    watch = Watch()
    assert bench.finish(config, watch) == record
    assert watch.words == [f"done before: {bench.folder(config).record_path}"]


def test_other_scores_of_a_finished_run_need_no_training(bench: Bench) -> None:
    first = bench.finish(bench.config(evaluators=("mse",)))
    weights = load_file(bench.folder(bench.config()).checkpoint_path)
    watch = Watch()
    second = bench.finish(bench.config(evaluators=("mse", "one")), watch)
    assert watch.steps == []
    assert [s.name for s in second.scores] == ["mse", "one"]
    assert second.scores[0] == first.scores[0]
    assert second.config_hash == first.config_hash
    assert second.images_seen == first.images_seen
    after = load_file(bench.folder(bench.config()).checkpoint_path)
    assert all(torch.equal(value, after[name]) for name, value in weights.items())


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


def test_a_data_sets_notes_are_told(bench: Bench) -> None:
    watch = Watch()
    bench.finish(bench.config(), watch)
    assert "note: drawn" in watch.words


def test_data_are_prepared_once_for_all_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blobs, "prepared", 0)
    bench.finish(bench.config(evaluators=()))
    bench.finish(bench.config(evaluators=(), seed=1))
    assert Blobs.prepared == 1


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


def test_two_runs_of_one_seed_draw_the_same_images_in_the_same_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genbench.data.batches import Batches

    drawn: list[bytes] = []
    draw = Batches.draw

    def record(batches: Batches, images_seen: int) -> Batch:
        batch = draw(batches, images_seen)
        drawn.append(batch.images.numpy().tobytes())
        return batch

    monkeypatch.setattr(Batches, "draw", record)
    seen = []
    for model in ("gan", "vaegan"):
        drawn.clear()
        bench.finish(bench.config(model, evaluators=(), settings=("training.similarity_weight=1",)))
        seen.append(list(drawn))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == STEPS


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(GenbenchError, match=f"--device {name} can't be used") as caught:
        choose_device(name)
    assert caught.value.hint is not None
    assert "--device auto" in caught.value.hint


def test_auto_finds_a_device() -> None:
    assert choose_device("auto").type in {"cuda", "mps", "cpu"}
    assert choose_device("cpu") == torch.device("cpu")


def test_the_record_is_plain_json(bench: Bench) -> None:
    config = bench.config()
    record = bench.finish(config)
    document = json.loads(bench.folder(config).record_path.read_text())
    assert document["schema"] == "genbench.record/1"
    assert document["scores"][0]["value"] == record.scores[0].value, "full precision"
