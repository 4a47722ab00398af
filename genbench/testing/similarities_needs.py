"""Checks of what a similarity declares: what it needs, its settings, its facts, and that it trains nothing."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import NoReturn

import torch
from torch import Tensor

from genbench.errors import GenbenchError
from genbench.interfaces import Batch, Losses, Model, Similarity, View
from genbench.resolution import build_settings
from genbench.testing.interface import CheckFailed
from genbench.testing.pictures import dead_leaves, reconstruction
from genbench.testing.similarities import SimilaritySubject, numbers
from genbench.train.weighting import WeightedSimilarity, measure_weight

LEAST_SIDE = 4
"""Side of the smallest images that genbench prepares, in pixels."""


def sizes(subject: SimilaritySubject) -> str:
    """Check that it works at the smallest size that it declares, and at others above, with one and the same object."""
    least = max(subject.spec.needs.min_size, LEAST_SIDE)
    similarity = subject.build()
    tried = sorted({least, least + 1, *(side for side in (32, 64) if side > least)})
    for side in tried:
        hint = f"declare what it needs, such as `needs=genbench.Needs(min_size={2 * side})`"
        _expect_sound(subject, similarity, subject.spec.needs.channels or 3, side, f"at {side} px", hint)
    return f"{', '.join(map(str, tried))} px"


def channels(subject: SimilaritySubject) -> str:
    """Check that it takes grey images and colour ones, or the one kind that it declares."""
    declared = subject.spec.needs.channels
    similarity, side = subject.build(), subject.pictures(1).shape[2]
    for count in (declared,) if declared else (1, 3):
        hint = f"declare what it needs, such as `needs=genbench.Needs(channels={4 - count})`"
        _expect_sound(subject, similarity, count, side, f"with {count} channel{'s' if count > 1 else ''}", hint)
    return f"{declared}, as declared" if declared else "1 and 3"


def discriminator(subject: SimilaritySubject) -> str:
    """Check that it reads a discriminator's features if, and only if, it declares to need one."""
    similarity = subject.build()
    real, fake = subject.pair(2)
    if not subject.spec.needs.discriminator:
        numbers(similarity(View(real, _Forbidden()), View(fake, _Forbidden())), 2)
        return "none declared, none read"
    features = {layer: value.clone().requires_grad_() for layer, value in subject.view(fake).features.items()}
    value = numbers(similarity(subject.view(real), View(fake, dict(features))), 2)
    gradients = (
        torch.autograd.grad(value.sum(), tuple(features.values()), allow_unused=True)
        if value.requires_grad
        else [None] * len(features)
    )
    used = [layer for layer, g in zip(features, gradients, strict=True) if g is not None and bool(g.any())]
    if not used:
        raise CheckFailed(
            "it declares to need a discriminator, but its value does not depend on `fake.features`",
            "leave `discriminator=True` out of its needs",
        )
    return f"declared, and read: {', '.join(used)}"


class _Forbidden(Mapping[str, Tensor]):
    """Features that nobody may look at."""

    def _refuse(self) -> NoReturn:
        raise CheckFailed(
            "it reads `View.features`, but does not declare that it needs a discriminator",
            "declare `needs=genbench.Needs(discriminator=True)`: with other models, there are no features",
        )

    def __getitem__(self, layer: str) -> Tensor:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:
        self._refuse()


def settings(subject: SimilaritySubject) -> str:
    """Check that settings have defaults, that these pass their own rules, and that they survive a record."""
    target = subject.spec.settings
    if target is None:
        return "it has none"
    cls = subject.plugins.resolve(target)
    if not (isinstance(cls, type) and is_dataclass(cls) and _is_frozen(cls)):
        raise CheckFailed(f"`{target}` is no frozen dataclass", "decorate it with `@dataclass(frozen=True)`")
    try:
        defaults = build_settings(subject.plugins, subject.spec, {})
        values = asdict(defaults)
        back = build_settings(subject.plugins, subject.spec, json.loads(json.dumps(values, allow_nan=False)))
    except GenbenchError as error:
        raise CheckFailed(f"its defaults can't be set: {error.message}", error.hint) from error
    except (TypeError, ValueError) as error:
        raise CheckFailed(
            f"its defaults can't be written to a record: {error}", "use numbers, texts, booleans and tuples of them"
        ) from error
    if back != defaults:
        raise CheckFailed(f"read back from a record, {back} is not {defaults}", "use numbers, texts and booleans")
    return f"{', '.join(field.name for field in fields(cls))}: sound defaults"


