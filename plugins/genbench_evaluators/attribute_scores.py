"""The scores and tables that come of one set of edits; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from genbench.evaluate.classifier import Report
from genbench.records import Scalar, Score, Sheet
from genbench_evaluators.arithmetic import Effects, Shown, flipped, outside, strongest
from genbench_evaluators.cells import cells
from genbench_evaluators.uncertainty import bootstrap

STRONGEST_PAIRS = 3

BELOW_UNEDITED = (
    "edits come out below no edit at all (`unedited` in the details): what they cost the other attributes outweighs "
    "what they gain, so read `attributes-success` and `attributes-direction` beside it"
)

COLLAPSED = 1e-5
"""Images whose features differ by less than this share of their length look the same: it is rounding."""

Details = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What edits of K of the classifier's A attributes did to N images, and all that they are held against.

    Attributes:
        names: the A attributes.
        edited: the columns of the K.
        signs: (N, A) in {-1, 1}, which attributes the images have.
        before: what is shown unedited.
        edits: what the edits did.
        floor: what as long moves in random directions did, of the first images.
        real: what is shown by as many real images.
        real_signs: which attributes these have.
        reconstructs: whether `before` shows reconstructions of the real ones.
        directions: (K, F), in which each edited attribute's logit grows in the features.
        spacing: (K,), mean distance between two images' features outside each direction.
    """

    names: tuple[str, ...]
    edited: tuple[int, ...]
    signs: Tensor
    before: Shown
    edits: Effects
    floor: Effects
    real: Shown
    real_signs: Tensor
    reconstructs: bool
    directions: Tensor
    spacing: Tensor

    @property
    def edited_names(self) -> tuple[str, ...]:
        """Return the names of the K attributes."""
        return tuple(self.names[k] for k in self.edited)

    @property
    def collapsed(self) -> bool:
        """Whether the classifier sees the same in all images unedited."""
        length: float = self.before.features.norm(dim=1).mean().item()
        spacing: float = self.spacing.mean().item()
        return spacing <= COLLAPSED * length

    def identity(self, effects: Effects) -> Tensor:
        """Return the distances of edits in units of that between two images, (N, K)."""
        return effects.distance / self.spacing


class Scores:
    """Makes scores of an outcome.

    Args:
        outcome: of the edits.
        protocol: common to all scores.
        seed: of the bootstrap.
        warnings: of the headline.
    """

    def __init__(self, outcome: Outcome, protocol: dict[str, Scalar], seed: int, warnings: tuple[str, ...]) -> None:
        self.outcome = outcome
        self.protocol = protocol
        self.seed = seed
        self.warnings = warnings

    def all(self) -> Iterator[Score]:
        """Yield the scores that the outcome allows."""
        yield self._cosine()
        yield self._success()
        yield self._direction()
        if len(self.outcome.names) > 1:
            yield self._leakage()
        if not self.outcome.collapsed:
            yield self._identity()

    def unmeasurable(self) -> list[str]:
        """Say which scores the outcome does not allow, and why."""
        reasons = []
        if len(self.outcome.names) < 2:
            reasons.append("`attributes-leakage` needs a second attribute that the classifier can tell")
        if self.outcome.collapsed:
            reasons.append("`attributes-identity` has nothing to measure by: unedited images all look the same")
        return reasons

    def _cosine(self) -> Score:
        o = self.outcome
        details = {
            "ceiling": F.cosine_similarity(o.real.signs, o.real_signs, dim=1).mean().item(),
            "reconstruction": F.cosine_similarity(o.before.signs, o.signs, dim=1).mean().item(),
            "unedited": unedited_cosine(o).mean().item(),
        }
        below = (BELOW_UNEDITED,) if o.edits.cosine.mean().item() < details["unedited"] else ()
        return self._score("attributes", o.edits.cosine, o.floor.cosine, "higher", details, self.warnings + below)

    def _success(self) -> Score:
        o = self.outcome
        columns = list(o.edited)
        right = ((o.real.signs > 0) == (o.real_signs > 0)).double()[:, columns]
        details = {"ceiling": right.mean().item(), "unedited": unedited_success(o).mean().item()}
        return self._score("attributes-success", o.edits.success, o.floor.success, "higher", details)

    def _direction(self) -> Score:
        o = self.outcome
        return self._score("attributes-direction", o.edits.direction, o.floor.direction, "higher", {})

    def _leakage(self) -> Score:
        o = self.outcome
        details = {"move": o.edits.move.mean().item(), "floor.move": o.floor.move.mean().item()}
        for row, column in strongest(o.edits.entanglement, o.edited, STRONGEST_PAIRS):
            pair = f"strongest.{o.edited_names[row]}.{o.names[column]}"
            details[pair] = o.edits.entanglement[row, column].item()
        return self._score("attributes-leakage", o.edits.leakage, o.floor.leakage, "lower", details)

    def _identity(self) -> Score:
        o = self.outcome
        details: Details = {}
        if o.reconstructs:
            lost = [outside(o.before.features - o.real.features, direction) for direction in o.directions]
            distances = torch.stack([difference.norm(dim=1) for difference in lost], 1)
            details["reconstruction"] = (distances / o.spacing).mean().item()
        return self._score("attributes-identity", o.identity(o.edits), o.identity(o.floor), "lower", details)

    def _score(
        self,
        name: str,
        values: Tensor,
        floor: Tensor,
        direction: Literal["higher", "lower"],
        details: Details,
        warnings: tuple[str, ...] = (),
    ) -> Score:
        """Return the mean of values (N, K), how sure it is over images, and each attribute's own mean."""
        estimate = bootstrap(values.mean(1), self.seed)
        sure = {} if estimate is None else {"ci95.low": estimate.low, "ci95.high": estimate.high}
        known = details | {"floor": floor.mean().item(), "floor.images": float(len(floor))} | sure
        return Score(
            name=name,
            value=values.mean().item(),
            uncertainty=None if estimate is None else estimate.error,
            direction=direction,
            protocol=self.protocol,
            details=by_attribute(self.outcome.edited_names, values.mean(0).tolist(), known) | known,
            warnings=warnings,
        )


