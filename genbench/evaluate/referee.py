"""The reference discriminator: one for each prepared data set, so that `dis-l` can measure any model's images alike.

A discriminator that a model trained itself would be a measure of its own for each model. This one is trained in a GAN,
from a seed of its own, on the training split; its hash stands in the protocol of each score that uses it.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock
from torch import nn

from genbench.adversarial.gan import Game
from genbench.adversarial.settings import AdversarialSettings
from genbench.config import (
    LARGEST,
    SMALLEST,
    Component,
    DataConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    TrainingConfig,
)
from genbench.data.batches import load_batches
from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError
from genbench.interfaces import Batch, Gradients, Losses, Model, Share
from genbench.networks import Blueprint, Discriminator, seeded
from genbench.store import RunFolder
from genbench.train.checkpoint import load_weights, read_progress, weights_sha256
from genbench.train.loop import train

VERSION = 1
"""Raised whenever other weights come of the same images."""

IMAGES, WIDTH, MARGIN = 100_000, 0.25, 0.2
"""Training images seen, width factor of the networks, and margin of the gate, as `gan` has it by default."""


class Referee(Model):
    """A GAN whose discriminator is what matters."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.networks = nn.ModuleDict({"decoder": blueprint.decoder(), "discriminator": blueprint.discriminator()})
        self.game = Game(self.networks, "decoder", blueprint.network.latent_size, AdversarialSettings(margin=MARGIN))

    def losses(self, batch: Batch) -> Losses:
        return self.game.losses(batch)

    def gradients(self, batch: Batch) -> Gradients:
        return self.game.gradients(batch)


def obtain(
    dataset: PackedDataset, device: torch.device, cache: Path, say: Callable[[str], None] = lambda _: None
) -> tuple[Discriminator, str]:
    """Return the data set's reference discriminator, in eval mode, and the SHA-256 of its weights.

    It is trained where the cache has none, which `say` is told; of concurrent runs, one trains, and one that was killed
    is gone on with.

    Raises:
        GenbenchError: its training diverged.
    """
    config = recipe(dataset)
    folder = _folder(dataset, config, cache)
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path / ".lock"), seeded(0, "referee"):
        model = Referee(Blueprint(dataset.channels, dataset.size, config.network, config.training.images, seed=0))
        model.to(device).to(memory_format=torch.channels_last)
        if _is_trained(folder, config):
            load_weights(folder.checkpoint_path, model, config.hash())
        else:
            say(f"training the reference discriminator of `{dataset.name}`: once, {IMAGES:,} images")
            _train(model, dataset, config, folder, device)
    discriminator = model.networks["discriminator"].eval().requires_grad_(False)
    assert isinstance(discriminator, Discriminator)  # noqa: S101 - for the type checker: the blueprint builds it
    return discriminator, weights_sha256(discriminator)


def recipe(dataset: PackedDataset) -> RunConfig:
    """Return how a data set's reference discriminator is trained: a run's configuration, though of no run."""
    kind: Literal["conv", "mlp"] = "conv" if SMALLEST <= dataset.size <= LARGEST else "mlp"
    return RunConfig(
        model=Component(name="referee", settings={"margin": MARGIN, "version": VERSION}),
        similarity=None,
        dataset=DataConfig(name=dataset.name, size=dataset.size),
        network=NetworkConfig(kind=kind, width=WIDTH),
        training=TrainingConfig(images=IMAGES, precision="float32"),
        evaluation=EvaluationConfig(),
    )


def facts(weights: str) -> Mapping[str, str | int | float]:
    """Return what a protocol says of a reference discriminator."""
    return {
        "discriminator": f"of a GAN on the training split, width {WIDTH:g}, {IMAGES} images",
        "discriminator_version": VERSION,
        "discriminator_weights": weights,
    }


def _folder(dataset: PackedDataset, config: RunConfig, cache: Path) -> RunFolder:
    key = sha256(json.dumps([dataset.fingerprint, dataset.channels, config.hash()]).encode()).hexdigest()[:16]
    return RunFolder(cache / "referees" / key)


def _is_trained(folder: RunFolder, config: RunConfig) -> bool:
    progress = read_progress(folder.checkpoint_path)
    return progress is not None and progress.images_seen >= config.training.images


def _train(model: Referee, dataset: PackedDataset, config: RunConfig, folder: RunFolder, device: torch.device) -> None:
    with torch.enable_grad():
        batches = load_batches(dataset, config, device, Share())
        outcome = train(model, batches, config, folder, _Silent(), lambda: False, "eager")
    if outcome.status != "finished":
        raise GenbenchError(f"the reference discriminator of `{dataset.name}` diverged: {outcome.reason}")


class _Silent:
    def started(self, images_seen: int, budget: int) -> None: ...

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None: ...
