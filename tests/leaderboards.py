"""Records to rank, and what to look up in a leaderboard."""

import json
import random
from collections.abc import Sequence
from typing import Any

from genbench.cells import Cell
from genbench.compare import Table, leaderboard
from genbench.digest import digest_of
from genbench.records import Cost, DataFacts, Execution, Record, RunIdentity, Score
from genbench.selection import View

HIGHER, NEITHER = {"ssim", "cosine"}, {"kl"}


def make_record(
    model: str = "vae",
    similarity: str | None = "mse",
    seed: int = 0,
    scores: dict[str, float] | None = None,
    *,
    gamma: float = 1.0,
    width: float = 1.0,
    images: int = 1000,
    protocol: dict[str, str | int] | None = None,
    **changes: object,
) -> Record:
    dataset = str(changes.pop("dataset", "toyfaces"))
    fingerprint, size = str(changes.pop("fingerprint", "f" * 64)), changes.pop("size", 32)
    config = {
        "model": {"name": model, "settings": {"gamma": gamma}},
        "similarity": {"name": similarity, "settings": {}} if similarity else None,
        "dataset": {"name": dataset, "settings": {}, "size": size},
        "network": {"width": width},
        "training": {"images": images, "batch_size": 64},
        "evaluation": {"samples": 100 + seed},
        "seed": seed,
    }
    fields: dict[str, object] = {
        "status": "ok",
        "run": RunIdentity(model=model, similarity=similarity, dataset=dataset, seed=seed),
        "config": config,
        "config_hash": random.Random(json.dumps(config)).randbytes(32).hex(),
        "plugins": (),
        "data": DataFacts(
            name=dataset, size=size, channels=3, fingerprint=fingerprint, train=8, validation=1, test=1, attributes=0
        ),
        "images_asked": images,
        "images_seen": images,
        "parameters": {},
        "scores": tuple(
            Score(
                name=name,
                value=value,
                direction="higher" if name in HIGHER else "none" if name in NEITHER else "lower",
                protocol={"evaluator": "e", **(protocol or {})},
            )
            for name, value in ({"mse": 0.5} if scores is None else scores).items()
        ),
        "cost": Cost(prepare_s=0, train_s=60, evaluate_s=0, images_per_s=100, peak_memory_bytes=0),
        "execution": Execution(
            device="cpu", device_name="x", engine="eager", precision="float32", threads=1, platform="linux",
            versions={}, git_commit=None,
        ),
        "started_utc": "2025-01-01T00:00:00Z",
        "finished_utc": "2025-01-01T00:00:01Z",
    }  # fmt: skip
    return Record.model_validate(fields | changes)


def lost(status: str, seed: int, reason: str | None, model: str = "vae") -> Record:
    return make_record(model, seed=seed, scores={}, status=status, reason=reason)


def seeds(values: Sequence[float], similarity: str | None = "mse", name: str = "mse", first: int = 0) -> list[Record]:
    """Return runs of one configuration, a value for each seed."""
    return [make_record("vae", similarity, seed, {name: value}) for seed, value in enumerate(values, first)]


def boards(records: Sequence[Record], dataset: str | None = None, **view: Any) -> tuple[Table, ...]:
    return leaderboard([digest_of(record) for record in records], dataset, View(**view))


def only(records: Sequence[Record], **view: Any) -> Table:
    (table,) = boards(records, **view)
    return table


def cells(table: Table, name: str) -> list[Cell | None]:
    (index,) = [i for i, column in enumerate(table.columns) if column.name == name]
    return [row.cells[index] for row in table.rows]


def best(table: Table, name: str) -> list[bool]:
    return [bool(cell and cell.best) for cell in cells(table, name)]


def ranks(table: Table, name: str) -> list[int | None]:
    return [cell and cell.rank for cell in cells(table, name)]


def scores(table: Table) -> list[str]:
    return [column.name for column in table.columns if not column.cost]
