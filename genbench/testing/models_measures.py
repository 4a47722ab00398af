"""What the checks of a model measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from genbench.doctor.routing import ROUNDING, in_double, worst
from genbench.errors import NotApplicable
from genbench.interfaces import Batch, Model, View
from genbench.networks import seeded
from genbench.testing.interface import CheckFailed
from genbench.testing.models_trial import BATCH, ModelSubject, Started, Trial
from genbench.train.weighting import WeightedSimilarity

SINGLE = 1e-3
"""As `ROUNDING`, of a model that can't be computed in float64."""

SIZES = (16, 32, 64)
"""Of images in pixels, that every model is tried with."""

Views = tuple[View, View]


def made(started: Started) -> tuple[list[Tensor], list[Tensor]]:
    """Return the losses of each position, and the samples of some latents."""
    model = started.model
    losses = [loss.detach() for at in started.positions for loss in model.losses(started.draw(at)).of.values()]
    return losses, [decoded(model.eval(), started.latents(BATCH))]


@torch.no_grad()
def decoded(model: Model, latents: Tensor, seed: int = 0) -> Tensor:
    """Return what latents are decoded to, from a seed."""
    with seeded(seed, "decode"):
        return model.decode(latents)


@torch.no_grad()
def apart(model: Model, latents: Tensor, batch: Batch) -> float:
    """Return by how much an image, and a posterior, changes at most with those that it is in a batch with.

    Raises:
        NotApplicable: the model draws noise when it decodes.
    """
    together = decoded(model, latents)
    if not torch.equal(together, decoded(model, latents, seed=1)):
        raise NotApplicable("it draws noise when it decodes, so that images can't be compared one by one")
    off = (torch.cat([decoded(model, each) for each in torch.split(latents, 1)]) - together).abs().max().item()
    try:
        whole = model.encode(Batch(batch.images)).mean
        single = torch.cat([model.encode(Batch(each)).mean for each in torch.split(batch.images, 1)])
    except NotApplicable:
        return off
    return max(off, (single - whole).abs().max().item() / max(1.0, whole.abs().max().item()))


@dataclass(frozen=True)
class Misrouted:
    """By how much a network's gradient is not its own loss's, at most, relative to its largest entry.

    Attributes:
        allowed: what rounding may make of it.
    """

    off: float
    network: str
    allowed: float


def misrouted(subject: ModelSubject) -> Misrouted:
    """Compare a model's gradients with those of each network's own loss, in float64 where the model can."""
    try:
        with in_double():
            return _misrouted(subject, torch.float64, ROUNDING)
    except RuntimeError:  # of a model that makes float32 tensors by itself
        return _misrouted(subject, torch.float32, SINGLE)


def _misrouted(subject: ModelSubject, dtype: torch.dtype, allowed: float) -> Misrouted:
    started = subject.start()
    found = []
    for at in started.positions:
        batch = started.batches.draw(at)
        labels = None if batch.attributes is None else batch.attributes.to(dtype)
        batch = Batch(batch.images.to(dtype), labels, at)
        found.append(worst(started.model, batch))
        _check_gates(started.model, batch)
    return Misrouted(*max(found), allowed)


def _check_gates(model: Model, batch: Batch) -> None:
    told = []
    for tell in (model.gradients, model.losses):
        torch.manual_seed(11)
        told.append({name: bool(gate) for name, gate in tell(batch).gates.items()})
    if told[0] != told[1]:
        raise CheckFailed(
            f"its `gradients` have the gates {told[0]}, its `losses` {told[1]}", "return those of the losses"
        )


