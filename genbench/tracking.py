"""What an experiment tracker logs of a run, as plain names, numbers and texts. Imports no torch."""

import json
import math
from collections import Counter
from hashlib import sha256
from pathlib import Path

from genbench.comparability import flat
from genbench.records import Record, Score
from genbench.store import RunFolder, run_folder
from genbench.train.curve import read_curve


def run_title(record: Record) -> str:
    """Return `dataset/model-similarity/s<seed>-<hash>`: the run's place in any store, with slashes on every system."""
    run = record.run
    return run_folder(Path(), run.dataset, run.model, run.similarity, run.seed, record.config_hash).path.as_posix()


def settings(record: Record) -> dict[str, str | float | bool]:
    """Return the configuration with dotted keys as in `config.toml`.

    What to score is left out, since it grows with every `genbench evaluate`; each score's protocol tells it. None is
    the text `none`, and a list is JSON.
    """
    kept = {key: value for key, value in record.config.items() if key != "evaluation"}
    return {path: _plain(value) for path, value in flat(kept).items()}


def numbers(record: Record) -> dict[str, float]:
    """Return every number of a record, named `scores/…`, `uncertainty/…`, `checks/…`, `cost/…` or `parameters/…`.

    Uncertainties are standard errors over images, of the score of the same name.
    """
    scores = named_scores(record)
    found: dict[str, float | None] = {f"scores/{name}": score.value for name, score in scores.items()}
    found |= {f"uncertainty/{name}": score.uncertainty for name, score in scores.items()}
    found |= {f"checks/{check.name}": check.value for check in record.checks}
    found |= {f"cost/{name}": value for name, value in record.cost.model_dump().items()}
    found |= {f"parameters/{name}": count for name, count in record.parameters.items()}
    found["similarity_weight"] = record.similarity_weight
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def facts(record: Record) -> dict[str, str]:
    """Return what a record says in words, one text for each topic; topics without anything to say are left out."""
    execution = record.execution
    found = {
        "status": record.status,
        "reason": record.reason or "",
        "flags": "\n".join(check.flag for check in record.checks if check.flagged),
        "warnings": "\n".join(f"{name}: {text}" for name, s in named_scores(record).items() for text in s.warnings),
        "skipped": "\n".join(f"{item.evaluator}: {item.reason}" for item in record.skipped),
        "failures": "\n".join(f"{item.evaluator}: {item.reason}" for item in record.failures),
        "notes": "\n".join((*record.data.notes, *record.notes)),
        "plugins": "\n".join(f"{p.kind} {p.name}: {p.distribution} {p.version}" for p in record.plugins),
        "executed": f"{execution.device_name}, {execution.engine}, {execution.precision}",
        "config_hash": record.config_hash,
        "data_fingerprint": record.data.fingerprint,
        "weights_sha256": record.weights_sha256 or "",
        "git_commit": execution.git_commit or "",
        "images_seen": f"{record.images_seen} of {record.images_asked}",
        "started_utc": record.started_utc,
        "finished_utc": record.finished_utc,
    }
    return {topic: text for topic, text in found.items() if text}


def named_scores(record: Record) -> dict[str, Score]:
    """Return the scores by names of their own.

    Where one name stands for several protocols, each gets the part of its protocol that tells it from the others:
    `fd-attributes sampler=gmm`. The order of scores moves no name.
    """
    count = Counter(score.name for score in record.scores)
    named: dict[str, Score] = {}
    for score in record.scores:
        alike = [other for other in record.scores if other.name == score.name]
        suffix = f" {_distinction(score, alike)}" if count[score.name] > 1 else ""
        named[score.name + suffix] = score
    return named


def curve(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return a run's training curve as (images seen, means), or nothing where its folder has none.

    Only finite numbers are there; a row may lack any column, and one that a kill cut in half is left out.
    """
    return [(int(row.pop("images_seen")), row) for row in read_curve(RunFolder(folder))]


def pictures(folder: Path) -> list[Path]:
    """Return the PNG files among a run's pictures, by name; links are not followed."""
    found = RunFolder(folder).images_path.glob("*.png")
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _plain(value: object) -> str | float | bool:
    if value is None:
        return "none"
    if isinstance(value, str | bool):
        return value
    return value if isinstance(value, int | float) and abs(value) < math.inf else str(value)


def _distinction(score: Score, alike: list[Score]) -> str:
    """Return the shortest `key=value` that all protocols have and whose values all differ, or the protocol's hash."""
    texts = {
        key: {str(other.protocol[key]) for other in alike}
        for key in score.protocol
        if all(key in other.protocol for other in alike)
    }
    telling = [(sum(map(len, values)), key) for key, values in texts.items() if len(values) == len(alike)]
    if telling:
        _, key = min(telling)
        return f"{key}={score.protocol[key]}"
    return sha256(json.dumps(score.protocol, sort_keys=True).encode()).hexdigest()[:8]
