"""A whole run and its record."""

import csv
import json
import math

import pytest
import torch
from bench import BATCH, STEPS, Bench, Blobs, Watch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from genbench.config import RunConfig
from genbench.execution import choose_device
from genbench.interfaces import Batch
from genbench.store import read_record, write_record


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


def test_a_finished_run_says_which_of_its_parts_has_changed_since(bench: Bench) -> None:
    config = bench.config("vaegan")
    record = bench.finish(config)
    folder = bench.folder(config)
    older = [part.model_copy(update={"version": "0.0.1"}) if part.name == "dis-l" else part for part in record.plugins]
    older = [part for part in older if part.kind != "dataset"]  # of which nothing is known, nothing is said
    write_record(folder, record.model_copy(update={"plugins": tuple(older)}))
    watch = Watch()
    bench.finish(config, watch)
    (_, note) = watch.words
    assert note.startswith("note: similarity `dis-l` was that of genbench_similarities 0.0.1 when this run was trained")
    assert note.endswith(f"to train it anew, move {folder.path} away")


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


def test_a_data_sets_notes_are_told(bench: Bench) -> None:
    watch = Watch()
    bench.finish(bench.config(), watch)
    assert "note: drawn" in watch.words


def test_data_are_prepared_once_for_all_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blobs, "prepared", 0)
    bench.finish(bench.config(evaluators=()))
    bench.finish(bench.config(evaluators=(), seed=1))
    assert Blobs.prepared == 1


def test_two_runs_of_one_seed_draw_the_same_images_in_the_same_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genbench.data.batches import Streamed

    drawn: list[bytes] = []
    assemble = Streamed.assemble

    def record(batches: Streamed, staged: tuple[Tensor, ...], images_seen: int) -> Batch:
        batch = assemble(batches, staged, images_seen)
        drawn.append(batch.images.numpy().tobytes())
        return batch

    monkeypatch.setattr(Streamed, "assemble", record)
    seen = []
    for model in ("gan", "vaegan"):
        drawn.clear()
        bench.finish(bench.config(model, evaluators=(), settings=("training.similarity_weight=1",)))
        seen.append(list(drawn))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == STEPS


def test_auto_finds_a_device() -> None:
    assert choose_device("auto").type in {"cuda", "mps", "cpu"}
    assert choose_device("cpu") == torch.device("cpu")


def test_the_record_is_plain_json(bench: Bench) -> None:
    config = bench.config()
    record = bench.finish(config)
    document = json.loads(bench.folder(config).record_path.read_text())
    assert document["schema"] == "genbench.record/2"
    assert document["scores"][0]["value"] == record.scores[0].value, "full precision"


def test_counterfactuals_of_toy_faces_from_end_to_end(bench: Bench) -> None:
    config = bench.config(
        dataset="toyfaces",
        size=16,
        images=48,
        evaluators=("counterfactual",),
        settings=("dataset.count=200", "evaluation.counterfactual.images=12"),
    )
    record = bench.finish(config)
    assert [s.name for s in record.scores] == ["counterfactual", "counterfactual-region"]
    whole = record.scores[0]
    assert whole.protocol["images"] == 12
    assert whole.protocol["attributes"] == 13
    assert whole.protocol["invisible_flips"] == 0
    assert whole.uncertainty is not None
    with (bench.folder(config).path / "tables" / "counterfactual.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    assert {float(row["flips"]) for row in rows} == {12.0}
