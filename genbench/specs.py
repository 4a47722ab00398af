"""The frozen declarations that plugins yield; nothing here imports torch, so listing stays fast."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from genbench.errors import GenbenchError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

ADDED_LATER: Mapping[str, bool] = MappingProxyType({"genbench.added_later": True})
"""Marks a setting that was added once runs had been recorded: in a settings class `field(default=0.0,
metadata=ADDED_LATER)`, in `TrainingConfig` a part of its `Annotated`. Where it has its default, which must never
change, it is left out of a run's configuration, so that runs of before keep their hash, their folder and their row of a
leaderboard."""

_WORDS: dict[Any, str] = {
    str: "text",
    str | None: "text or None",
    bool: "True or False",
    int: "a whole number",
    int | None: "a whole number or None",
    float: "a number",
}


def _check_types(declaration: "Needs | Spec", name: str) -> None:
    """Hold the fields of plain types to them: what lists and plans need not doubt a stranger's declaration.

    Raises:
        GenbenchError: a field holds something else; says which, and what was expected.
    """
    for field in fields(declaration):
        if field.type not in _WORDS:
            continue
        value = getattr(declaration, field.name)
        accepted = int | float if field.type is float else field.type
        if not isinstance(value, accepted) or isinstance(value, bool) > (field.type is bool):  # type: ignore[arg-type]
            raise GenbenchError(f"{name}: {field.name} is {value!r}, expected {_WORDS[field.type]}")


@dataclass(frozen=True)
class Needs:
    """What a similarity needs of the model and of the data, checked before training starts.

    Attributes:
        discriminator: whether `View.features` must hold a discriminator's activations.
        min_size: the smallest side of an image, in pixels.
        channels: the number of channels, or None where any will do.
    """

    discriminator: bool = False
    min_size: int = 1
    channels: int | None = None

    def __post_init__(self) -> None:
        _check_types(self, "Needs")


@dataclass(frozen=True)
class Spec:
    """What every declaration has.

    Attributes:
        name: lower-case letters, digits, dots, dashes; what the user types.
        summary: one line for listings.
        target: `package.module:Class`, imported only when used.
        settings: `package.module:Class` of a frozen dataclass with a default for every field, or None where
            there is nothing to set. Its module should not import torch. The target is called with an instance.
    """

    name: str
    summary: str
    target: str
    settings: str | None = None

    def __post_init__(self) -> None:
        _check_types(self, f"{type(self).__name__} {self.name!r}")
        if len(self.summary.splitlines()) > 1:
            raise GenbenchError(f"{type(self).__name__} {self.name!r}: summary {self.summary!r} is not one line")
        if not _NAME.fullmatch(self.name):
            raise GenbenchError(f"{type(self).__name__}: name {self.name!r} is not of the form {_NAME.pattern}")
        for field in ("target", "settings"):
            value = getattr(self, field)
            if value is not None and not _TARGET.fullmatch(value):
                raise GenbenchError(
                    f"{type(self).__name__} {self.name!r}: {field} {value!r} is not of the form package.module:Class"
                )


@dataclass(frozen=True)
class ModelSpec(Spec):
    """A generative model.

    Attributes:
        similarity: the similarity it trains with by default, or None where it reconstructs nothing.
        similarity_settings: (name, value) pairs that it sets of that similarity, and of no other, unless the user does.
        discriminator: whether it offers a discriminator's features to its similarity.
    """

    similarity: str | None = None
    similarity_settings: tuple[tuple[str, str | float], ...] = ()
    discriminator: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for pair in self.similarity_settings:
            match pair:
                case (str(), str() | int() | float()):
                    continue
            raise GenbenchError(
                f"ModelSpec {self.name!r}: similarity_settings has {pair!r}, expected pairs like ('layer', 3)"
            )


@dataclass(frozen=True)
class SimilaritySpec(Spec):
    """A measure of how likely a real image is, given a reconstruction."""

    needs: Needs = Needs()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.needs, Needs):
            raise GenbenchError(f"SimilaritySpec {self.name!r}: needs is {self.needs!r}, expected `Needs(...)`")


@dataclass(frozen=True)
class EvaluatorSpec(Spec):
    """A family of scores.

    Attributes:
        version: raised whenever a value changes for the same images; part of every score's protocol.
        default: whether `genbench run` computes it without being asked.
        always: whether it is computed whatever is asked for, unless nothing is.
        variant: the setting that may follow its name after a colon, or None: `fd:inception` where it is `extractor`.
        sampled: whether the number of samples, or where they come from, can move a score.
    """

    version: int = 1
    default: bool = True
    always: bool = False
    variant: str | None = None
    sampled: bool = True


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """A set of images, with the defaults that suit it.

    Attributes:
        channels: 1 or 3.
        size: side of an image in pixels, where the user names none.
        width: width factor of the networks, where the user names none.
        images: budget of a run in training images seen, where the user names none.
        flip: whether an image's mirror image is as likely as itself, so that training may flip.
    """

    channels: int = 3
    size: int = 32
    width: float = 1.0
    images: int = 1_000_000
    flip: bool = False


@dataclass(frozen=True)
class ExtractorSpec(Spec):
    """A feature extractor; its target is called with an `ExtractorRequest` and has no settings.

    Attributes:
        variants: whether a variant may follow its name after a colon: `torchvision:resnet18`.
        variant: the variant that the name alone stands for; where it is empty, one must follow.
        known: `package.module:function` that returns the names of all variants, so that a misspelt one is told before
            hours of training; None where only building the extractor tells.
    """

    variants: bool = False
    variant: str = ""
    known: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.settings is not None:
            raise GenbenchError(f"ExtractorSpec {self.name!r}: settings {self.settings!r}, but extractors have none")
        if (self.variant or self.known) and not self.variants:
            given = f"a variant {self.variant!r}" if self.variant else f"`known` is {self.known!r}"
            raise GenbenchError(f"ExtractorSpec {self.name!r}: {given}, but `variants` is false")
        if self.known is not None and not _TARGET.fullmatch(self.known):
            raise GenbenchError(
                f"ExtractorSpec {self.name!r}: known {self.known!r} is not of the form package.module:name"
            )
