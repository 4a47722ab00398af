"""Checkpoints: all of a run's state and back, and whatever is wrong with the file is told and costs nothing."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from genbench import GenbenchError
from genbench.config import NetworkConfig, TrainingConfig
from genbench.interfaces import Batch
from genbench.networks import Blueprint
from genbench.train.checkpoint import FORMAT, Progress, load_checkpoint, read_progress, save_checkpoint, weights_sha256
from genbench.train.optimisers import Optimisers, build_optimisers, dump_optimisers, step
from genbench.train.weighting import WeightedSimilarity
from genbench_similarities.elementwise import Mse
from genbench_similarities.settings import ElementwiseSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeGanSettings

HASH = "c" * 64
PROGRESS = Progress(images_seen=16, train_s=1.25, window=[(["kl"], ["a"], [1 / 3, 2.0])], window_steps=2)


def make(optimiser: str = "rmsprop", seed: int = 0, width: float = 0.05) -> tuple[VaeGan, Optimisers]:
    network = NetworkConfig(width=width, latent_size=4, encoder_hidden=64)
    similarity = WeightedSimilarity(Mse(ElementwiseSettings()), "auto")
    model = VaeGan(Blueprint(3, 16, network, 100, seed, similarity=similarity), VaeGanSettings()).train()
    model.to(memory_format=torch.channels_last)
    config = TrainingConfig.model_validate({"images": 100, "optimiser": optimiser})
    return model, build_optimisers(model, config)


def move(model: VaeGan, optimisers: Optimisers, steps: int = 2) -> None:
    assert isinstance(model.similarity, WeightedSimilarity)
    model.similarity.weight.fill_(0.5)
    for number in range(steps):
        torch.manual_seed(number)
        images = torch.rand(8, 3, 16, 16) * 2 - 1
        step(optimisers, model.gradients(Batch(images)), torch.ones((), dtype=torch.bool))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the checkpoint of a model after two steps."""
    model, optimisers = make()
    move(model, optimisers)
    path = tmp_path / "checkpoint" / "last.safetensors"
    save_checkpoint(path, model, optimisers, PROGRESS, HASH)
    return path


def rewrite(path: Path, header: dict[str, str] | None = None, drop: str | None = None) -> None:
    with safe_open(path, "pt") as file:
        before = file.metadata()
    tensors = {name: value for name, value in load_file(path).items() if name != drop}
    save_file(tensors, path, before | (header or {}))


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_everything_comes_back(optimiser: str, tmp_path: Path) -> None:
    model, optimisers = make(optimiser)
    move(model, optimisers)
    save_checkpoint(tmp_path / "c", model, optimisers, PROGRESS, HASH)
    other, others = make(optimiser, seed=1)
    assert load_checkpoint(tmp_path / "c", other, others, HASH) == PROGRESS
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    ours, theirs = dump_optimisers(optimisers), dump_optimisers(others)
    assert ours.keys() == theirs.keys()
    assert {key.rsplit("/", 1)[1] for key in ours} >= {"step", "exp_avg_sq"}
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_a_resumed_optimiser_has_its_memory_laid_out_as_before(optimiser: str, tmp_path: Path) -> None:
    model, optimisers = make(optimiser)
    move(model, optimisers)
    save_checkpoint(tmp_path / "c", model, optimisers, PROGRESS, HASH)
    other, others = make(optimiser, seed=1)
    load_checkpoint(tmp_path / "c", other, others, HASH)
    checked = 0
    for name in optimisers:
        for path, value in others[name].dump().items():
            index, _, key = path.partition("/")
            if key != "step":
                assert value.stride() == others[name].parameters[int(index)].stride(), (name, path)
                checked += value.ndim == 4
    assert checked > 5


def test_without_a_checkpoint_there_is_no_progress(tmp_path: Path) -> None:
    model, optimisers = make()
    assert load_checkpoint(tmp_path / "nothing", model, optimisers, HASH) is None
    assert read_progress(tmp_path / "nothing") is None