def check_ownership(model: Model) -> None:
    """Raise CheckFailed where a parameter is trained by no network, or by two."""
    owners: dict[nn.Parameter, list[str]] = {}
    for name, network in model.networks.items():
        for parameter in network.parameters():
            owners.setdefault(parameter, []).append(name)
    judge = {*model.similarity.parameters()} if isinstance(model.similarity, nn.Module) else set()
    for full, parameter in model.named_parameters():
        if parameter.requires_grad and parameter not in judge and parameter not in owners:
            raise CheckFailed(f"no network has the parameter `{full}`, so nothing trains it", "put it into `networks`")
    twice = next((names for names in owners.values() if len(names) > 1), None)
    if twice:
        raise CheckFailed(
            f"`{twice[0]}` and `{twice[1]}` share a parameter, which would move for two losses", "one network, one loss"
        )


def parameters(model: Model) -> list[tuple[str, int, str]]:
    """Return of each parameter that is trained its network, its place in that one's gradient, and its whole name."""
    return [
        (name, at, f"{name}.{own}")
        for name, network in model.networks.items()
        for at, (own, _) in enumerate((own, p) for own, p in network.named_parameters() if p.requires_grad)
    ]


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether tensors are the same, bit for bit."""
    return len(first) == len(second) and all(map(torch.equal, first, second))


def check_scalar(name: str, value: Tensor, images_seen: int) -> None:
    """Raise CheckFailed where a loss, or what is logged, is no finite scalar."""
    if value.ndim != 0:
        raise CheckFailed(f"`{name}` has the shape {tuple(value.shape)}, expected a scalar", "take its mean")
    if not value.isfinite():
        raise CheckFailed(f"`{name}` is {value.item()} after {images_seen} images")


def views_seen(started: Started) -> list[Views]:
    """Return what a model shows its similarity at each position."""
    seen: list[Views] = []
    assert isinstance(started.model.similarity, WeightedSimilarity)  # noqa: S101 - for the type checker
    handle = started.model.similarity.register_forward_pre_hook(lambda _, views: seen.append(views))
    try:
        for at in started.positions:
            started.model.losses(started.draw(at))
    finally:
        handle.remove()
    return seen


def check_features(views: Sequence[View]) -> tuple[str, ...]:
    """Return the layers that a similarity is shown, having checked that each has a row for each image."""
    for view in views:
        for layer, values in view.features.items():
            if len(values) != len(view.images):
                raise CheckFailed(
                    f"features `{layer}` have the shape {tuple(values.shape)} for {len(view.images)} images"
                )
    return tuple(views[0].features)


def trials(base: Trial) -> list[Trial]:
    """Return the trials of several sizes, grey and in colour, with both kinds of networks."""
    found = [replace(base, size=size, channels=channels) for size in SIZES for channels in (1, 3)]
    found += [replace(base, channels=channels, kind="mlp") for channels in (1, 3)]
    return [*found, replace(base, labelled=False)]


def one_step(started: Started, trial: Trial) -> None:
    """Take a step and decode; raise CheckFailed where the images have another shape."""
    gradients = started.model.gradients(started.draw(0))
    for name, own in gradients.of.items():
        if not all(bool(each.isfinite().all()) for each in own if each is not None):
            raise CheckFailed(f"{trial.words}: the gradient of `{name}` is not finite")
    shape = tuple(decoded(started.model.eval(), started.latents(2)).shape)
    if shape != (2, trial.channels, trial.size, trial.size):
        raise CheckFailed(
            f"{trial.words}: decodes to {shape}, expected {(2, trial.channels, trial.size, trial.size)}",
            "take size and channels from the blueprint",
        )


def furthest(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return the largest difference between two checkpoints' numbers; infinity where they hold others."""
    if first.keys() != second.keys():
        return float("inf")
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def strayed(subject: ModelSubject, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """Return how far a checkpoint's weights are from those expected, in shares of how far these are from the start."""
    far = moved = 0.0
    for name, start in subject.start().model.named_parameters():
        there = expected[f"model/{name}"]
        far += (found[f"model/{name}"] - there).abs().sum().item()
        moved += (there - start.detach()).abs().sum().item()
    return far / moved if moved else float(far > 0)
