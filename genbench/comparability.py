"""What may be compared with what: runs become rows, and everything that a reader must know of them becomes notes.

Pure, without torch; `genbench.compare` builds the tables.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import TYPE_CHECKING, TypeVar

from genbench.digest import NOT_OF_A_ROW

if TYPE_CHECKING:
    from genbench.digest import Digest, ExecutionDigest

_SECTIONS_ALIKE = ("training.", "network.", "dataset.")
_BUDGET = "training.images"

LONGEST, LONGEST_WARNING = 60, 300
"""Characters of a value in a note, and of a score's warning; JSON and CSV have all of the former, records of both."""

MOST_VALUES = 10
"""Values that a note lists."""

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """The runs of one configuration, ordered by seed.

    Attributes:
        config: without the seed and what was evaluated.
        flat: `config` by dotted path; lists as JSON.
        settings: those that tell it from others of the same model and similarity, and the budget where any differ.
    """

    model: str
    similarity: str | None
    config: Mapping[str, object]
    flat: Mapping[str, object]
    digests: "tuple[Digest, ...]"
    settings: tuple[tuple[str, object], ...] = ()

    @property
    def label(self) -> str:
        """Return the row's name inside a sentence."""
        return label(self.model, self.similarity, self.settings)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Put items of one key together, keys and items in the order in which they come."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def without_duplicates(digests: "Sequence[Digest]") -> "tuple[list[Digest], list[str]]":
    """Keep, of the runs of one configuration and seed, the one that ended last: a rule that can't pick the better.

    Returns:
        The runs kept, and notes on the others.
    """
    kept, same, other = [], 0, 0
    for runs in grouped(digests, lambda d: (d.row_key, d.run.seed)).values():
        last = _last(runs)
        kept.append(last)
        equal = 1 if len(runs) == 1 else sum(run == last for run in runs)
        same, other = same + equal - 1, other + len(runs) - equal
    notes = [f"{same} identical {plural('copy', same)} of a run counted once"] if same else []
    if other:
        notes.append(f"{other} {plural('run', other)} left out: the same configuration and seed was run again later")
    return kept, notes


def groups_of(digests: "Sequence[Digest]") -> list[Group]:
    """Put the runs that differ in seed alone together, ordered by name and by the settings that tell them apart."""
    by_row = grouped(digests, lambda d: d.row_key)
    groups = []
    for _, members in sorted(by_row.items()):
        ordered = tuple(sorted(members, key=lambda d: d.run.seed))
        config = {key: value for key, value in ordered[0].config.items() if key not in NOT_OF_A_ROW}
        groups.append(Group(ordered[0].run.model, ordered[0].run.similarity, config, flat(config), ordered))
    return _with_settings(groups)


def _last(runs: "Sequence[Digest]") -> "Digest":
    time = max(run.finished_utc for run in runs)
    last = [run for run in runs if run.finished_utc == time]
    # Of several that ended at one time any will do, if only it is the same one in whatever order they come.
    return last[0] if all(run == last[0] for run in last) else max(last, key=repr)


def _with_settings(groups: Sequence[Group]) -> list[Group]:
    told = telling([(group.model, group.similarity) for group in groups], [group.flat for group in groups])
    named = [replace(group, settings=settings) for group, settings in zip(groups, told, strict=True)]
    return sorted(named, key=lambda g: (g.model, g.similarity or "", [sort_key(value) for _, value in g.settings]))


def telling(
    names: Sequence[tuple[str, str | None]], flats: Sequence[Mapping[str, object]]
) -> list[tuple[tuple[str, object], ...]]:
    """Return, for each row, the settings that tell it from others of its model and similarity, in short.

    Args:
        names: model and similarity of each row.
        flats: configuration of each row, by dotted path; where budgets differ, each row tells its own.
    """
    siblings = grouped(range(len(names)), lambda row: names[row])
    budget = [_BUDGET] if len({each.get(_BUDGET) for each in flats}) > 1 else []
    keys = {
        name: list(dict.fromkeys(budget + differing([flats[row] for row in alike]))) for name, alike in siblings.items()
    }
    short = _short_names({key for each in keys.values() for key in each})
    return [tuple((short[key], each.get(key)) for key in keys[name]) for name, each in zip(names, flats, strict=True)]


def differing(maps: Sequence[Mapping[str, T]]) -> list[str]:
    """Return the keys, sorted, whose values are not alike; a missing key is as None."""
    keys = sorted({key for each in maps for key in each})
    # Beside its type, since 1 and True are equal.
    return [key for key in keys if len({(type(value), value) for each in maps for value in (each.get(key),)}) > 1]


def label(model: str, similarity: str | None, settings: Iterable[tuple[str, object]]) -> str:
    """Return a row's name inside a sentence."""
    name = f"{model} · {similarity}" if similarity else model
    return " ".join([name, *(f"{key}={shown(value)}" for key, value in settings)])


def confounders(groups: Sequence[Group]) -> list[str]:
    """Say in which parts that ought to be alike the rows are not."""
    flats = [{k: v for k, v in g.flat.items() if k.startswith(_SECTIONS_ALIKE)} for g in groups]
    parts = []
    for key in differing(flats):
        values = sorted({each.get(key) for each in flats}, key=sort_key)
        parts.append(f"{short_path(key)} ({listed(values)})")
    if not parts:
        return []
    return [f"rows differ in {'; '.join(parts)}: what tells them apart is not the model and the similarity alone"]


