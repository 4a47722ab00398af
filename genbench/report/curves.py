"""Training curves: what runs logged against images seen, a panel for each quantity. Imports no torch.

A row of a curve is the mean over the steps since the row before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from genbench.comparability import flat, grouped, label, plural, telling
from genbench.digest import NOT_OF_A_ROW
from genbench.errors import GenbenchError
from genbench.report.drawing import NEUTRAL, PAGE_WIDTH, for_page, literal, written
from genbench.rows import as_csv
from genbench.store import RunFolder, read_config
from genbench.tables import clean
from genbench.train.curve import read_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KNOWN = {
    "kl": "prior: KL, nats an image",
    "like": "similarity, weighted, nats an image",
    "gan.real": "discriminator's cost on real images, nats",
    "gan.fake": "discriminator's cost on generated images, nats",
}
_MOVED, _NORM = "moved.", "gradient."
_DECADES = 100
"""Ratio of the greatest to the least value, all positive, from which an axis is logarithmic."""
_SMOOTH, _FEWEST = 50, 3
"""A running mean is over one in so many rows, where these are at least so many."""
Style = Literal["-", "--", ":", "-."]
Looks = Mapping[str, tuple[str, Style]]
"""Colour and style of each label's lines."""
_STYLES: tuple[Style, ...] = ("-", "--", ":", "-.")
_SETTINGS = ("equilibrium", "margin")
_LONGEST = 60
"""Characters of a panel's title, which would else run over its neighbours."""


@dataclass(frozen=True)
class RunCurve:
    """The curve of one run.

    Attributes:
        label: model and similarity, with what tells it from others; runs that differ in seed alone share it, and so
            their colour.
        rows: as `read_curve` returns them: finite numbers, each row with `images_seen`.
        gate: equilibrium and margin, in nats, of the gate between decoder and discriminator; None without one.
    """

    label: str
    seed: int
    rows: tuple[Mapping[str, float], ...]
    gate: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """One quantity of one run, over the rows that have it.

    Attributes:
        smooth: the running mean of `values`, centred; none where there are too few.
    """

    curve: RunCurve
    images: tuple[float, ...]
    values: tuple[float, ...]
    smooth: tuple[float, ...] = ()


def gate_of(config: Mapping[str, object]) -> tuple[float, float] | None:
    """Return equilibrium and margin of a run's gate, from its configuration; None where it has none, or it is open."""
    settings = _table(config.get("model")).get("settings")
    found = [value for name in _SETTINGS if isinstance(value := _table(settings).get(name), int | float)]
    return (found[0], found[1]) if len(found) == len(_SETTINGS) and found[1] > 0 else None


def read_curves(folders: Sequence[RunFolder]) -> tuple[RunCurve, ...]:
    """Return the curves of runs, ended or not, labelled by what tells them apart; of some there may be no rows yet.

    Raises:
        GenbenchError: a folder does not tell whose curve it holds.
    """
    configs = [_config(folder) for folder in folders]
    datasets = [_name(config, "dataset") for config in configs]
    several = len(set(datasets)) > 1
    names = [
        (
            f"{data}: {_name(config, 'model')}" if several else _name(config, "model"),
            _name(config, "similarity") or None,
        )
        for data, config in zip(datasets, configs, strict=True)
    ]
    told = telling(names, [flat({k: v for k, v in c.items() if k not in NOT_OF_A_ROW}) for c in configs])
    return tuple(
        RunCurve(label(*name, settings), int(str(config["seed"])), read_curve(folder), gate_of(config))
        for folder, config, name, settings in zip(folders, configs, names, told, strict=True)
    )


