"""A run's similarity: one by name, or a mixture such as `mse:0.5+dis-l:0.5`, that fits the model and the data.

Imports no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genbench.errors import GenbenchError, NotApplicable, did_you_mean
from genbench.plugins import Plugins
from genbench.specs import DatasetSpec, ModelSpec, SimilaritySpec

_EXAMPLE = "for example mse:0.5+dis-l:0.5"

ROUNDING = 0.002
"""By how much the shares of a mixture may miss 1: three thirds of three digits do."""


@dataclass(frozen=True)
class Part:
    """A similarity and its share of the whole: 1 where it stands alone.

    Attributes:
        prefix: of its settings' names: nothing where it stands alone, `mse.` in a mixture.
    """

    spec: SimilaritySpec
    share: float
    prefix: str

    @property
    def name(self) -> str:
        """Return the similarity's name."""
        return self.spec.name


def parts_of(plugins: Plugins, text: str) -> tuple[Part, ...]:
    """Return what a similarity is made of: itself, or the parts of a mixture.

    Raises:
        GenbenchError: there is no such similarity, or the shares of a mixture are not numbers over 0 whose sum is 1.
    """
    if not is_mixture(text):
        return (Part(plugins.similarity(text), 1.0, ""),)
    split = [piece.strip().partition(":") for piece in text.split("+")]
    if not all(name for name, _, _ in split):
        raise GenbenchError(f"similarity `{text}`: a part of the mixture has no name", _EXAMPLE)
    parts = tuple(Part(plugins.similarity(name), _share(text, name, share), f"{name}.") for name, _, share in split)
    if len(parts) == 1:
        raise GenbenchError(
            f"similarity `{text}`: a mixture has two parts or more", f"{_EXAMPLE}; or `{parts[0].name}`"
        )
    if len({part.name for part in parts}) < len(parts):
        raise GenbenchError(f"similarity `{text}` names one twice", f"each may be there once, {_EXAMPLE}")
    total = sum(part.share for part in parts)
    if abs(total - 1) > ROUNDING:
        raise GenbenchError(f"similarity `{text}`: its shares add up to {total:g}, expected 1", _EXAMPLE)
    return parts


def is_mixture(text: str) -> bool:
    """Say whether a similarity's name is that of a mixture; plugins' own names hold neither `+` nor `:`."""
    return "+" in text or ":" in text


def label(parts: Sequence[Part]) -> str:
    """Return the name of a similarity as it is recorded."""
    if not parts[0].prefix:
        return parts[0].name
    return "+".join(f"{part.name}:{part.share:.6g}" for part in parts)


def single(plugins: Plugins, text: str) -> SimilaritySpec:
    """Return the similarity of this name, where only one will do.

    Raises:
        GenbenchError: there is none, or it is a mixture, whose parts are weighed against each other in training.
    """
    if is_mixture(text):
        first = text.partition("+")[0].partition(":")[0]
        raise GenbenchError(f"`{text}` is a mixture, which only training can use", f"name its parts, such as `{first}`")
    return plugins.similarity(text)


def settings_by_part(parts: Sequence[Part], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each part's own settings, in the order of the parts.

    Raises:
        GenbenchError: a setting belongs to no part.
    """
    if not parts[0].prefix:
        return [dict(given)]
    found: list[dict[str, Any]] = [{} for _ in parts]
    for key, value in given.items():
        # One name may begin another, as `a` does `a.b`: the longest is meant.
        owners = [part for part in parts if key.startswith(part.prefix)]
        if not owners:
            guess = did_you_mean(key.partition(".")[0], [part.name for part in parts])
            raise GenbenchError(
                f"setting `similarity.{key}` belongs to no part of the mixture",
                guess or f"such as -s similarity.{parts[0].name}.NAME=VALUE",
            )
        owner = max(owners, key=lambda part: len(part.prefix))
        found[parts.index(owner)][key.removeprefix(owner.prefix)] = value
    return found


def check(plugins: Plugins, spec: SimilaritySpec, model: ModelSpec, dataset: DatasetSpec, size: int) -> None:
    """Raise a GenbenchError where model or data lack what a similarity needs."""
    pairing = f"similarity `{spec.name}` with model `{model.name}` on `{dataset.name}`"
    if spec.needs.discriminator and not model.discriminator:
        able = [m.name for m in plugins.specs("models") if m.discriminator and m.similarity]
        raise GenbenchError(
            f"{pairing}: it compares a discriminator's features, and this model has no discriminator",
            f"models with one: {', '.join(able) or 'none installed'}",
        )
    if size < spec.needs.min_size:
        raise GenbenchError(
            f"{pairing}: it needs images of at least {spec.needs.min_size} px, these have {size}",
            f"--size {spec.needs.min_size}",
        )
    if spec.needs.channels not in (None, dataset.channels):
        raise GenbenchError(
            f"{pairing}: it needs {spec.needs.channels} channels, these images have {dataset.channels}",
            "choose another similarity: `genbench list similarities`",
        )


def unfit(spec: SimilaritySpec, channels: int, size: int) -> NotApplicable | None:
    """Return why a similarity can't take such images, or None where it can."""
    if size < spec.needs.min_size:
        return NotApplicable(
            f"similarity `{spec.name}` needs images of {spec.needs.min_size} px, these have {size}",
            f"--size {spec.needs.min_size}",
        )
    if spec.needs.channels not in (None, channels):
        return NotApplicable(
            f"similarity `{spec.name}` needs {spec.needs.channels} channels, these images have {channels}",
            "choose other images by --dataset",
        )
    return None


def _share(text: str, name: str, share: str) -> float:
    try:
        value = float(share)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        told = f"its share is {share!r}" if share else "it has no share"
        raise GenbenchError(f"similarity `{text}`: `{name}`: {told}, expected a number over 0 and up to 1", _EXAMPLE)
    return value