def test_an_optimiser_that_has_not_moved_yet_comes_back_so(tmp_path: Path) -> None:
    model, optimisers = make()
    save_checkpoint(tmp_path / "c", model, optimisers, Progress(), HASH)
    other, others = make(seed=1)
    assert load_checkpoint(tmp_path / "c", other, others, HASH) == Progress()
    assert not any(optimiser.dump() for optimiser in others.values())
    assert isinstance(other.similarity, WeightedSimilarity)
    assert not other.similarity.measured


def test_progress_alone_can_be_read(saved: Path) -> None:
    assert read_progress(saved) == PROGRESS


def test_nothing_in_the_file_is_pickled(saved: Path) -> None:
    with safe_open(saved, "pt") as file:
        header = file.metadata()
    assert set(header) == {"format", "config_hash", "progress"}
    assert json.loads(header["progress"])["images_seen"] == 16
    assert b"torch" not in saved.read_bytes()


def refusal(path: Path, config_hash: str = HASH, **options: Any) -> GenbenchError:
    """Load, expect an error that names the file, and check that the file is as it was."""
    before = path.read_bytes()
    model, optimisers = make(seed=1, **options)
    with pytest.raises(GenbenchError) as caught:
        load_checkpoint(path, model, optimisers, config_hash)
    assert path.read_bytes() == before
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint is not None
    return caught.value


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    error = refusal(saved)
    assert "can't be read" in error.message
    assert error.hint == "delete the checkpoint to start this run again from the beginning"
    assert read_progress(saved) is None


def test_a_file_of_anything_else_is_refused(saved: Path) -> None:
    saved.write_bytes(b"\x80\x04" + b"pickle me" * 1000)
    assert "can't be read" in refusal(saved).message
    save_file({"x": torch.zeros(2)}, saved)
    assert f"format None, expected '{FORMAT}'" in refusal(saved).message


def test_another_configurations_checkpoint_is_refused(saved: Path) -> None:
    error = refusal(saved, config_hash="d" * 64)
    assert "of another configuration (cccccccc, this run's is dddddddd)" in error.message


def test_a_later_format_is_refused(saved: Path) -> None:
    rewrite(saved, {"format": "genbench.checkpoint/9"})
    assert "format 'genbench.checkpoint/9', expected" in refusal(saved).message


@pytest.mark.parametrize("progress", ["{", "[]", '{"images_sean": 1}', "null", '"text"'])
def test_nonsense_in_the_header_is_refused(saved: Path, progress: str) -> None:
    rewrite(saved, {"progress": progress})
    assert "does not fit this model" in refusal(saved).message
    assert read_progress(saved) is None


def test_a_missing_tensor_is_refused(saved: Path) -> None:
    rewrite(saved, drop="model/networks.decoder.hidden.0.weight")
    assert "does not fit this model" in refusal(saved).message


def test_another_models_tensors_are_refused(saved: Path) -> None:
    assert "does not fit this model" in refusal(saved, width=0.1).message


def test_a_crash_while_writing_leaves_the_checkpoint_before(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    model, optimisers = make(seed=2)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(GenbenchError, match="No space left on device"):
        save_checkpoint(saved, model, optimisers, PROGRESS, HASH)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_progress_that_is_not_finite_is_never_written(saved: Path) -> None:
    before = saved.read_bytes()
    model, optimisers = make()
    with pytest.raises(ValueError, match="Out of range float"):
        save_checkpoint(saved, model, optimisers, Progress(window=[(["kl"], ["a"], [math.nan, 1.0])]), HASH)
    assert saved.read_bytes() == before


def test_the_hash_of_weights_covers_all_that_is_learned_and_nothing_else() -> None:
    (one, optimisers), (same, _), (other, _) = make(), make(), make(seed=1)
    found = weights_sha256(one)
    assert weights_sha256(same) == found != weights_sha256(other)
    same.to(memory_format=torch.contiguous_format).eval()
    assert weights_sha256(same) == found
    move(one, optimisers)
    assert weights_sha256(one) != found
    next(buffer for name, buffer in same.named_buffers() if name.endswith("running_mean")).add_(1)
    assert weights_sha256(same) != found, "running statistics are learned too"
