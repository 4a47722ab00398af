"""What an encoder makes of each latent unit: the aggregate posterior against the prior, and the nats that it costs.

A unit's KL(q(z|x) ‖ N(0, 1)) is that of its Gaussian posterior, in closed form, averaged over images. Its histogram is
of draws z ~ q(z|x), for all images together: the aggregate posterior, which the prior is to cover. Means alone would
not do: those of a unit that tells nothing all lie at 0, though the unit follows N(0, 1) exactly. Imports no torch.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genbench.comparability import plural
from genbench.errors import GenbenchError
from genbench.report.drawing import NEUTRAL, PAGE_WIDTH, for_page, literal, written
from genbench.rows import as_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genbench.interfaces import Posterior

Floats = npt.NDArray[np.float64]

ACTIVE = 0.01
"""A unit is active where the variance of its posterior mean over images is greater (Burda et al. 2016, section 5.2)."""

FEWEST_DRAWS = 10_000
"""Of a histogram; each image is drawn from equally often."""
BINS = 40
NEAREST, FURTHEST, REACH = 4, 8, 0.999
"""Histograms show z in ±NEAREST, or as far as REACH of every unit's draws lie, up to ±FURTHEST; a panel says where more
lies beyond."""
TALLEST = 1.2
"""Density that they show at most: three times the peak of N(0, 1)."""
COLUMNS, COMPACT_COLUMNS = 8, 4
_HINT = "did its training diverge?"


@dataclass(frozen=True)
class Unit:
    """One latent unit over the images of a split.

    Attributes:
        number: its place in z, from 0.
        mean: of z ~ q(z|x), all images together, and `std` its deviation; both in closed form.
        kl: mean over images of KL(q(z|x) ‖ N(0, 1)), in nats.
        variance_of_means: Var_x(E[z|x]).
        draws: z ~ q(z|x), equally many of each image; none where nobody asked for them.
    """

    number: int
    mean: float
    std: float
    kl: float
    variance_of_means: float
    draws: Floats

    @property
    def active(self) -> bool:
        """Whether it tells images apart."""
        return self.variance_of_means > ACTIVE


@dataclass(frozen=True)
class LatentFacts:
    """All latent units of one model.

    Attributes:
        heading: which run, and on which images.
        images: how many.
        units: the greatest KL first; the first of them have draws.
    """

    heading: str
    images: int
    units: tuple[Unit, ...]

    @property
    def active(self) -> int:
        """Return how many units are active."""
        return sum(unit.active for unit in self.units)

    @property
    def kl(self) -> float:
        """Return the mean KL of an image in nats, over all units."""
        return sum(unit.kl for unit in self.units)


def latent_facts(heading: str, posterior: "Posterior", seed: int, shown: int) -> LatentFacts:
    """Return what a posterior (N, latent_size) of images tells of its units.

    Args:
        heading: which run, and on which images.
        posterior: on the CPU, N at least 1.
        seed: of the draws; a unit's are the same however many are shown.
        shown: units, of those of greatest KL, that get draws for a histogram.

    Raises:
        GenbenchError: it is not finite.
    """
    means, log_variances = (part.double().numpy() for part in posterior)
    with np.errstate(over="ignore"):
        variances: Floats = np.exp(log_variances)
        nats = 0.5 * (np.square(means) + variances - 1 - log_variances).mean(0)
    if not np.isfinite(nats).all():
        raise GenbenchError("the encoder gives posteriors that are not finite", _HINT)
    spread = means.var(0)
    std = np.sqrt(spread + variances.mean(0))  # law of total variance
    units = [
        Unit(
            int(number),
            float(means[:, number].mean()),
            float(std[number]),
            float(nats[number]),
            float(spread[number]),
            _draws(means[:, number], variances[:, number], seed, int(number)) if rank < shown else np.empty(0),
        )
        for rank, number in enumerate(np.argsort(-nats, kind="stable"))
    ]
    return LatentFacts(heading, len(means), tuple(units))


def draw_latents(facts: LatentFacts, form: str, *, compact: bool = False) -> bytes:
    """Return a picture, `svg`, `pdf` or `png`: the KL of all units, and histograms of those with draws.

    Args:
        compact: for a page of about 640 px: no heading, nothing behind it, inks that read on light and on dark.

    Raises:
        GenbenchError: the numbers are too large to be drawn.
    """
    from matplotlib.figure import Figure

    shown = [unit for unit in facts.units if len(unit.draws)]
    columns = COMPACT_COLUMNS if compact else COLUMNS
    rows = -(-len(shown) // columns)
    width, bars, row = (PAGE_WIDTH, 1.5, 0.95) if compact else (12.0, 2.0, 1.15)
    figure = Figure(figsize=(width, bars + rows * row + 0.6), layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[bars, *[row] * rows])
    first = figure.add_subplot(grid[0, :])
    _bars(first, facts)
    if not compact:
        first.set_title(literal(facts.heading), fontsize="medium")
    limit, top = _limits(shown)
    for place, unit in enumerate(shown):
        line, column = divmod(place, columns)
        axes = figure.add_subplot(grid[1 + line, column])
        _histogram(axes, unit, limit, top)
        axes.tick_params(labelleft=column == 0, labelbottom=place + columns >= len(shown), labelsize=7, length=2)
    _key(figure, facts)
    if compact:
        for_page(figure)
    return written(figure, form, _HINT)


def latents_csv(facts: LatentFacts) -> str:
    """Return a line for each unit, the greatest KL first, at full precision."""
    columns = ("unit", "mean", "std", "kl", "variance_of_means", "active")
    return as_csv(
        columns,
        (
            (unit.number, unit.mean, unit.std, unit.kl, unit.variance_of_means, str(unit.active).lower())
            for unit in facts.units
        ),
    )


def _draws(means: Floats, variances: Floats, seed: int, unit: int) -> Floats:
    """Return draws from the posteriors of one unit, equally many of each image."""
    noise = np.random.default_rng((seed, unit)).standard_normal((-(-FEWEST_DRAWS // len(means)), len(means)))
    return (means + np.sqrt(variances) * noise).ravel()


def _limits(shown: list[Unit]) -> tuple[float, float]:
    """Return how far from 0, and how high, the histograms go: the same for all."""
    reach = max(float(np.quantile(np.abs(unit.draws), REACH)) for unit in shown)
    limit = float(min(max(math.ceil(reach), NEAREST), FURTHEST))
    peak = max(_density(unit, limit).max() for unit in shown)
    return limit, 1.1 * min(max(peak, 0.4), TALLEST)


def _density(unit: Unit, limit: float) -> Floats:
    """Return the share of all draws, those beyond the limit included, in each bin, over its width."""
    counts = np.histogram(unit.draws, BINS, (-limit, limit))[0]
    return counts / (len(unit.draws) * 2 * limit / BINS)


def _bars(axes: "Axes", facts: LatentFacts) -> None:
    from matplotlib.ticker import MaxNLocator

    nats, active = np.array([u.kl for u in facts.units]), np.array([u.active for u in facts.units])
    edges = np.arange(len(nats) + 1)
    for chosen, colour, name in ((active, "C0", "active"), (~active, NEUTRAL, "inactive")):
        if chosen.any():
            axes.stairs(np.where(chosen, nats, 0), edges, fill=True, color=colour, label=name)
    count = len(facts.units)
    axes.text(
        0.99,
        0.92,
        f"{facts.kl:.4g} nats an image; {facts.active} of {count} {plural('unit', count)} active",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize="small",
        color=NEUTRAL,
    )
    axes.set_xlim(0, count)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("latent units, the greatest KL first", fontsize="small")
    axes.set_ylabel("KL, nats", fontsize="small")
    axes.tick_params(labelsize=7)
    axes.margins(y=0.05)


def _histogram(axes: "Axes", unit: Unit, limit: float, top: float) -> None:
    colour = "C0" if unit.active else NEUTRAL
    axes.stairs(_density(unit, limit), np.linspace(-limit, limit, BINS + 1), fill=True, color=colour, alpha=0.6)
    z = np.linspace(-limit, limit, 61)
    axes.plot(z, np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi), color="C1", linewidth=1)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(0, top)
    axes.set_xticks((-3, 0, 3) if limit < FURTHEST else (-6, 0, 6))
    axes.set_title(f"unit {unit.number}: {unit.kl:.3g} nats", fontsize=7, pad=2)
    beyond = float((np.abs(unit.draws) > limit).mean())
    if beyond > 1 - REACH:
        axes.text(
            0.03, 0.95, f"{100 * beyond:.2g} % beyond", transform=axes.transAxes, va="top", fontsize=6, color=NEUTRAL
        )


def _key(figure: "Figure", facts: LatentFacts) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    images = f"{facts.images} {plural('image', facts.images)}"
    inactive = len(facts.units) - facts.active
    entries = [
        *([Patch(color="C0", alpha=0.6, label=f"z ~ q(z|x) of {images}, active unit")] if facts.active else []),
        *([Patch(color=NEUTRAL, alpha=0.6, label="inactive: variance of means ≤ 0.01")] if inactive else []),
        Line2D([], [], color="C1", label="the prior, N(0, 1)"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=7, frameon=False)
