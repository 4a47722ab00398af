"""Sensitivities as tables of 80 columns and as a figure: how much noise costs as much as each distortion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from math import floor, log10
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from genbench.assessing import YARDSTICK
from genbench.report.drawing import literal, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from genbench.assessing import Assessment, Wish
    from genbench.bapps import Agreement
    from genbench.sensitivity import Curve, Median, Point, Sensitivity

SCHEMA = "genbench.score/1"

WIDTH = 80
"""Columns of a terminal that a table should fit on."""

PEOPLE = "people"

_UNITS = {"of the range": (100, "% of the range"), "lost": (100, "% lost"), "of the circle": (100, "% of the circle")}
"""By the unit of a strength: what it is shown times, and in."""

_NOISES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Levels of the noise that a table shows."""

_NORMAL = 1.96
"""Standard errors in half of a 95 % interval of a mean over thousands of triplets."""

_MEASURE = "noise that costs as much: its standard deviation, in % of the range of values;"

Rows = Sequence[Sequence[str]]


def details(found: "Sequence[Sensitivity]") -> list[str]:
    """Return all strengths of all distortions, a block each, with a line for each similarity."""
    curves = zip(*(sensitivity.curves for sensitivity in found), strict=True)
    another = [["another image"], *([f"  {s.name}", _noise(s.another, s)] for s in found)]
    as_noise = [*chain.from_iterable(_block(found, alike, _noise) for alike in curves), *another]
    itself = list(_block(found, [s.noise for s in found], _share))
    return [
        _MEASURE,
        "medians over images ± half of their 95 % intervals",
        "",
        *_laid_out(as_noise),
        "",
        "noise itself: its cost, in % of that of another image",
        "",
        *_laid_out(itself),
    ]


def overview(found: "Sequence[Sensitivity]") -> list[str]:
    """Return the middle strength of each distortion, with a line for each similarity."""
    middles = [_middle(curve) for curve in found[0].curves]
    names = [curve.distortion for curve in found[0].curves]
    strengths = [_strength(curve, point) for curve, point in zip(found[0].curves, middles, strict=True)]
    rows = [["", *names, "another"], ["", *strengths, "image"]]
    rows += [[s.name, *(_noise(median, s, spread=False) for median in _medians(s))] for s in found]
    relative = [m.half_width / m.value for s in found for m in _medians(s) if m.half_width is not None]
    widest = f", 95 % intervals of at most ±{100 * max(relative):.0f} % of each" if relative else ""
    return [_MEASURE, f"medians over images{widest}", "", *_laid_out(rows)]


def in_words(found: "Sequence[Sensitivity]", distortion: str = "shift") -> list[str]:
    """Say what the middle strength of a distortion costs; nothing, where these images can't suffer it."""
    told = [
        (f"{distortion} of {_strength(curve, _middle(curve))}", f"{_noise(_middle(curve).median, s)} % under {s.name}")
        for s in found
        for curve in s.curves
        if curve.distortion == distortion
    ]
    if not told:
        return []
    return wrap(f"a {told[0][0]} costs as much as noise of {' and of '.join(text for _, text in told)}", WIDTH)


def agreements(found: "Mapping[str, Agreement]", people: "Agreement") -> list[str]:
    """Return how many people agree with each similarity, set by set, and last how many do with one another."""
    shares = {name: [*own.sets.values(), own.all] for name, own in {**found, PEOPLE: people}.items()}
    rows = [["", *people.sets, "all"]]
    rows += [[name, *(f"{100 * share.value:.1f}" for share in own)] for name, own in shares.items()]
    widest = max(100 * _NORMAL * share.error for share in chain.from_iterable(shares.values()))
    return [
        "people who agree, in % (two-alternative forced choices of BAPPS);",
        f"means over triplets, 95 % intervals of at most ±{widest:.1f}",
        "",
        *_laid_out(rows),
    ]


