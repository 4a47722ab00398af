"""A record as Markdown, which TensorBoard shows."""

import json
from collections.abc import Iterable, Sequence

from genbench.records import Record
from genbench.tracking import facts, named_scores


def texts(record: Record) -> dict[str, str]:
    """Return what a record says in words, by topic."""
    found = {
        "run": _table(("", ""), facts(record).items()),
        "configuration": _verbatim(json.dumps(record.config, indent=1, ensure_ascii=False, default=str)),
    }
    if record.scores:
        found["scores"] = _scores(record)
    if record.checks:
        found["checks"] = _checks(record)
    return found


def _scores(record: Record) -> str:
    rows = [
        (name, score.value, score.uncertainty, score.direction, json.dumps(score.protocol, ensure_ascii=False))
        for name, score in named_scores(record).items()
    ]
    return _table(("score", "value", "standard error", "better", "protocol"), rows)


def _checks(record: Record) -> str:
    rows = [(c.name, c.value, c.rule, "FLAGGED" if c.flagged else "", c.meaning) for c in record.checks]
    return _table(("check", "value", "rule", "", "a flag says"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    text = "–" if value is None else str(value)
    return text.replace("|", "\\|").replace("\r", " ").replace("\n", "; ")


def _verbatim(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
