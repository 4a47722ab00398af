"""A finished run to log, and its folder."""

import json
from pathlib import Path
from typing import Any

from leaderboards import make_record
from PIL import Image

from genbench.records import Check, Record, Score
from genbench.store import RunFolder, write_config, write_record

ROWS = [
    {"images_seen": 100.0, "kl": 1.5, "gan.real": 0.25},
    {"images_seen": 200.0, "kl": 1.25},  # diverged in the other column
    {"images_seen": 300.0, "kl": 1.0, "gan.real": 0.75},
]
CURVE = {"kl": [(100, 1.5), (200, 1.25), (300, 1.0)], "gan.real": [(100, 0.25), (300, 0.75)]}


def score(name: str, value: float, sampler: str = "prior", uncertainty: float | None = 0.5) -> Score:
    protocol: dict[str, Any] = {"evaluator": "fd", "sampler": sampler, "fitted": f"{sampler}, and at length"}
    protocol |= {"k": 10} if sampler == "gmm" else {}
    return Score(name=name, value=value, direction="lower", protocol=protocol, uncertainty=uncertainty)


def finished(*scores: Score, seed: int = 0, **changes: Any) -> Record:
    fields = {"images_seen": 300, "scores": scores or (score("fd:inception", 12.5),), "config_hash": "ab" * 32}
    return make_record(seed=seed).model_copy(update=fields | changes)


def flagged() -> Check:
    return Check(name="active-units", value=2.0, flagged=True, rule="at least 6", meaning="It has | collapsed.")


def run_folder(parent: Path) -> Path:
    """Make a run's folder with a curve, a picture, a record and a configuration."""
    folder = RunFolder(parent / "runs" / "s0-abababab")
    folder.images_path.mkdir(parents=True)
    folder.curve_path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Image.new("RGB", (24, 16), (200, 10, 10)).save(folder.images_path / "samples.png")
    write_record(folder, finished())
    write_config(folder, finished().config)
    return folder.path