def draw(found: "Sequence[Sensitivity]", heading: str, form: str) -> bytes:
    """Return a picture, `svg`, `pdf` or `png`: a panel for each distortion, a line for each similarity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.6), layout="constrained")
    panels = list(figure.subplots(2, 4).flat)
    figure.suptitle(literal(heading), fontsize="medium")
    _draw_noise(panels[0], found)
    alike = list(zip(*(sensitivity.curves for sensitivity in found), strict=True))
    for axes, curves in zip(panels[1:], alike, strict=False):
        _draw_distortion(axes, found, curves)
    for axes in panels[1 + len(alike) : -1]:
        axes.remove()
    _draw_another(panels[-1], found)
    for axes in (panels[1], panels[4]):
        axes.set_ylabel("noise that costs as much, %", fontsize="small")
    return written(figure, form, "leave that similarity out")


def _draw_noise(axes: "Axes", found: "Sequence[Sensitivity]") -> None:
    """Draw what noise itself costs."""
    for index, sensitivity in enumerate(found):
        points = sensitivity.noise.points
        levels, shares = ([100 * value for value in values] for values in zip(*map(_place, points), strict=True))
        axes.plot(levels, shares, markevery=3, **_style(found, index))
    axes.axhline(100, color="0.6", linewidth=0.7, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=_limits(found), ylim=(0.01, 1000))
    _finish(axes, "noise, % of the range")
    axes.set_ylabel("cost, % of that of another image", fontsize="small")


def _draw_distortion(axes: "Axes", found: "Sequence[Sensitivity]", curves: "Sequence[Curve]") -> None:
    """Draw the noise that costs as much as each strength of a distortion."""
    for index, curve in enumerate(curves):
        axes.plot([100 * point.median.value for point in curve.points], **_style(found, index))
        for place, point in enumerate(curve.points):
            axes.plot([place, place], _interval(point.median), color=_colour(found, index), linewidth=0.8)
    factor, unit = _unit(curves[0])
    axes.set(yscale="log", ylim=_limits(found))
    _finish(axes, f"{curves[0].distortion}, {unit}")
    axes.set_xticks(range(len(curves[0].points)), [f"{factor * point.strength:g}" for point in curves[0].points])


def _draw_another(axes: "Axes", found: "Sequence[Sensitivity]") -> None:
    """Draw the noise that costs as much as another image; with the names, it is the legend of all panels."""
    size = max(3.0, min(8.0, 130 / len(found)))
    for index, sensitivity in enumerate(found):
        axes.plot([100 * sensitivity.another.value], [-index], **_style(found, index))
        axes.plot(_interval(sensitivity.another), [-index, -index], color=_colour(found, index), linewidth=0.8)
        axes.text(
            0.03, -index, literal(sensitivity.name), fontsize=size, va="center", transform=axes.get_yaxis_transform()
        )
    axes.set(xscale="log", xlim=_limits(found), ylim=(0.5 - len(found), 0.5))
    _finish(axes, "another image: noise, %")
    axes.set_yticks([])


def _place(point: "Point") -> tuple[float, float]:
    return point.strength, point.median.value


def _interval(median: "Median") -> list[float]:
    """Return the ends of an interval in per cent, or the median twice where there is none."""
    ends = (median.low, median.high)
    return [100 * (median.value if end is None else end) for end in ends]


def _style(found: "Sequence[Sensitivity]", index: int) -> dict[str, Any]:
    """Return how a similarity's line looks: told from others by its marker and lightness, in grey too."""
    yardstick = found[index].name == YARDSTICK
    return {
        "color": _colour(found, index),
        "marker": "osD^vPX*"[index % 8],
        "linestyle": "--" if yardstick else "-",
        "markersize": 4,
        "linewidth": 1.2,
    }


