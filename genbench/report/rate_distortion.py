"""Rate and distortion: how far reconstructions are against how much the latents tell, at several weights.

One point of a VAE says little: any error can be bought with nats. Curves over several weights of the KL divergence, or
of the similarity, tell which model buys more (Alemi et al. 2018, figure 1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from genbench.cells import Cell, summarise
from genbench.comparability import Group, grouped, groups_of, label, telling, without_duplicates
from genbench.errors import GenbenchError, unknown_name
from genbench.matrix import RATE
from genbench.report.drawing import NEUTRAL, for_page, literal, written
from genbench.schema import Direction

if TYPE_CHECKING:
    from genbench.digest import Digest

WEIGHTS = ("kl_weight", "similarity_weight", "gamma")
"""Settings, by the last part of their path, that one curve may run through."""


@dataclass(frozen=True)
class Point:
    """One weight: rate in nats, and the error or whatever is drawn against it."""

    rate: Cell
    distortion: Cell


@dataclass(frozen=True)
class Curve:
    """Runs that differ in weights alone, ordered by rate."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Diagram:
    """The curves of one data set.

    Attributes:
        metric: what is drawn against the rate, and `direction` which way it is better.
    """

    heading: str
    metric: str
    direction: Direction
    curves: tuple[Curve, ...]


def diagrams(digests: "Iterable[Digest]", metric: str) -> tuple[Diagram, ...]:
    """Return a diagram for each data set with runs that have both scores.

    Raises:
        GenbenchError: no run has both, or a score stands there under several protocols.
    """
    runs = [digest for digest in digests if digest.status == "ok"]
    names = list(dict.fromkeys(score.name for digest in runs for score in digest.scores))
    if metric not in names:
        raise unknown_name("metric", metric, names)
    both = [digest for digest in runs if {RATE, metric} <= {score.name for score in digest.scores}]
    if not both:
        raise GenbenchError(
            f"no run has both `{RATE}` and `{metric}`", f"genbench evaluate --evaluators rate,{metric} computes them"
        )
    by_data = grouped(both, lambda d: (d.data.name, d.data.size, d.data.channels, d.data.fingerprint))
    return tuple(_diagram(alike, metric) for _, alike in sorted(by_data.items()))


def draw(diagram: Diagram, form: str, *, compact: bool = False) -> bytes:
    """Return a diagram as a picture: `svg`, `pdf` or `png`.

    Args:
        compact: for a page: nothing behind it, inks that read on light and on dark.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for index, curve in enumerate(diagram.curves):
        axes.errorbar(
            [point.rate.mean for point in curve.points],
            [point.distortion.mean for point in curve.points],
            xerr=[point.rate.half_width or 0 for point in curve.points],
            yerr=[point.distortion.half_width or 0 for point in curve.points],
            label=literal(curve.label),
            marker="osD^vPX*"[index % 8],
            markersize=4,
            linewidth=1,
            elinewidth=0.7,
            color=f"C{index % 10}",
        )
    better = {"lower": ", lower is better", "higher": ", higher is better", "none": ""}[diagram.direction]
    axes.set_xlabel("rate: KL divergence from the prior, nats")
    axes.set_ylabel(literal(f"{diagram.metric}{better}"))
    axes.set_title(literal(diagram.heading), fontsize="medium")
    axes.grid(alpha=0.3, linewidth=0.5)
    legend = axes.legend(fontsize="small", frameon=False)
    if compact:
        axes.set_title("")
        for text in legend.get_texts():
            text.set_color(NEUTRAL)
        for_page(figure)
    return written(figure, form, "leave their runs out by --where")


def _diagram(digests: "Sequence[Digest]", metric: str) -> Diagram:
    digests = without_duplicates(digests)[0]
    groups = groups_of(digests)
    for name in (metric, RATE):
        _check_one_protocol(digests, name)
    by_curve = list(grouped(groups, _beside_weights).values())
    names = [(alike[0].model, alike[0].similarity) for alike in by_curve]
    settings = telling(names, [dict(_beside_weights(alike[0])) for alike in by_curve])
    curves = [
        _curve(alike, label(*name, told), metric) for alike, name, told in zip(by_curve, names, settings, strict=True)
    ]
    data = digests[0].data
    direction = next(s.direction for d in digests for s in d.scores if s.name == metric)
    return Diagram(
        f"{data.name} {data.size}×{data.size}×{data.channels}",
        metric,
        direction,
        tuple(sorted(curves, key=lambda curve: curve.label)),
    )


def _beside_weights(group: Group) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(((k, v) for k, v in group.flat.items() if not _is_weight(k)), key=lambda pair: pair[0]))


def _is_weight(path: str) -> bool:
    return path.rpartition(".")[2] in WEIGHTS


def _curve(groups: Sequence[Group], name: str, metric: str) -> Curve:
    points = [Point(_cell(group, RATE), _cell(group, metric)) for group in groups]
    return Curve(name, tuple(sorted(points, key=lambda point: point.rate.mean)))


def _cell(group: Group, name: str) -> Cell:
    from genbench.statistics import half_widths

    values = [score.value for digest in group.digests for score in digest.scores if score.name == name]
    cell = summarise(values)
    assert cell is not None  # noqa: S101 - for the type checker: only runs with both scores come here
    return cell if cell.std is None else replace(cell, half_width=half_widths([cell.std], [cell.n])[0])


def _check_one_protocol(digests: "Sequence[Digest]", name: str) -> None:
    found = {score.protocol_key for digest in digests for score in digest.scores if score.name == name}
    if len(found) > 1:
        raise GenbenchError(
            f"`{name}` has {len(found)} protocols among these runs, so that they do not compare",
            "`genbench compare` says in what they differ; leave some runs out by --where",
        )
