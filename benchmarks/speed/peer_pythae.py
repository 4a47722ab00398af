"""The peer: pythae's VAEGAN on genbench's own networks, trained by pythae's own trainer, nothing of it changed.

Written for pythae 0.1.2 (`pip install 'genbench[bench]'`), which runs unchanged on torch 2.15, pydantic 2.14 and
numpy 2.4. What its step does (`CoupledOptimizerAdversarialTrainer.train_step`):

- one pass through the encoder, two through the decoder and four through the discriminator: the real images go through
  it twice, once up to the reconstruction layer and once to the end;
- up to three `loss.backward()` over the whole graph, which is kept between them; each computes the gradient of every
  parameter that the loss reaches, wanted or not; a closed gate skips that network's pass;
- so gradients mix: the encoder's optimiser steps along the gradient of encoder's plus decoder's loss, and the decoder's
  along decoder's plus discriminator's loss. With its default scale of 0.5, the decoder descends on the discriminator's
  loss instead of ascending (`tests/test_speed_scripts.py` shows it). It is left as it is: this measures speed;
- four `.item()` a step, torch's Adam as it comes, contiguous tensors, float32 always: `amp=True` has no effect here,
  since this trainer never enters its autocast context.

The callbacks are taken away (a progress bar, a printer); no checkpoints, no evaluation, no keeping of the best model.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pythae.data.datasets import BaseDataset, DatasetOutput  # type: ignore[import-not-found,import-untyped,unused-ignore]
from pythae.models import VAEGAN, VAEGANConfig  # type: ignore[import-not-found,import-untyped,unused-ignore]
from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-not-found,import-untyped,unused-ignore]
from pythae.models.nn import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    BaseDecoder,
    BaseDiscriminator,
    BaseEncoder,
)
from pythae.trainers import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    CoupledOptimizerAdversarialTrainer,
    CoupledOptimizerAdversarialTrainerConfig,
)
from pythae.trainers.training_callbacks import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    CallbackHandler,
)
from torch import Tensor, nn

from genbench.config import RunConfig
from genbench.networks import Blueprint, ConvDiscriminator

NETWORKS = ("encoder", "decoder", "discriminator")
RECONSTRUCTION_LEVEL = 4
"""The third strided convolution, `down3`, where genbench's `dis-l` compares by default."""
OPEN = 1e6
"""A margin in nats that no cost leaves."""


class PeerEncoder(BaseEncoder):  # type: ignore[misc]
    """genbench's encoder under pythae's contract."""

    def __init__(self, network: nn.Module) -> None:
        BaseEncoder.__init__(self)
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.network(x)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class PeerDecoder(BaseDecoder):  # type: ignore[misc]
    """genbench's decoder under pythae's contract."""

    def __init__(self, network: nn.Module) -> None:
        BaseDecoder.__init__(self)
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