def _colour(found: "Sequence[Sensitivity]", index: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    if found[index].name == YARDSTICK:
        return (0.0, 0.0, 0.0)
    others = [s.name for s in found if s.name != YARDSTICK]
    place = others.index(found[index].name)
    return tuple(colormaps["viridis"](0.1 + 0.75 * place / max(1, len(others) - 1))[:3])


def _limits(found: "Sequence[Sensitivity]") -> tuple[float, float]:
    low, high = _bounds(found[0])
    return 85 * low, 115 * high


def _finish(axes: "Axes", across: str) -> None:
    """Name what is drawn to the right, and show powers of ten as numbers."""
    axes.set_xlabel(literal(across), fontsize="small")
    axes.tick_params(labelsize="small")
    axes.grid(alpha=0.3, linewidth=0.5)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")


def _block(
    found: "Sequence[Sensitivity]", curves: "Sequence[Curve]", text: "Callable[[Median, Sensitivity], str]"
) -> Iterator[list[str]]:
    """Yield a line with the strengths of a distortion, and one for each similarity."""
    factor, unit = _unit(curves[0])
    strengths = [point.strength for point in curves[0].points]
    places = [i for i, strength in enumerate(strengths) if len(strengths) <= len(_NOISES) or strength in _NOISES]
    yield [f"{curves[0].distortion}, {unit}", *(f"{factor * strengths[i]:g}" for i in places)]
    for sensitivity, curve in zip(found, curves, strict=True):
        yield [f"  {sensitivity.name}", *(text(curve.points[i].median, sensitivity) for i in places)]


def _medians(sensitivity: "Sensitivity") -> "list[Median]":
    return [*(_middle(curve).median for curve in sensitivity.curves), sensitivity.another]


def _middle(curve: "Curve") -> "Point":
    return curve.points[len(curve.points) // 2]


def _strength(curve: "Curve", point: "Point") -> str:
    """Return a strength in few letters: `1 px`, `5°`, `20 %`, `50`."""
    factor, unit = _unit(curve)
    sign = {"degrees": "°", "px": " px"}.get(unit, " %" if unit.startswith("%") else "")
    return f"{factor * point.strength:g}{sign}"


def _unit(curve: "Curve") -> tuple[int, str]:
    return _UNITS.get(curve.unit, (1, curve.unit))


def _bounds(sensitivity: "Sensitivity") -> tuple[float, float]:
    """Return the noise that stands for all below, and for all above it."""
    levels = sensitivity.noise.points
    return levels[0].strength, levels[-1].strength


def _noise(median: "Median", sensitivity: "Sensitivity", *, spread: bool = True) -> str:
    """Return a noise in per cent."""
    low, high = _bounds(sensitivity)
    if not low < median.value < high:
        return f"<{100 * low:g}" if median.value <= low else f">{100 * high:g}"
    return _share(median, sensitivity, spread=spread)


def _share(median: "Median", _: "Sensitivity", *, spread: bool = True) -> str:
    """Return a share in per cent, with one digit of half of its interval, or two of it where that is not shown."""
    value, half = 100 * median.value, 100 * (median.half_width or 0.0)
    shown = spread and half > 0
    places = _places(half if shown else value / 10)
    return f"{value:.{places}f}{f' ±{half:.{places}f}' if shown else ''}"


def _places(value: float) -> int:
    """Return how many places after the point show a value's first digit, two at most."""
    return min(2, max(0, -floor(log10(value)))) if value > 0 else 0


def _laid_out(rows: Rows) -> list[str]:
    """Return rows as lines, what names them to the left and the rest to the right."""
    count = max(map(len, rows))
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(count)]
    gap = "  " if sum(widths) + 2 * (count - 1) <= WIDTH else " "
    return [
        gap.join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=False))]
        ).rstrip()
        for row in rows
    ]


def heading(done: "Assessment") -> str:
    """Return which images were distorted."""
    data = done.data
    return f"{data.name} {data.size}×{data.size}×{data.channels}, {done.images} images of the {done.split} split"


def as_plain(done: "Assessment", wish: "Wish") -> dict[str, Any]:
    """Return everything at full precision, as JSON has it, with all that can move a number."""
    from genbench.bapps import protocol as patches
    from genbench.sensitivity import protocol

    similarities = [asdict(sensitivity) for sensitivity in done.found]
    for plain in similarities:
        own = done.agreements.get(plain["name"])
        plain["people_who_agree"] = own and asdict(own)
    return {
        "schema": SCHEMA,
        "protocol": {
            "dataset": done.data.name,
            "dataset_size": done.data.size,
            "dataset_channels": done.data.channels,
            "dataset_fingerprint": done.data.fingerprint,
            "dataset_settings": dict(wish.data.settings),
            "split": done.split,
            "images": done.images,
            **protocol(),
            **({"people": patches()} if done.people else {}),
        },
        "notes": list(done.data.notes),
        "similarities": similarities,
        "people_who_agree": done.people and asdict(done.people),
        "left_out": dict(done.left_out),
        "skipped": done.skipped,
        "failed": done.failed,
        "people_not_asked": done.unasked,
    }
