"""Health of a training that is over, read off the last tenth of its curve: discriminator and gates."""

from collections.abc import Iterator, Mapping, Sequence
from math import log

from genbench.evaluate.context import EvaluationContext
from genbench.records import Check
from genbench_evaluators.health_rules import Rule

LAST = 0.1
"""Part of the images, at the end of the curve, that a mean is taken over: late enough to tell how it ended, long enough
to average over batches. Where a network plays in one part of training only, the end of that part."""

WON = 0.1
"""Nats over the least possible cost under which a discriminator has won: it is sure of 9 images in 10 (e^-0.1), and
what it passes to the decoder vanishes (Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017, theorem 2.4)."""

ADVANTAGE = Rule(
    low=0.02,
    under="The discriminator can't tell generated images from real ones: it has learned nothing, or they are perfect.",
)
"""Nats by which a discriminator's costs are lower than those of one that answers the same for all images. With hard
labels half of it bounds the Jensen-Shannon divergence of generated from real images from below (Goodfellow et al. 2014,
theorem 1): under 0.01 of the log 2 ≈ 0.69 that it can reach."""

GATE_SKIPS = Rule(high=0.9, over="The network moved in less than one step of ten: the gate held it.")
"""Share of steps that a gate held a network. Measured (docs/models.md, the GAN's gate): a discriminator that moved in
one step of twenty left its GAN collapsed to one pattern, and those that moved in half of them didn't."""

Curve = Sequence[Mapping[str, float]]


def training_checks(context: EvaluationContext) -> Iterator[Check]:
    """Yield what the curve tells; nothing, where there is none, or no adversarial part."""
    settings = context.config.model.settings
    labels = float(settings.get("real_label", 1.0)), float(settings.get("fake_label", 0.0))
    yield from discriminator_checks(context.curve, *labels)
    for name in sorted({key for row in context.curve for key in row if key.startswith("moved.")}):
        moved = late_mean(context.curve, name)
        if moved is not None:
            yield GATE_SKIPS.check(f"gate-skips-{name.removeprefix('moved.')}", 1 - moved)


def discriminator_checks(curve: Curve, real_label: float, fake_label: float) -> Iterator[Check]:
    """Yield checks of the costs `gan.real` and `gan.fake`, cross-entropies with these labels in nats."""
    costs = late_mean(curve, "gan.real"), late_mean(curve, "gan.fake")
    for kind, cost, label in zip(("real", "fake"), costs, (real_label, fake_label), strict=True):
        if cost is not None:
            least = entropy(label) + WON
            won = f"The discriminator has won on {kind} images: the decoder gets next to no gradient from it."
            yield Rule(low=least, under=won).check(f"discriminator-{kind}", cost)
    real, fake = costs
    if real is not None and fake is not None:
        constant = 2 * entropy((real_label + fake_label) / 2)
        yield ADVANTAGE.check("discriminator-advantage", constant - real - fake)


def late_mean(curve: Curve, name: str) -> float | None:
    """Return the mean of a column over the last tenth of the images, among the rows that have it, or None without any.

    Each row counts by how many images it stands for, and its images by how many lie in that tenth.
    """
    starts = [0.0, *(row["images_seen"] for row in curve)]
    parts = [(start, row["images_seen"], row[name]) for start, row in zip(starts, curve, strict=False) if name in row]
    if not parts:
        return None
    first = parts[-1][1] - LAST * (parts[-1][1] - parts[0][0])
    weights = [(max(0.0, end - max(start, first)), value) for start, end, value in parts]
    total = sum(weight for weight, _ in weights)
    return sum(weight * value for weight, value in weights) / total if total else None


def entropy(probability: float) -> float:
    """Return the entropy of a coin in nats: the least cross-entropy with a label."""
    return -sum(p * log(p) for p in (probability, 1 - probability) if p > 0)
