"""A finished run opened again is the run that was scored, or is refused."""

from pathlib import Path

import pytest
import torch
from bench import BATCH, Bench, Blobs, Broken

from genbench import GenbenchError
from genbench.config import RunConfig
from genbench.errors import NotApplicable
from genbench.finished import Bench as On
from genbench.finished import Opened, read_run, reopen
from genbench.images import grid_png, to_uint8
from genbench.interfaces import DataRequest, ImageSet
from genbench.store import RunFolder, write_record


@pytest.fixture
def config(bench: Bench) -> RunConfig:
    """Return the configuration of a run that has been made."""
    config = bench.config("vaegan", seed=5)
    bench.finish(config)
    return config


def opened(bench: Bench, config: RunConfig, *, images: bool = True) -> Opened:
    on = On(torch.device("cpu"), bench.around.cache)
    return reopen(bench.plugins, read_run(bench.folder(config)), on, images=images)


def test_its_pictures_are_those_that_the_run_left(bench: Bench, config: RunConfig) -> None:
    folder = bench.folder(config).images_path
    it = opened(bench, config)
    assert grid_png(torch.cat(list(it.context.samples(64))), 16) == (folder / "samples.png").read_bytes()
    real, reconstructed = next(it.context.reconstructions("test"))
    rows = to_uint8(torch.cat([real[:16], reconstructed[:16]]))
    assert grid_png(rows, 16) == (folder / "reconstructions.png").read_bytes()
    assert it.run.config.hash() == config.hash()
    assert it.data.attribute_names == ("large",)
    assert it.context.curve[-1]["images_seen"] == 6 * BATCH


def test_its_model_is_for_looking_at(bench: Bench, config: RunConfig) -> None:
    model = opened(bench, config).model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_alone_needs_no_data(bench: Bench, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with_data = torch.cat(list(opened(bench, config).context.samples(20)))
    monkeypatch.setattr(Blobs, "prepare", lambda *_: pytest.fail("the data set was prepared"))
    monkeypatch.setattr("genbench.finished.prepare", lambda *_: pytest.fail("the data set was looked for"))
    it = opened(bench, config, images=False)
    assert torch.equal(torch.cat(list(it.context.samples(20))), with_data)
    assert (it.data.size, it.data.channels, len(it.data.images)) == (16, 3, 0)
    assert it.data.attribute_names == ("attribute 0",)
    with pytest.raises(NotApplicable, match="no images in its test split"):
        it.context.posteriors("test")


def test_other_data_than_it_was_trained_on_is_refused(
    bench: Bench, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Blobs.prepare

    def lighter(self: Blobs, request: DataRequest) -> ImageSet:
        found = original(self, request)
        return ImageSet(found.images + 1, found.splits, found.attributes, found.attribute_names)

    monkeypatch.setattr(Blobs, "version", 2)
    monkeypatch.setattr(Blobs, "prepare", lighter)
    with pytest.raises(GenbenchError, match="trained on other images than `blobs` now has") as caught:
        opened(bench, config)
    assert str(bench.folder(config).path) in caught.value.message
    assert "--data" in str(caught.value.hint)


def test_a_run_that_diverged_is_refused_with_its_reason(bench: Bench) -> None:
    config = bench.config("broken", evaluators=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Broken, "how", "nan")
        assert bench.finish(config).status == "diverged"
    folder = bench.folder(config)
    with pytest.raises(GenbenchError) as caught:
        read_run(folder)
    assert caught.value.message.startswith(f"{folder.path}: diverged: ")
    assert "not finite" in caught.value.message or "is nan" in caught.value.message
    assert caught.value.hint == "choose a run that ended well"


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="no finished run") as caught:
        read_run(RunFolder(tmp_path))
    assert "record.json" in str(caught.value.hint)


def test_other_weights_than_were_scored_are_refused(bench: Bench, config: RunConfig) -> None:
    other = bench.config("vaegan", seed=6)
    bench.finish(other)
    folder = bench.folder(config)
    kept = folder.checkpoint_path.read_bytes()
    for content in (bench.folder(other).checkpoint_path.read_bytes(), kept[: len(kept) // 2], b""):
        folder.checkpoint_path.write_bytes(content)
        with pytest.raises(GenbenchError) as caught:
            read_run(folder)
        assert str(folder.path) in caught.value.message
    folder.checkpoint_path.unlink()
    with pytest.raises(GenbenchError) as caught:
        read_run(folder)
    assert str(folder.path) in caught.value.message


def test_a_record_that_does_not_fit_its_configuration_is_refused(bench: Bench, config: RunConfig) -> None:
    run = read_run(bench.folder(config))
    write_record(run.folder, run.record.model_copy(update={"config": run.record.config | {"seed": 99}}))
    with pytest.raises(GenbenchError, match="was edited, or is of an older genbench") as caught:
        read_run(run.folder)
    assert str(run.folder.path) in caught.value.message
