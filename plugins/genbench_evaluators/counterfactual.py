"""Edits along attribute vectors against the true changed image, where the data set knows it.

Each test image x is encoded, its latent z moved along one attribute's vector v (Larsen et al. 2016, "Visual attribute
vectors") and decoded; the truth t is the same scene drawn again with that attribute flipped and all else equal. No
classifier judges: the squared error does, held against two others of the same model, that of not editing and that of
encoding the truth itself, which is the floor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.editing import mean_differences, one_sided
from genbench.images import to_float
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score, Sheet
from genbench_evaluators.counterfactual_settings import CounterfactualSettings
from genbench_evaluators.uncertainty import BOOTSTRAPPED, resampled

SPLIT: Split = "test"

MIN_ROOM = 0.01
"""Least distance from the floor to not editing, as a share of the true change: below it a model draws no change."""


class Part(IntEnum):
    """Squared errors of one image, each in [0, 1] and a mean over its values.

    Against the truth: `ORIGINAL` of the real image as it is, `UNEDITED` of its reconstruction, `FLOOR` of the truth's
    own reconstruction, `EDITED` of the edit; `REGION_...` the part of it that lies in pixels where truth and original
    differ. `OUTSIDE` is the edit against the unedited reconstruction in all other pixels, where nothing should move.
    """

    ORIGINAL = 0
    UNEDITED = 1
    FLOOR = 2
    EDITED = 3
    REGION_UNEDITED = 4
    REGION_FLOOR = 5
    REGION_EDITED = 6
    OUTSIDE = 7


WHOLE = (Part.ORIGINAL, Part.UNEDITED, Part.FLOOR, Part.EDITED)
REGIONAL = (Part.REGION_UNEDITED, Part.REGION_FLOOR, Part.REGION_EDITED, Part.OUTSIDE)


@dataclass(frozen=True)
class Edits:
    """What is edited.

    Attributes:
        latents: (N, latent_size) float64, of the images.
        towards: (N, A) in {-1, 1}, 1 where an image lacks an attribute and is moved to have it.
        vectors: (A, latent_size) float64.
        columns: and names of the attributes that have a vector.
        vector_images: how many images the vectors are means of.
        left_out: the other attributes, each with the reason.
    """

    latents: Tensor
    towards: Tensor
    vectors: Tensor
    columns: tuple[tuple[int, str], ...]
    vector_images: int
    left_out: dict[str, str]


class Counterfactual(Evaluator):
    """How much of the true change edits miss, in two scores, of which lower ones are better.

    `counterfactual` places the edits' error between that of the truth's reconstruction, 0, and that of the unedited
    one, 1: whole images, all edits pooled. It asks for no more than the model can draw. `counterfactual-region` does:
    the error in the pixels that truly change, in units of the change, so that the unedited real image has 1 and each
    attribute weighs the same, however small it is.
    """

    def __init__(self, settings: CounterfactualSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score | Sheet]:
        limit = self.settings.images or None
        labels = context.attributes(SPLIT)[:limit]
        if context.attribute_names:
            context.counterfactuals(SPLIT, context.attribute_names[0], 1)  # refuses before anything is encoded
        edits = _plan(context, labels, limit)
        found = {name: self._errors(context, edits, k, limit) for k, name in edits.columns}
        unseen = {name: "no flip of it shows" for name, errors in found.items() if not errors.any()}
        found = {name: errors for name, errors in found.items() if name not in unseen}
        left_out = tuple(f"{name} left out: {why}" for name, why in (edits.left_out | unseen).items())
        if not found:
            raise NotApplicable(f"no attribute can be edited: {'; '.join(left_out) or 'there is none'}")
        yield from self._report(context, edits, tuple(found), torch.stack(tuple(found.values())), left_out)

    def _errors(self, context: EvaluationContext, edits: Edits, k: int, limit: int | None) -> Tensor:
        """Return the parts (P, N) of the edit of attribute k; all zero where its flip does not show."""
        truths = context.counterfactuals(SPLIT, context.attribute_names[k], limit)
        moved = edits.latents + self.settings.strength * edits.towards[:, k, None] * edits.vectors[k]
        parts, start = [], 0
        for original in context.real(SPLIT, limit):
            rows = slice(start, start + len(original))
            truth = truths[rows].to(original.device)
            images = (
                to_float(original),
                to_float(truth),
                context.decode(edits.latents[rows].float()),
                context.decode(context.encode(truth).mean),
                context.decode(moved[rows].float()),
            )
            parts.append(image_errors(*(image.cpu() for image in images)))  # Apple's MPS has no float64
            start = rows.stop
        return torch.cat(parts, 1)

    def _report(
        self,
        context: EvaluationContext,
        edits: Edits,
        names: Sequence[str],
        errors: Tensor,
        left_out: tuple[str, ...],
    ) -> Iterable[Score | Sheet]:
        sums = errors.sum(2)
        drawn = resampled(errors, context.seed("counterfactual", "bootstrap"))
        flips = errors[:, Part.ORIGINAL].gt(0).sum(1)
        protocol = self._protocol(context, edits, errors, int(flips.sum()))
        pooled, units = sums.sum(0), in_units(sums)
        yield Score(
            name="counterfactual",
            value=shortfall(pooled).item(),
            uncertainty=_spread(shortfall(drawn.sum(1))),
            direction="lower",
            protocol=protocol | {"least_room": f"{MIN_ROOM} of the true change"},
            details={part.name.lower(): (pooled[part] / flips.sum()).item() for part in WHOLE}
            | {name: shortfall(row).item() for name, row in zip(names, sums, strict=True) if not _lacks_room(row)},
            warnings=(*_without_room(sums, names), *left_out),
        )
        regional = units.mean(0)
        yield Score(
            name="counterfactual-region",
            value=regional[Part.REGION_EDITED].item(),
            uncertainty=_spread(in_units(drawn).nanmean(1)[:, Part.REGION_EDITED]),
            direction="lower",
            protocol=protocol | {"unit": "the true change of each attribute"},
            details={
                "floor": regional[Part.REGION_FLOOR].item(),
                "unedited": regional[Part.REGION_UNEDITED].item(),
                "outside": regional[Part.OUTSIDE].item(),
            }
            | dict(zip(names, units[:, Part.REGION_EDITED].tolist(), strict=True)),
            warnings=left_out,
        )
        yield _sheet(names, errors, drawn)

    def _protocol(self, context: EvaluationContext, edits: Edits, errors: Tensor, flips: int) -> dict[str, Scalar]:
        attributes, _, images = errors.shape
        return context.protocol(
            latents="posterior mean",
            split=SPLIT,
            images=images,
            attributes=attributes,
            invisible_flips=attributes * images - flips,
            vector_images=edits.vector_images,
            strength=self.settings.strength,
            pixel_range="[0, 1]",
            quantised=False,
            uncertainty=BOOTSTRAPPED,
        )


def image_errors(original: Tensor, truth: Tensor, unedited: Tensor, floor: Tensor, edited: Tensor) -> Tensor:
    """Return the parts (P, N) float64 of images (N, C, H, W) in [-1, 1]; all zero where truth and original agree."""
    region = (truth != original).any(1, keepdim=True).double()
    against_truth = [_squares(image, truth) for image in (original, unedited, floor, edited)]
    in_region = [squares * region for squares in against_truth[1:]]
    outside = _squares(edited, unedited) * (1 - region)
    parts = torch.stack([squares.flatten(1).mean(1) for squares in (*against_truth, *in_region, outside)])
    return parts * region.flatten(1).any(1)


def in_units(sums: Tensor) -> Tensor:
    """Return errors (..., P), summed over images, in units of the true change; NaN where there is none."""
    change = sums[..., Part.ORIGINAL, None]
    return torch.where(change > 0, sums / change, torch.nan)


def shortfall(errors: Tensor) -> Tensor:
    """Return 1 + (edited − unedited) / room of summed errors (..., P), with room = unedited − floor.

    That is (edited − floor) / (unedited − floor), and always 1 without an edit: room counts as `MIN_ROOM` of the true
    change where it is less.
    """
    room = errors[..., Part.UNEDITED] - errors[..., Part.FLOOR]
    gained = errors[..., Part.UNEDITED] - errors[..., Part.EDITED]
    return 1 - gained / torch.maximum(room, MIN_ROOM * errors[..., Part.ORIGINAL])


def _plan(context: EvaluationContext, labels: Tensor, limit: int | None) -> Edits:
    train = context.attributes("train").double()
    left_out = one_sided(train, context.attribute_names)
    latents = context.latents("train").double()
    return Edits(
        latents=context.latents(SPLIT)[:limit].double(),
        towards=1 - 2 * labels.double(),
        vectors=mean_differences(latents, train),
        columns=tuple((k, name) for k, name in enumerate(context.attribute_names) if name not in left_out),
        vector_images=len(latents),
        left_out=left_out,
    )


def _squares(image: Tensor, truth: Tensor) -> Tensor:
    # Half a difference in [-1, 1] is a difference in [0, 1].
    return ((image.double() - truth.double()) / 2).square()


def _spread(values: Tensor) -> float | None:
    """Return the standard deviation of a score's values over resamples that have any; None where it can't be told."""
    found = values[values.isfinite()]
    return found.std().item() if len(found) > 1 else None


def _without_room(sums: Tensor, names: Sequence[str]) -> tuple[str, ...]:
    """Return the warning about attributes that the model does not draw, if there are any."""
    pooled, undrawn = _lacks_room(sums.sum(0)), _lacks_room(sums)
    if not (pooled or undrawn.any()):
        return ()
    of = "" if pooled else f", for {', '.join(name for name, lacks in zip(names, undrawn, strict=True) if lacks)}"
    so = "the score tells nothing of edits" if pooled else "these hardly count, and have no value of their own"
    return (
        f"the true changed image's reconstruction is less than {MIN_ROOM:.0%} of the change nearer to it than that of "
        f"the unedited image{of}: {so}",
    )


def _lacks_room(errors: Tensor) -> Tensor:
    return errors[..., Part.UNEDITED] - errors[..., Part.FLOOR] < MIN_ROOM * errors[..., Part.ORIGINAL]


def _sheet(names: Sequence[str], errors: Tensor, drawn: Tensor) -> Sheet:
    """Return each attribute's mean squared errors, score where it has room for one, and errors by region in units."""
    sums, flips = errors.sum(2), errors[:, Part.ORIGINAL].gt(0).sum(1).tolist()
    units = in_units(sums)
    rows = [
        (
            *(name, flips[k], errors.shape[2] - flips[k]),
            *((sums[k, list(WHOLE)] / flips[k]).tolist()),
            *((None, None) if _lacks_room(sums[k]) else (shortfall(sums[k]).item(), _spread(shortfall(drawn[:, k])))),
            *units[k, list(REGIONAL)].tolist(),
        )
        for k, name in enumerate(names)
    ]
    columns = (
        *("attribute", "flips", "invisible_flips"),
        *(f"{part.name.lower()}_mse" for part in WHOLE),
        *("counterfactual", "counterfactual_error"),
        *(part.name.lower() for part in REGIONAL),
    )
    return Sheet(name="counterfactual", columns=columns, rows=tuple(rows))
