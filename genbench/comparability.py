"""What may be compared with what: records become rows, and everything that a reader must know of them becomes notes.

Pure, without torch; `genbench.compare` builds the tables.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import TypeVar

from genbench.records import Record

_SECTIONS_ALIKE = ("training.", "network.", "dataset.")
_BUDGET = "training.images"
_NOT_OF_A_ROW = ("seed", "evaluation")

LONGEST, LONGEST_WARNING = 60, 300
"""Characters of a value in a note, and of a score's warning; JSON and CSV have all of the former, records of both."""

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """The records of one configuration, ordered by seed.

    Attributes:
        config: without the seed and what was evaluated.
        flat: `config` by dotted path; lists as JSON.
        settings: those that tell it from others of the same model and similarity, and the budget where any differ.
    """

    model: str
    similarity: str | None
    config: Mapping[str, object]
    flat: Mapping[str, object]
    records: tuple[Record, ...]
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


def without_duplicates(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Keep, of the runs of one configuration and seed, the one that ended last: a rule that can't pick the better.

    Returns:
        The runs kept, and notes on the others.
    """
    kept, same, other = [], 0, 0
    for runs in grouped(records, lambda r: (_row_key(r), r.run.seed)).values():
        last = runs[0] if len(runs) == 1 else max(runs, key=lambda r: (r.finished_utc, r.model_dump_json()))
        kept.append(last)
        equal = sum(run == last for run in runs)
        same, other = same + equal - 1, other + len(runs) - equal
    notes = [f"{same} identical {plural('copy', same)} of a run counted once"] if same else []
    if other:
        notes.append(f"{other} {plural('run', other)} left out: the same configuration and seed was run again later")
    return kept, notes


def groups_of(records: Sequence[Record]) -> list[Group]:
    """Put the runs that differ in seed alone together, ordered by name and by the settings that tell them apart."""
    by_row = grouped(records, _row_key)
    groups = []
    for _, members in sorted(by_row.items()):
        ordered = tuple(sorted(members, key=lambda r: r.run.seed))
        run = ordered[0].run
        config = {key: value for key, value in ordered[0].config.items() if key not in _NOT_OF_A_ROW}
        groups.append(Group(run.model, run.similarity, config, _flat(config), ordered))
    return _with_settings(groups)


def _with_settings(groups: Sequence[Group]) -> list[Group]:
    siblings = grouped(groups, lambda g: (g.model, g.similarity or ""))
    budget = [_BUDGET] if len({group.flat.get(_BUDGET) for group in groups}) > 1 else []
    keys = {name: list(dict.fromkeys(budget + differing([g.flat for g in alike]))) for name, alike in siblings.items()}
    short = _short_names({key for each in keys.values() for key in each})
    named = [
        replace(group, settings=tuple((short[key], group.flat.get(key)) for key in keys[name]))
        for name, alike in siblings.items()
        for group in alike
    ]
    return sorted(named, key=lambda g: (g.model, g.similarity or "", [_order(value) for _, value in g.settings]))


def differing(maps: Sequence[Mapping[str, T]]) -> list[str]:
    """Return the keys, sorted, whose values are not alike; a missing key is as None."""
    keys = sorted({key for each in maps for key in each})
    return [key for key in keys if len({json.dumps(each.get(key)) for each in maps}) > 1]


def label(model: str, similarity: str | None, settings: Iterable[tuple[str, object]]) -> str:
    """Return a row's name inside a sentence."""
    name = f"{model} · {similarity}" if similarity else model
    return " ".join([name, *(f"{key}={shown(value)}" for key, value in settings)])


def confounders(groups: Sequence[Group]) -> list[str]:
    """Say in which parts that ought to be alike the rows are not."""
    flats = [{k: v for k, v in g.flat.items() if k.startswith(_SECTIONS_ALIKE)} for g in groups]
    parts = []
    for key in differing(flats):
        values = sorted({flat.get(key) for flat in flats}, key=_order)
        parts.append(f"{key.replace('.settings.', '.')} ({', '.join(map(shown, values))})")
    if not parts:
        return []
    return [f"rows differ in {'; '.join(parts)}: what tells them apart is not the model and the similarity alone"]


def endings(groups: Sequence[Group]) -> list[str]:
    """List every run that did not end well, those of one row with one reason together."""
    notes = []
    for group in groups:
        bad = [record for record in group.records if record.status != "ok"]
        for (status, reason), runs in grouped(bad, lambda r: (r.status, r.reason)).items():
            seeds = f"{plural('seed', len(runs))} {', '.join(str(run.run.seed) for run in runs)}"
            notes.append(f"{group.label}, {seeds}: {status}: {reason or 'no reason given'}")
    return notes


def flags(groups: Sequence[Group]) -> list[str]:
    """Say which signs of health are bad, those of one row together."""
    notes = []
    for group in groups:
        found = [(check, record.run.seed) for record in group.records for check in record.checks if check.flagged]
        for (name, rule, meaning), bad in grouped(found, lambda f: (f[0].name, f[0].rule, f[0].meaning)).items():
            values = sorted(check.value for check, _ in bad if check.value is not None)
            ends = [f"{value:.3g}" for value in (values[0], values[-1])] if values else ["unknown"]
            seeds = f"{plural('seed', len(bad))} {', '.join(str(seed) for _, seed in bad)}"
            notes.append(f"{group.label}, {seeds}: {name} {' to '.join(dict.fromkeys(ends))}, not {rule}: {meaning}")
    return notes


def warnings(groups: Sequence[Group]) -> list[str]:
    """Say what a reader of the scores must know, once for all scores that it holds of."""
    scores = [score for group in groups for record in group.records for score in record.scores]
    found = grouped([(text, score.name) for score in scores for text in score.warnings], lambda pair: pair[0])
    return [
        f"{', '.join(dict.fromkeys(name for _, name in pairs))}: {shorten(text, LONGEST_WARNING, placeholder=' …')}"
        for text, pairs in found.items()
    ]


def unscored(groups: Sequence[Group]) -> list[str]:
    """Say why scores are missing, once for each reason, and for which rows where not for all."""
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for group in groups:
        for record in group.records:
            for verdict, items in (("skipped", record.skipped), ("failed", record.failures)):
                for item in items:
                    rows[item.evaluator, verdict, item.reason].append(group.label)
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (evaluator, verdict, reason), labels in rows.items():
        alike[verdict, reason, tuple(dict.fromkeys(labels))].append(evaluator)
    return [
        f"{', '.join(evaluators)}: {verdict}: {reason}"
        + ("" if len(labels) == len(groups) else f" ({', '.join(labels)})")
        for (verdict, reason, labels), evaluators in alike.items()
    ]


def executions(groups: Sequence[Group]) -> list[str]:
    """Say where runs were executed differently: on other devices, or with other versions of a plugin."""
    records = [record for group in groups for record in group.records]
    machines = {f"{r.execution.device_name}, {r.execution.engine}, {r.execution.precision}" for r in records}
    notes = [f"img/s and time are not comparable: {' / '.join(sorted(machines))}"] if len(machines) > 1 else []
    for kind in ("model", "similarity"):
        plugins = {(p.name, f"{p.distribution} {p.version}") for r in records for p in r.plugins if p.kind == kind}
        for name, versions in sorted(grouped(plugins, lambda p: p[0]).items()):
            if len(versions) > 1:
                notes.append(f"{kind} {name}: runs of {' and of '.join(sorted(v for _, v in versions))} together")
    return notes


def shown(value: object) -> str:
    """Return a setting's value as text."""
    return "–" if value is None else str(value)


def in_short(value: object) -> str:
    """Return a setting's value as text of a line's length at most."""
    return shorten(shown(value), LONGEST, placeholder=" …")


def plural(noun: str, count: int) -> str:
    """Return an English noun in the number that fits."""
    return noun if count == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _row_key(record: Record) -> str:
    config = {key: value for key, value in record.config.items() if key not in _NOT_OF_A_ROW}
    return json.dumps([record.run.model, record.run.similarity or "", config], sort_keys=True)


def _flat(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(item) if isinstance(item, list | tuple) else item
    return flat


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """Drop `settings` and the section from dotted paths where what is left still tells them apart."""
    full = {key: key.replace(".settings.", ".") for key in keys}
    count = Counter(name.rpartition(".")[2] for name in full.values())
    return {key: last if count[last := name.rpartition(".")[2]] == 1 else name for key, name in full.items()}


def _order(value: object) -> tuple[int, float, str]:
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))
