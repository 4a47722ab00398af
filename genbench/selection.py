"""What of a leaderboard is asked for: which runs, which columns, in which order, against which baseline. Pure.

Names are checked against all tables: one that stands in none, or is ambiguous, is an error that says what there is.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar

from genbench.comparability import flat, grouped, listed, short_path, sort_key
from genbench.digest import NOT_OF_A_ROW
from genbench.errors import GenbenchError, did_you_mean, unknown_name

if TYPE_CHECKING:
    from genbench.cells import Column
    from genbench.digest import RunDigest
    from genbench.records import RunIdentity

BY_NAME = "name"

_ALIASES = {
    "img/s": "images_per_s",
    "time": "train_s",
    "memory": "peak_memory_bytes",
    "peak_memory": "peak_memory_bytes",
    "energy": "energy_j",
}
"""Names of costs as headings and people say them."""


class Described(Protocol):
    """As much of a run as conditions see: a digest, or a run that is only planned."""

    @property
    def run(self) -> "RunDigest | RunIdentity": ...

    @property
    def status(self) -> str: ...

    @property
    def config(self) -> Mapping[str, object]: ...


Some = TypeVar("Some", bound=Described)

_OF_RUNS: Mapping[str, Callable[[Described], object]] = {
    "model": lambda digest: digest.run.model,
    "similarity": lambda digest: digest.run.similarity,
    "dataset": lambda digest: digest.run.dataset,
    "seed": lambda digest: digest.run.seed,
    "status": lambda digest: digest.status,
}

_CONDITION = re.compile(r"\s*([^\s=!<>]+)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METRIC = re.compile(r"(.+?)(?:\^([0-9]{1,9})|([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", re.DOTALL)
_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


@dataclass(frozen=True)
class View:
    """What to show of tables.

    Attributes:
        metrics: names of scores and costs, or shell patterns, in the order in which columns shall stand; none for all.
            `fid` stands for all columns of that name, `fid^2` for the second.
        sort: the metric by which rows are sorted, or None or `name`.
        baseline: a row's label, or an unambiguous beginning of one, from which differences are shown.
    """

    metrics: tuple[str, ...] = ()
    sort: str | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Condition:
    """What runs have to fulfil to be shown; `text` is how it was written."""

    text: str
    key: str
    operator: str
    value: str
    option: str = "--where"

    @property
    def said(self) -> str:
        """Return it as it was given on the command line."""
        return f"{self.option} {self.text!r}"

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Return the values that fulfil it, or for `!=` break it."""
        parts = tuple(part.strip() for part in self.value.split(","))
        return parts if len(parts) == 1 else (self.value, *parts)


def condition(text: str, option: str = "--where") -> Condition:
    """Parse `KEY OP VALUE`, with or without spaces.

    Raises:
        GenbenchError: it is none, or one of order with a value that is no number.
    """
    found = _CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise GenbenchError(
            f"{option} {text!r}: expected KEY OP VALUE, where OP is one of = != < <= > >=",
            f"such as `{option} model=vae,vaegan` or `{option} 'training.images >= 100000'`",
        )
    key, sign, value = found.groups()
    if sign in _ORDERS and _number(value) is None:
        raise GenbenchError(f"{option} {text!r}: `{sign}` compares numbers, and `{value}` is none")
    return Condition(text.strip(), key, "=" if sign == "==" else sign, value, option)


def narrowed(digests: Sequence[Some], conditions: Sequence[Condition]) -> tuple[list[Some], list[str]]:
    """Keep the runs that fulfil all conditions.

    Returns:
        The runs, and a line for each value that no run has.

    Raises:
        GenbenchError: a key is unknown or ambiguous, or no run is left.
    """
    if not conditions or not digests:
        return list(digests), []
    flats = [flat({k: v for k, v in d.config.items() if k not in NOT_OF_A_ROW}) for d in digests]
    known = {key for each in flats for key in each}
    kept, problems = list(range(len(digests))), []
    for each in conditions:
        values = _values(each, digests, flats, known)
        problems += _unfulfilled(each, values)
        kept = [index for index in kept if _fulfils(values[index], each)]
        if not kept:
            raise _nothing_left(each, conditions, values)
    return [digests[index] for index in kept], problems


def check(view: View, tables: "Sequence[Sequence[Column]]", labels: Sequence[Sequence[str]]) -> None:
    """Raise a GenbenchError where the view names what is in no table; ambiguity is found table by table."""
    columns = [column for table in tables for column in table]
    known = list(dict.fromkeys(column.name for column in columns))
    wanted = (*view.metrics, *([] if view.sort in (None, BY_NAME) else [view.sort]))
    for name in wanted:
        if name is not None and not any(_stands_for(name, column) for column in columns):
            raise _unknown_metric(name, known)
    if view.baseline is not None:
        every = list(dict.fromkeys(label for table in labels for label in table))
        if not any(_matching(table, view.baseline) for table in labels):
            guess, rows = did_you_mean(view.baseline, every), f"rows are {_names(every)}"
            raise GenbenchError(
                f"--baseline {view.baseline}: no row of that name", f"{guess} {rows}" if guess else rows
            )


def chosen(columns: "Sequence[Column]", metrics: Sequence[str]) -> list[int]:
    """Return the columns that the metrics name, in their order, each once; all where there are no metrics."""
    if not metrics:
        return list(range(len(columns)))
    found = [i for name in metrics for i, column in enumerate(columns) if _stands_for(name, column)]
    return list(dict.fromkeys(found))