def _is_frozen(cls: type) -> bool:
    return bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined] # nothing else tells


def facts(subject: SimilaritySubject) -> str:
    """Check that its facts can stand in a record."""
    found = subject.build().facts
    if not isinstance(found, Mapping):
        raise CheckFailed(f"`facts` is a {type(found).__name__}, expected a mapping", "give names and plain values")
    for name, value in found.items():
        plain = value is None or isinstance(value, str | int | float)
        if not (isinstance(name, str) and plain and not (isinstance(value, float) and not math.isfinite(value))):
            raise CheckFailed(
                f"the fact {name!r} is {value!r:.60}, expected a text, a finite number, a boolean or None",
                "facts are recorded: give plain values, such as the hash of a network's weights",
            )
    return ", ".join(found) if found else "it has none"


def nothing_to_train(subject: SimilaritySubject) -> str:
    """Check that it has no parameters that wait for a gradient: no optimiser ever moves a similarity's."""
    similarity = subject.build()
    waiting = [name for name, parameter in similarity.named_parameters() if parameter.requires_grad]
    if waiting:
        some = ", ".join(waiting[:3]) + (", …" if len(waiting) > 3 else "")
        raise CheckFailed(
            f"{len(waiting)} of its parameters require a gradient, and nothing trains them: {some}",
            "call `requires_grad_(False)` on them, or register them as buffers",
        )
    stored = sum(value.nbytes for value in similarity.state_dict().values() if isinstance(value, Tensor))
    return f"no parameters to train; {stored / 1e6:.3g} MB in each checkpoint" if stored else "no parameters, no state"


def scale(subject: SimilaritySubject) -> str:
    """Check that an automatic weight can be measured, and that it makes the gradient as long as the pixels' own."""
    similarity = subject.build()
    real, fake = subject.pair(4)
    with torch.no_grad():
        wanted = float((fake - real).norm())
    weight = measure_weight(_Reconstructing(subject, real), similarity, [Batch(real)])
    _, gradient = subject.slope(WeightedSimilarity(similarity, weight), real, fake)
    found = float(gradient.norm())
    if not abs(found - wanted) <= 0.01 * wanted:
        raise CheckFailed(
            f"times its automatic weight, {weight:.3g}, its gradient's norm is {found:.3g}, expected {wanted:.3g}",
            "its scale leaves float32: multiply the value by a constant",
        )
    return f"`auto` multiplies it by {weight:.3g}"


class _Reconstructing(Model):
    """What has views of images, and nothing else of a model."""

    def __init__(self, subject: SimilaritySubject, real: Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.subject, self.real = subject, real

    def losses(self, batch: Batch) -> Losses:
        return Losses({})

    def views(self, batch: Batch) -> tuple[View, View]:
        fake = reconstruction(self.real).requires_grad_()
        return self.subject.view(self.real), self.subject.view(fake)


def _expect_sound(
    subject: SimilaritySubject, similarity: Similarity, count: int, side: int, told: str, hint: str
) -> None:
    """Check that value and gradient are there, finite, and not zero, and that a reconstruction costs something."""
    real = dead_leaves(2, count, side).float()
    try:
        own = subject.measure(similarity, real, real.clone()).detach()
        value, gradient = subject.slope(similarity, real, reconstruction(real))
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(f"{told} it raises {type(error).__name__}: {error}", hint) from error
    if not bool(value.isfinite().all() and gradient.isfinite().all()):
        raise CheckFailed(f"{told} its value or its gradient is not finite", hint)
    if not bool(gradient.flatten(1).any(1).all()):
        raise CheckFailed(f"{told} its gradient is zero", hint)
    if bool((value <= own).any()):
        raise CheckFailed(f"{told} a reconstruction costs no more than the image itself", hint)