def endings(groups: Sequence[Group]) -> list[str]:
    """List every run that did not end well, those of one row with one reason together."""
    notes = []
    for group in groups:
        bad = [digest for digest in group.digests if digest.status != "ok"]
        for (status, reason), runs in grouped(bad, lambda r: (r.status, r.reason)).items():
            seeds = f"{plural('seed', len(runs))} {', '.join(str(run.run.seed) for run in runs)}"
            notes.append(f"{group.label}, {seeds}: {status}: {reason or 'no reason given'}")
    return notes


def flags(groups: Sequence[Group]) -> list[str]:
    """Say which signs of health are bad, those of one row together."""
    notes = []
    for group in groups:
        found = [(check, run.run.seed) for run in group.digests for check in run.checks if check.flagged]
        for (name, rule, meaning), bad in grouped(found, lambda f: (f[0].name, f[0].rule, f[0].meaning)).items():
            values = sorted(check.value for check, _ in bad if check.value is not None)
            ends = [f"{value:.3g}" for value in (values[0], values[-1])] if values else ["unknown"]
            seeds = f"{plural('seed', len(bad))} {', '.join(str(seed) for _, seed in bad)}"
            notes.append(f"{group.label}, {seeds}: {name} {' to '.join(dict.fromkeys(ends))}, not {rule}: {meaning}")
    return notes


def warnings(groups: Sequence[Group], names: Container[str]) -> list[str]:
    """Say what a reader of the scores must know, once for all scores that it holds of.

    Args:
        names: of the scores that are shown.
    """
    runs = [digest for group in groups for digest in group.digests]
    alike = {(score.name, score.warnings): None for run in runs for score in run.scores if score.warnings}
    found = grouped([(text, name) for name, texts in alike if name in names for text in texts], lambda pair: pair[0])
    return [
        f"{', '.join(dict.fromkeys(name for _, name in pairs))}: {shorten(text, LONGEST_WARNING, placeholder=' …')}"
        for text, pairs in found.items()
    ]


def unscored(groups: Sequence[Group]) -> list[str]:
    """Say why scores are missing, once for each reason, and for which rows where not for all."""
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for group in groups:
        name = group.label
        for digest in group.digests:
            for verdict, items in (("skipped", digest.skipped), ("failed", digest.failures)):
                for item in items:
                    rows[item.evaluator, verdict, item.reason].append(name)
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (evaluator, verdict, reason), labels in rows.items():
        alike[verdict, reason, tuple(dict.fromkeys(labels))].append(evaluator)
    return [
        f"{', '.join(evaluators)}: {verdict}: {reason}" + ("" if len(labels) == len(groups) else f" ({listed(labels)})")
        for (verdict, reason, labels), evaluators in alike.items()
    ]


def machines(groups: Sequence[Group]) -> list[str]:
    """Return, in words, on what the runs were executed, and how."""
    executions = {id(d.execution): d.execution for group in groups for d in group.digests}.values()
    return sorted({", ".join(_execution(each)) for each in executions})


def _execution(execution: "ExecutionDigest") -> Iterable[str]:
    yield from (execution.device_name, execution.engine, execution.precision)
    if execution.device == "cpu":
        yield f"{execution.threads} {plural('thread', execution.threads)}"
    if execution.processes > 1:
        yield f"{execution.processes} processes"


def versions(groups: Sequence[Group]) -> list[str]:
    """Say where runs are of different versions of a plugin."""
    together = {id(d.plugins): d.plugins for group in groups for d in group.digests}.values()
    notes = []
    for kind in ("model", "similarity"):
        plugins = {(p.name, f"{p.distribution} {p.version}") for each in together for p in each if p.kind == kind}
        for name, found in sorted(grouped(plugins, lambda p: p[0]).items()):
            if len(found) > 1:
                notes.append(f"{kind} {name}: runs of {' and of '.join(sorted(v for _, v in found))} together")
    return notes


def shown(value: object) -> str:
    """Return a setting's value as text."""
    return "–" if value is None else str(value)


def in_short(value: object) -> str:
    """Return a setting's value as text of a line's length at most."""
    return shorten(shown(value), LONGEST, placeholder=" …")


def listed(values: Sequence[object]) -> str:
    """Return values as text, of very many the first and the last alone."""
    if len(values) <= MOST_VALUES:
        return ", ".join(map(shown, values))
    return f"{', '.join(map(shown, values[: MOST_VALUES - 1]))}, … {shown(values[-1])}: {len(values)} of them"


def sort_key(value: object) -> tuple[int, float, str]:
    """Return what puts settings in order: numbers first."""
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))


def plural(noun: str, count: int) -> str:
    """Return an English noun in the number that fits."""
    return noun if count == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def flat(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return a configuration by dotted path; lists as JSON."""
    found: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(item) if isinstance(item, list | tuple) else item
    return found


def short_path(path: str) -> str:
    """Return a dotted path as people write it: a component's settings stand beside its name."""
    return path.replace(".settings.", ".")


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """Drop `settings` and the section from dotted paths where what is left still tells them apart."""
    full = {key: short_path(key) for key in keys}
    count = Counter(name.rpartition(".")[2] for name in full.values())
    return {key: last if count[last := name.rpartition(".")[2]] == 1 else name for key, name in full.items()}