def sorting(columns: "Sequence[Column]", metric: str | None) -> int | None:
    """Return the column that rows are to be sorted by, or None.

    Raises:
        GenbenchError: several have that name.
    """
    if metric in (None, BY_NAME):
        return None
    found = [index for index, column in enumerate(columns) if _stands_for(str(metric), column)]
    if len(found) > 1:
        names = [f"{columns[i].name}^{_ordinal(columns[i])}" if columns[i].mark else columns[i].name for i in found]
        differs = ", ".join(dict.fromkeys(key for i in found for key, _ in columns[i].differs))
        why = f", which differ in {differs}" if differs else ""
        raise GenbenchError(
            f"--sort {metric}: stands for {len(found)} columns{why}", f"choose one of {', '.join(names)}"
        )
    return found[0] if found else None


def baseline_of(labels: Sequence[str], name: str | None) -> int | None:
    """Return the row that a name stands for, or None where it stands for none of this table.

    Raises:
        GenbenchError: it stands for several.
    """
    if name is None:
        return None
    found = _matching(labels, name)
    if len(found) > 1:
        raise GenbenchError(
            f"--baseline {name}: {len(found)} rows begin so", f"say more: {_names([labels[i] for i in found])}"
        )
    return found[0] if found else None


def _matching(labels: Sequence[str], name: str) -> list[int]:
    """Return the rows of that label, else those whose first words it is, else those that begin with it.

    So `vae` is `vae · mse`, where that is the only one, and not `vaegan · dis-l`.
    """
    words = _words(name)
    by = [_words(label) for label in labels]
    ways: tuple[Callable[[list[str]], bool], ...] = (
        lambda row: row == words,
        lambda row: bool(words) and row[: len(words)] == words,
        lambda row: bool(words) and " ".join(row).startswith(" ".join(words)),
    )
    return next((found for way in ways if (found := [i for i, row in enumerate(by) if way(row)])), [])


def _words(label: str) -> list[str]:
    return [word for word in label.split() if word != "·"]


def _names(labels: Sequence[str]) -> str:
    return listed([f"`{label}`" for label in labels])


def _stands_for(metric: str, column: "Column") -> bool:
    found = _METRIC.fullmatch(metric)
    name, ordinal = (found[1], found[2] or found[3]) if found else (metric, None)
    if ordinal and int(ordinal.translate(_DIGITS)) != _ordinal(column):
        return False
    return column.name == _ALIASES.get(name, name) or fnmatchcase(column.name, name)


def _ordinal(column: "Column") -> int:
    return int(column.mark.translate(_DIGITS) or 1)


def _unknown_metric(name: str, known: Sequence[str]) -> GenbenchError:
    if _ALIASES.get(name, name) in _ALIASES.values():
        return GenbenchError(f"no run here tells its {name}", f"metrics are {', '.join(known) or 'none'}")
    return unknown_name("metric", name, known)


def _values(
    condition: Condition, digests: Sequence[Described], flats: Sequence[Mapping[str, object]], known: Iterable[str]
) -> list[object]:
    """Return what each run has under the condition's key."""
    if condition.key in _OF_RUNS:
        of = _OF_RUNS[condition.key]
        return [of(digest) for digest in digests]
    path = _path(condition, known)
    return [each.get(path) for each in flats]


def _path(condition: Condition, known: Iterable[str]) -> str:
    """Return the configuration's dotted path that a key stands for."""
    by_short = {short_path(path): path for path in known}
    key = short_path(condition.key)
    if key in by_short:
        return by_short[key]
    by_last = grouped(by_short, lambda short: short.rpartition(".")[2]).get(key, [])
    if len(by_last) == 1:
        return by_short[by_last[0]]
    where = condition.said
    if by_last:
        raise GenbenchError(f"{where}: `{key}` stands for several settings", f"say one of {', '.join(sorted(by_last))}")
    names = {*_OF_RUNS, *by_short, *(short.rpartition(".")[2] for short in by_short)}
    every = ", ".join([*_OF_RUNS, *sorted(by_short)])
    raise GenbenchError(f"{where}: no run has a `{condition.key}`", did_you_mean(key, names) or f"there are {every}")


def _fulfils(value: object, condition: Condition) -> bool:
    if condition.operator in _ORDERS:
        bound = _number(condition.value)
        return bound is not None and _is_number(value) and _ORDERS[condition.operator](value, bound)
    return any(_equal(value, text) for text in condition.alternatives) == (condition.operator == "=")


def _equal(value: object, text: str) -> bool:
    if value is None or isinstance(value, bool):
        return text.lower() == str(value).lower()
    if _is_number(value):
        return _number(text) == value
    return str(value) == text


def _unfulfilled(condition: Condition, values: Sequence[object]) -> list[str]:
    """Say which of a list of values no run has, as after a slip of the pen."""
    if condition.operator in _ORDERS or any(_equal(value, condition.value) for value in values):
        return []
    missing = [text for text in condition.alternatives[1:] if not any(_equal(value, text) for value in values)]
    return [f"{condition.said}: no run has `{text}`; {_present(text, values)}" for text in missing]


def _nothing_left(condition: Condition, conditions: Sequence[Condition], values: Sequence[object]) -> GenbenchError:
    if any(_fulfils(value, condition) for value in values):
        every = " ".join(each.said for each in conditions)
        return GenbenchError(f"no run fulfils all of {every}", "leave one of them out")
    return GenbenchError(f"no run fulfils {condition.said}", _present(condition.value, values))


def _present(text: str, values: Sequence[object]) -> str:
    """Return the value that may have been meant, or all that there are."""
    found = {_shown(value): value for value in values}
    guess = did_you_mean(text, found) if _number(text) is None else None
    names = sorted(found, key=lambda name: sort_key(found[name]))
    return guess or f"there are {listed(names)}"


def _shown(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