class PeerDiscriminator(BaseDiscriminator):  # type: ignore[misc]
    """genbench's discriminator under pythae's contract: levels from 1 up, computed only as far as asked, a sigmoid.

    The levels are the raw activations `conv`, `down1`, …, `hidden`, and at last the probability.
    """

    def __init__(self, network: ConvDiscriminator) -> None:
        BaseDiscriminator.__init__(self)
        self.network = network
        self.depth = len(network.strided) + 3

    def forward(self, x: Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        last = self.depth if output_layer_levels is None else max(output_layer_levels)
        output = ModelOutput()
        for level, activation in enumerate(self._levels(x), start=1):
            if output_layer_levels is not None and level in output_layer_levels:
                output[f"embedding_layer_{level}"] = activation
            if level == self.depth:
                output["embedding"] = activation
            if level == last:
                break
        return output

    def _levels(self, x: Tensor) -> Iterator[Tensor]:
        network = self.network
        raw = network.first(x)
        yield raw
        x = raw.relu()
        for strided, norm in zip(network.strided, network.norms, strict=True):
            raw = strided(x)
            yield raw
            x = norm(raw).relu()
        raw = network.hidden(x.flatten(1))
        yield raw
        yield network.logit(network.hidden_norm(raw).relu()).sigmoid()


@dataclass(frozen=True)
class Collated:
    """Stands in for pythae's loader with batches made beforehand, to tell the step from the loading."""

    dataset: BaseDataset
    batches: list[DatasetOutput]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[DatasetOutput]:
        return iter(self.batches)


@dataclass
class Peer:
    """pythae's trainer, set up to train on the images over and over.

    Attributes:
        trainer: pythae's, whose `train_step` is a pass over its loader.
        moved: how many steps let each network move.
    """

    trainer: CoupledOptimizerAdversarialTrainer
    moved: Counter[str] = field(default_factory=Counter)

    def train(self) -> None:
        """Train for one pass over the images; it waits for the device, since every step reads its losses."""
        self.trainer.train_step(1)

    def shares(self) -> dict[str, float]:
        """Return the share of steps in which each network moved; the encoder always does."""
        return {name: self.moved[name] / self.moved["encoder"] for name in NETWORKS if self.moved["encoder"]}


def build_peer(
    config: RunConfig, images: Tensor, device: str, folder: Path, *, gates: bool = True, loader: bool = True
) -> Peer:
    """Build pythae's model and trainer from a run's configuration, with its optimisers and its batch size.

    Args:
        images: (N, C, H, W) in [-1, 1], N a multiple of the batch size; one pass over them is what gets timed.
        device: `cpu` or `cuda`; pythae knows no others.
        folder: where pythae makes a folder of its own; it writes nothing else.
        gates: whether pythae's equilibrium may hold networks back, or all of them move in every step.
        loader: whether batches come from pythae's loader, or are made beforehand.
    """
    model = build_model(config, images.shape[1], gates=gates)
    dataset = BaseDataset(images.contiguous(), images.new_ones(len(images)))
    with quiet():
        trainer = CoupledOptimizerAdversarialTrainer(model, dataset, training_config=_training(config, device, folder))
        trainer.prepare_training()
    trainer.callback_handler = CallbackHandler([], trainer.model)
    if not loader:
        ready = [DatasetOutput({k: v.to(device) for k, v in batch.items()}) for batch in trainer.train_loader]
        trainer.train_loader = Collated(dataset, ready)
    peer = Peer(trainer)

    def count(_module: nn.Module, _inputs: object, output: ModelOutput) -> None:
        peer.moved.update(name for name in NETWORKS if output[f"update_{name}"])

    trainer.model.register_forward_hook(count)
    return peer


def build_model(config: RunConfig, channels: int, *, gates: bool = True) -> VAEGAN:
    """Build pythae's VAEGAN of the networks that genbench builds from the same seed: the same initial weights."""
    blueprint = Blueprint(channels, config.dataset.size, config.network, config.training.images, config.seed)
    discriminator = blueprint.discriminator()
    if not isinstance(discriminator, ConvDiscriminator):
        raise TypeError("the comparison is of convolutional networks")
    margin = {} if gates else {"margin": OPEN}
    peer_config = VAEGANConfig(
        input_dim=(channels, config.dataset.size, config.dataset.size),
        latent_dim=config.network.latent_size,
        reconstruction_layer=RECONSTRUCTION_LEVEL,
        **margin,
    )
    return VAEGAN(
        peer_config,
        PeerEncoder(blueprint.encoder()),
        PeerDecoder(blueprint.decoder()),
        PeerDiscriminator(discriminator),
    )


def _training(config: RunConfig, device: str, folder: Path) -> CoupledOptimizerAdversarialTrainerConfig:
    betas = (0.5, 0.999) if config.training.optimiser == "adam" else (0.0, 0.99)
    each: dict[str, object] = {f"{name}_optimizer_cls": "Adam" for name in NETWORKS}
    each |= {f"{name}_optimizer_params": {"betas": betas} for name in NETWORKS}
    each |= {f"{name}_learning_rate": config.training.learning_rate for name in NETWORKS}
    return CoupledOptimizerAdversarialTrainerConfig(
        output_dir=str(folder),
        per_device_train_batch_size=config.training.batch_size,
        seed=config.seed,
        no_cuda=device == "cpu",
        **each,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pythae from telling what it does: every module of it prints through a handler of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
