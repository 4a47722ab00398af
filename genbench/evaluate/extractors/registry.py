"""From an extractor's name, as the user writes it, to the extractor."""

from collections.abc import Collection, Iterable
from typing import cast

import torch

from genbench.errors import GenbenchError, NotApplicable, did_you_mean
from genbench.evaluate.extractors.attributes import AttributeFeatures
from genbench.evaluate.extractors.interface import Extractor, ExtractorRequest
from genbench.plugins import Plugins

MANY = 20
"""So many variants are not named one by one."""

_PARTS = ("name", "size", "weights_hash", "facts", "warnings", "__call__")


def obtain_extractor(plugins: Plugins, name: str, weights: str, device: torch.device) -> Extractor:
    """Build the extractor of this name with its weights.

    Args:
        name: such as `inception` or `torchvision:resnet18`.
        weights: path of its weights, or empty where they are to be looked for.

    Raises:
        NotApplicable: its weights can't be had.
        GenbenchError: no plugin declares it, its weights are unfit, or it is no extractor. `attributes` is one that
            can't be built from a name alone: the evaluation context gives it.
    """
    spec, variant = plugins.extractor(name)
    if spec.name == AttributeFeatures.name:
        raise GenbenchError(
            f"extractor `{spec.name}` is a data set's classifier, which a name alone does not give",
            "take it from an evaluation context",
        )
    target = plugins.resolve(spec.target)
    if not callable(target):
        raise GenbenchError(
            f"extractor `{name}`: `{spec.target}` can't be called", "it should be a class or a function"
        )
    try:
        extractor = target(ExtractorRequest(variant, weights, device))
    except GenbenchError as error:
        kind = NotApplicable if isinstance(error, NotApplicable) else GenbenchError
        raise kind(f"extractor `{name}`: {error.message}", error.hint) from error
    _check(spec.name, spec.target, extractor)
    return cast(Extractor, extractor)


def check_variants(plugins: Plugins, names: Iterable[str]) -> None:
    """Look whether extractors' names, such as `torchvision:resnet18`, name variants that there are, without weights.

    Names that no plugin declares are left to whoever uses them.

    Raises:
        GenbenchError: one names a variant that there is not, as far as its plugin tells.
    """
    for name in names:
        try:
            spec, variant = plugins.extractor(name)
        except GenbenchError:
            continue
        known: Collection[str] = plugins.resolve(spec.known)() if spec.known else (variant,)  # type: ignore[operator]
        if variant not in known:
            every = (
                f"known: {', '.join(known)}" if len(known) < MANY else f"there are {len(known)}, none of them like it"
            )
            raise GenbenchError(
                f"extractor `{spec.name}` has no variant `{variant}`", did_you_mean(variant, known) or every
            )


def _check(name: str, target: str, extractor: object) -> None:
    """Refuse what is no extractor, or one under another's name, whose scores would then pass for that one's."""
    lacking = [part for part in _PARTS if not hasattr(extractor, part)]
    if lacking:
        raise GenbenchError(
            f"extractor `{name}`: what `{target}` gives has no `{lacking[0]}`",
            "see `genbench.evaluate.extractors.Extractor` for what it needs",
        )
    found = str(getattr(extractor, "name", ""))
    if found.partition(":")[0] != name:
        raise GenbenchError(
            f"extractor `{name}`: `{target}` calls itself `{found}`",
            f"its `name` should be `{name}`, or `{name}:VARIANT`",
        )
