"""Gradient routing: each network of a model gets the gradient of its own loss, and of nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from genbench.doctor.findings import Ground
from genbench.doctor.running import BATCH, Unwatched, tiny
from genbench.doctor.threads import one_thread
from genbench.errors import in_one_line
from genbench.findings import Finding
from genbench.interfaces import Batch, Model
from genbench.pipeline import Surroundings, assemble, folder_of
from genbench.specs import ModelSpec
from genbench.train.gradients import Own, trainable

ROUNDING = 1e-9
"""Largest difference in float64, relative to the largest entry of a network's gradient."""


def routing(ground: Ground) -> Iterator[Finding]:
    """Check every model with a discriminator, since there networks have different losses."""
    for spec in ground.plugins.specs("models"):
        if spec.discriminator:
            yield _check(ground, spec)


def _check(ground: Ground, spec: ModelSpec) -> Finding:
    name = f"routing {spec.name}"
    hint = (
        f"its `gradients` must equal `genbench.train.gradients.route` of its `losses`; see `genbench show {spec.name}`"
    )
    try:
        with one_thread(), in_double():
            model = build(ground, spec)
            moments = {model.similarity_from, 0}
            found = [worst(model, batch(images_seen)) for images_seen in sorted(moments)]
    except Exception as error:  # one broken model says nothing of the others
        return Finding(name, "failed", in_one_line(error), hint)
    off, network = max(found)
    told = (
        f"{len(model.networks)} networks, each moved by its own loss alone"
        if off <= ROUNDING
        else f"{network} gets another gradient than its own loss's: off by {off:.1e} of it"
    )
    return Finding.of(name, off <= ROUNDING, told, hint)


def build(ground: Ground, spec: ModelSpec) -> Model:
    """Return a tiny model, in training mode."""
    weight = ("training.similarity_weight=0.75",) if spec.similarity else ()
    config = tiny(ground.plugins, spec.name, evaluators=(), settings=weight)
    with TemporaryDirectory(prefix="genbench-doctor-") as folder:
        around = Surroundings(Path(folder) / "runs", Path(folder) / "cache", device="cpu")
        parts = assemble(ground.plugins, config, folder_of(config, around), around, Unwatched())
    return parts.model.train()


def batch(images_seen: int) -> Batch:
    """Return noise as images, with attributes at random; gradients need no more."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(BATCH, 3, 16, 16, generator=generator) * 2 - 1
    return Batch(images, images_seen=images_seen)


def worst(model: Model, batch: Batch) -> tuple[float, str]:
    """Return the largest error of a network's gradient, relative to its largest entry, and the network.

    The truth comes from one forward pass for each network, of whose losses its own alone is differentiated, in its own
    parameters alone.
    """
    torch.manual_seed(11)
    found = model.gradients(batch).of
    torch.manual_seed(11)
    names = model.losses(batch).of.keys()
    if set(found) != set(names):
        return float("inf"), ", ".join(sorted(set(found) ^ set(names)))
    return max((_difference(found[name], alone(model, batch, name)), name) for name in names)


def alone(model: Model, batch: Batch, name: str) -> Own:
    """Return the gradient of one network's loss in its parameters, from a forward pass of its own."""
    torch.manual_seed(11)
    loss = model.losses(batch).of[name]
    return torch.autograd.grad(loss, trainable(model.networks[name]), allow_unused=True)


def _difference(found: Own, expected: Own) -> float:
    if len(found) != len(expected):
        return float("inf")
    pairs = [(_dense(a, b), _dense(b, a)) for a, b in zip(found, expected, strict=True)]
    largest = max(float(b.abs().max()) for _, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs) / (largest or 1.0)


def _dense(gradient: Tensor | None, other: Tensor | None) -> Tensor:
    """Return a gradient; zeros where a parameter has none."""
    if gradient is not None:
        return gradient
    return torch.zeros(1) if other is None else torch.zeros_like(other)


@contextmanager
def in_double() -> Iterator[None]:
    """Build and compute in float64, where rounding can't be taken for a leak."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