def draw_curves(curves: Sequence[RunCurve], form: str, *, compact: bool = False) -> bytes:
    """Return a picture, `svg`, `pdf` or `png`, with a panel for each quantity and a line for each run.

    Args:
        compact: for a page of about 640 px: nothing behind it, inks that read on light and on dark.

    Raises:
        GenbenchError: there is nothing to draw, or the numbers are too large to be drawn.
    """
    from matplotlib.figure import Figure

    panels = series_by_quantity(curves)
    if not panels:
        raise GenbenchError("nothing was logged yet", "training logs a row every 50 steps, and at its end")
    looks = _looks(curves)
    columns = min(2 if compact else 3, len(panels))
    rows = -(-len(panels) // columns)
    entries = len(looks) + len({curve.gate for curve in curves} - {None})
    width, height = (PAGE_WIDTH / 2, 1.75) if compact else (4.2, 2.7)
    legend_columns = min(entries, columns)
    key = 0.25 * -(-entries // legend_columns)
    figure = Figure(figsize=(width * max(columns, 2), height * rows + key + 0.2), layout="constrained")
    last = max(row["images_seen"] for curve in curves for row in curve.rows)
    for place, (quantity, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_xlim(0, 1.03 * last or 1)
        _panel(axes, quantity, lines, looks)
        if place + columns >= len(panels):
            axes.set_xlabel("training images seen", fontsize="small")
    _key(figure, curves, looks, legend_columns)
    if compact:
        for_page(figure)
    return written(figure, form, "leave the run out whose numbers they are")


def curves_csv(curves: Sequence[RunCurve]) -> str:
    """Return a line for each value that is drawn, at full precision, beside its running mean where there is one."""
    rows: list[tuple[object, ...]] = []
    for quantity, lines in series_by_quantity(curves).items():
        for line in lines:
            smooth = line.smooth or [""] * len(line.values)
            start = (clean(line.curve.label), line.curve.seed, clean(quantity))
            rows += ((*start, *values) for values in zip(line.images, line.values, smooth, strict=True))
    return as_csv(("run", "seed", "quantity", "images_seen", "value", "running_mean"), rows)


def series_by_quantity(curves: Sequence[RunCurve]) -> dict[str, list[Series]]:
    """Return what is drawn, in the order of the panels.

    Whether a network moved is left out where every network of all runs always did.
    """
    names = dict.fromkeys(name for curve in curves for row in curve.rows for name in row if name != "images_seen")
    found = {name: [line for curve in curves if (line := _series(curve, name)).values] for name in names}
    told = {
        name: lines
        for name, lines in found.items()
        if not name.startswith(_MOVED) or any(value < 1 for line in lines for value in line.values)
    }
    return {name: told[name] for name in sorted(told, key=_order)}


def _order(quantity: str) -> tuple[int, int]:
    """Return what sorts panels: those that are known, gates, what else a model logs, gradients."""
    if quantity in _KNOWN:
        return 0, list(_KNOWN).index(quantity)
    return (1 if quantity.startswith(_MOVED) else 3 if quantity.startswith(_NORM) else 2), 0


def _series(curve: RunCurve, quantity: str) -> Series:
    rows = [row for row in curve.rows if quantity in row]
    images, values = (tuple(row[name] for row in rows) for name in ("images_seen", quantity))
    return Series(curve, images, values, _running_mean(values, len(values) // _SMOOTH))


def _running_mean(values: Sequence[float], window: int) -> tuple[float, ...]:
    """Return the mean of about so many values around each, of fewer at the ends; nothing for too small a window."""
    if window < _FEWEST:
        return ()
    sums = list(accumulate(values, initial=0.0))
    ends = [(max(0, i - window // 2), min(len(values), i + window // 2 + 1)) for i in range(len(values))]
    return tuple((sums[end] - sums[start]) / (end - start) for start, end in ends)


def _panel(axes: "Axes", quantity: str, lines: Sequence[Series], looks: Looks) -> None:
    from matplotlib.ticker import EngFormatter

    thin = len(lines) > len({line.curve.label for line in lines})
    for line in lines:
        colour, style = looks[line.curve.label]
        width, dot = (0.8 if thin else 1.2), ("o" if len(line.values) == 1 else "")
        raw = axes.plot(line.images, line.values, color=colour, linestyle=style, marker=dot, markersize=3)[0]
        raw.set(linewidth=width)
        if line.smooth:
            raw.set(linewidth=0.6, alpha=0.25)
            axes.plot(line.images, line.smooth, color=colour, linestyle=style, linewidth=width)
    values = [value for line in lines for value in line.values]
    if min(values) > 0 and max(values) / min(values) >= _DECADES:
        axes.set_yscale("log")
    if quantity in ("gan.real", "gan.fake"):
        _gates(axes, lines)
    if quantity.startswith(_MOVED):
        axes.set_ylim(-0.03, 1.03)
    axes.set_title(literal(_in_short(_title(quantity))), fontsize=8)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3, linewidth=0.5)


def _gates(axes: "Axes", lines: Sequence[Series]) -> None:
    """Draw the equilibria, and where there is but one, the band in which both networks move."""
    found = {line.curve.gate for line in lines} - {None}
    for gate in found:
        if gate is not None:
            axes.axhline(gate[0], color=NEUTRAL, linestyle="--", linewidth=0.8)
            if len(found) == 1:
                axes.axhspan(gate[0] - gate[1], gate[0] + gate[1], color=NEUTRAL, alpha=0.12, linewidth=0)


def _title(quantity: str) -> str:
    if quantity.startswith(_MOVED):
        return f"{quantity.removeprefix(_MOVED)} moved, share of steps"
    if quantity.startswith(_NORM):
        return f"gradient of {quantity.removeprefix(_NORM)}, norm"
    return _KNOWN.get(quantity, quantity)


def _in_short(title: str) -> str:
    return title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"


def _looks(curves: Sequence[RunCurve]) -> Looks:
    labels = dict.fromkeys(curve.label for curve in curves)
    return {name: (f"C{i % 10}", _STYLES[i // 10 % len(_STYLES)]) for i, name in enumerate(labels)}


def _key(figure: "Figure", curves: Sequence[RunCurve], looks: Looks, columns: int) -> None:
    from matplotlib.lines import Line2D

    entries = []
    for name, alike in grouped(curves, lambda curve: curve.label).items():
        seeds = sorted({curve.seed for curve in alike})
        told = f"{plural('seed', len(seeds))} {', '.join(map(str, seeds))}"
        colour, style = looks[name]
        entries.append(Line2D([], [], color=colour, linestyle=style, label=literal(f"{name}, {told}")))
    for gate in dict.fromkeys(curve.gate for curve in curves):
        if gate is not None:
            words = f"the gate's equilibrium {gate[0]:g} ± {gate[1]:g}"
            entries.append(Line2D([], [], color=NEUTRAL, linestyle="--", linewidth=0.8, label=words))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)


def _config(folder: RunFolder) -> Mapping[str, object]:
    """Return a run's configuration, which says at least what was run and with which seed."""
    config = read_config(folder)
    if not _name(config, "model") or not isinstance(config.get("seed"), int):
        raise GenbenchError(f"{folder.config_path}: says no model or no seed", "name a run's folder, as it was written")
    return config


def _name(config: Mapping[str, object], part: str) -> str:
    return str(_table(config.get(part)).get("name", ""))


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
