"""Measure what each part of the training engine gains, in turns on one VAE/GAN: `python parts.py [--save]`.

From the plainest step to the engine's: three backward passes through the whole graph, as three calls of `backward` do;
one gradient for each network (`route`); the graph cut at the images (`VaeGan.gradients`), also in the minimax game, in
which it saves a pass; channels-last memory; layers at full resolution on 2×2 blocks; the fused optimiser; bfloat16;
and `torch.compile`, which `--compile` adds. 32 px, quarter width, batch 64 by default.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from report import alternate, ratio, save, spread

from genbench import convolutions
from genbench.config import NetworkConfig, TrainingConfig
from genbench.interfaces import Batch, Gradients, Model
from genbench.networks import Blueprint
from genbench.train.gradients import detached, trainable
from genbench.train.memory import keep_freed_memory
from genbench.train.optimisers import build_optimisers, step
from genbench.train.precision import Precision, autocast
from genbench.train.weighting import WeightedSimilarity
from genbench_similarities.elementwise import DisL
from genbench_similarities.settings import DisLSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeGanSettings

FEW_CHANNELS = convolutions.FEW_CHANNELS
Routing = Literal["naive", "per network", "cut"]


@dataclass(frozen=True)
class Parts:
    """Which parts of the engine a step has."""

    routing: Routing = "naive"
    channels_last: bool = False
    blocks: bool = False
    fused: bool = False
    compiled: bool = False
    precision: Precision = "float32"
    saturating: bool = False


SIDES = {
    "naive: three whole backward passes": Parts(),
    "one gradient per network": Parts("per network"),
    "cut graph": Parts("cut"),
    "… channels-last": Parts("cut", channels_last=True),
    "… blocks": Parts("cut", channels_last=True, blocks=True),
    "… fused optimiser: the engine, float32": Parts("cut", channels_last=True, blocks=True, fused=True),
    "… bfloat16: the engine": Parts("cut", True, True, True, precision="bfloat16"),
    "minimax game: one gradient per network": Parts("per network", True, True, True, saturating=True),
    "minimax game: cut graph": Parts("cut", True, True, True, saturating=True),
}
COMPILED = {
    "float32, compiled": Parts("cut", True, True, True, compiled=True),
    "bfloat16, compiled": Parts("cut", True, True, True, compiled=True, precision="bfloat16"),
}


def naive(model: Model, batch: Batch) -> Gradients:
    """Differentiate every loss in every parameter, and keep each network's own."""
    losses, found = model.losses(batch), {}
    parameters = {name: trainable(network) for name, network in model.networks.items()}
    everything = [p for own in parameters.values() for p in own]
    for left, (name, loss) in zip((2, 1, 0), losses.of.items(), strict=True):
        flat = torch.autograd.grad(loss, everything, retain_graph=left > 0, allow_unused=True)
        of = dict(zip(map(id, everything), flat, strict=True))
        found[name] = tuple(of[id(p)] for p in parameters[name])
    return Gradients(found, detached(losses.log), losses.gates)


ROUTINGS: dict[Routing, Callable[[VaeGan, Batch], Gradients]] = {
    "naive": naive,
    "per network": Model.gradients,
    "cut": VaeGan.gradients,
}


def build(parts: Parts, size: int, width: float, batch_size: int) -> Callable[[], None]:
    """Return a step of a model of its own."""
    similarity = WeightedSimilarity(DisL(DisLSettings()), 1.0)
    plan = Blueprint(3, size, NetworkConfig(width=width), 1, 0, similarity=similarity)
    model = VaeGan(plan, VaeGanSettings(saturating=parts.saturating, margin=0)).train()
    images = torch.rand(batch_size, 3, size, size) * 2 - 1
    if parts.channels_last:
        model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimisers = build_optimisers(model, TrainingConfig(images=1))
    plain = {n: torch.optim.Adam(trainable(net), 3e-4, (0.0, 0.99)) for n, net in model.networks.items()}
    well = torch.ones((), dtype=torch.bool)

    if parts.compiled:
        torch._functorch.config.donated_buffer = False  # a step differentiates one forward pass several times
        for network in model.networks.values():
            network.compile()

    def one() -> None:
        convolutions.FEW_CHANNELS = FEW_CHANNELS if parts.blocks else 0
        with autocast(parts.precision, images.device):
            gradients = ROUTINGS[parts.routing](model, Batch(images))
        if parts.fused:
            step(optimisers, gradients, well)
            return
        for name, own in gradients.of.items():
            for parameter, gradient in zip(trainable(model.networks[name]), own, strict=True):
                parameter.grad = gradient
            plain[name].step()

    return one


def main() -> None:
    """Print images a second of each, and how many times as fast as the plainest it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="also compiled: takes minutes")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    chosen = SIDES | (COMPILED if options.compile else {})
    sides = {name: build(parts, options.size, options.width, options.batch) for name, parts in chosen.items()}
    times = alternate(sides, options.repeats)
    plain = times[next(iter(SIDES))]
    rows = {
        name: {"step_s": spread(taken), "images_per_s": options.batch / statistics.median(taken), "times": gain}
        for name, taken in times.items()
        for gain in [ratio(plain, taken)]
    }
    for name, row in rows.items():
        print(f"{name:40} {row['images_per_s']:6.0f} images/s  {row['times']:5.2f} times the first")
    if options.save:
        print(save("parts", {"options": vars(options), "sides": rows}))


if __name__ == "__main__":
    main()