def by_attribute(names: Sequence[str], values: Sequence[float], taken: Mapping[str, float]) -> Details:
    """Name each attribute's value by it; one whose name is taken gets another."""
    return {f"{name} (attribute)" if name in taken else name: value for name, value in zip(names, values, strict=True)}


def unedited_cosine(outcome: Outcome) -> Tensor:
    """Return the cosines, (N, K), between what is shown unedited and what the edits aim at."""
    shown = outcome.before.signs
    return torch.stack([F.cosine_similarity(shown, flipped(outcome.signs, k), dim=1) for k in outcome.edited], 1)


def unedited_success(outcome: Outcome) -> Tensor:
    """Return 1 where an attribute is shown as an edit aims at though nothing was edited, else 0, (N, K)."""
    columns = list(outcome.edited)
    return (outcome.before.signs[:, columns] * outcome.signs[:, columns] < 0).double()


def entanglement_sheet(outcome: Outcome) -> Sheet:
    """Return how far each attribute moves (columns) when each is edited (rows)."""
    rows = zip(outcome.edited_names, outcome.edits.entanglement.tolist(), strict=True)
    return Sheet(
        name="attributes-entanglement",
        columns=("edited", *outcome.names),
        rows=tuple((name, *moves) for name, moves in rows),
    )


def attribute_sheet(outcome: Outcome) -> Sheet:
    """Return each attribute's own scores, each with its floor."""
    columns: dict[str, Tensor] = {
        "unedited-cosine": unedited_cosine(outcome),
        "unedited-success": unedited_success(outcome),
    }
    for suffix, effects in (("", outcome.edits), ("-floor", outcome.floor)):
        columns |= {f"{name}{suffix}": values for name, values in statistics(effects, outcome.spacing).items()}
    means = torch.stack([values.mean(0) for values in columns.values()], 1)
    return Sheet(
        name="attributes-each",
        columns=("attribute", *columns),
        rows=tuple((name, *cells(row)) for name, row in zip(outcome.edited_names, means, strict=True)),
    )


def strength_sheet(measured: Mapping[float, Effects], spacing: Tensor) -> Sheet:
    """Return the scores at each strength."""
    rows = []
    for strength, effects in measured.items():
        means = torch.stack([values.mean() for values in statistics(effects, spacing).values()])
        rows.append((strength, len(effects.cosine), *cells(means)))
    return Sheet(name="attributes-strength", columns=("strength", "images", *STATISTICS), rows=tuple(rows))


def classifier_sheet(report: Report) -> Sheet:
    """Return how well the classifier knows each attribute, and why it does not tell some."""
    measured = (
        report.prevalence,
        report.bounds,
        report.test_accuracy,
        report.test_balanced_accuracy,
        report.test_calibration_error_before,
        report.test_calibration_error,
    )
    told = [(name, *values, "") for name, *values in zip(report.names, *measured, strict=True)]
    left_out = [(name, *([None] * len(measured)), reason) for name, reason in report.excluded.items()]
    columns = (
        "attribute",
        "prevalence",
        f"{report.judged_on}-balanced-accuracy-bound",
        *("accuracy", "balanced-accuracy", "calibration-error-before", "calibration-error"),
        "excluded",
    )
    return Sheet(name="attributes-classifier", columns=columns, rows=(*told, *left_out))


STATISTICS = ("cosine", "success", "direction", "move", "leakage", "identity")


def statistics(effects: Effects, spacing: Tensor) -> dict[str, Tensor]:
    """Return what is tabulated of edits by name, each (N, K)."""
    values = (effects.cosine, effects.success, effects.direction, effects.move, effects.leakage)
    return dict(zip(STATISTICS, (*values, effects.distance / spacing), strict=True))
