"""A plugin with evaluators of which a test knows what they do, and how to look into a store and to spoil it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from genbench.records import Record
from genbench.store import read_record

PLUGIN = '''
"""Evaluators of which a test knows what they do."""
import genbench
from genbench.errors import NotApplicable
from genbench.interfaces import Evaluator
from genbench.records import Score


@genbench.hookimpl
def genbench_evaluators():
    for name in ("count", "odd", "bad", "long-name-of-an-evaluator"):
        target = f"genbenchfile:{name.split('-')[0].title()}"
        yield genbench.EvaluatorSpec(name, "", target, default=name == "count")


class Count(Evaluator):
    def evaluate(self, context):
        count, protocol = context.sampling.samples, context.facts(context.sampled())
        yield Score(name="count", value=float(count), direction="higher", protocol=protocol)


class Long(Count):
    pass


class Odd(Evaluator):
    def evaluate(self, context):
        raise NotApplicable("not for this model")


class Bad(Evaluator):
    def evaluate(self, context):
        raise RuntimeError("out of luck")
'''


def run_of(model: str, runs: Path = Path("runs")) -> Path:
    """Return the folder of the one run of a model."""
    (found,) = runs.glob(f"*/{model}-*/s*")
    return found


def record_of(model: str, runs: Path = Path("runs")) -> Record:
    return read_record(run_of(model, runs) / "record.json")


def scores(record: Record) -> dict[str, float]:
    return {score.name: score.value for score in record.scores}


def files(folder: Path) -> dict[str, bytes]:
    """Return all that lies in a folder, by path."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def edit(model: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record's JSON."""
    path = run_of(model) / "record.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite_checkpoint(model: str, change: Callable[[dict[str, torch.Tensor], dict[str, str]], None]) -> None:
    path = run_of(model) / "checkpoint" / "last.safetensors"
    with safe_open(path, "pt") as file:
        header = dict(file.metadata())
    tensors = load_file(path)
    change(tensors, header)
    save_file(tensors, path, header)


# What a run may suffer.


def lose_checkpoint() -> None:
    (run_of("vae") / "checkpoint" / "last.safetensors").unlink()


def old_format() -> None:
    rewrite_checkpoint("vae", lambda _, header: header.update(format="genbench.checkpoint/1"))


def unfinished() -> None:
    def change(_: dict[str, torch.Tensor], header: dict[str, str]) -> None:
        header["progress"] = json.dumps(json.loads(header["progress"]) | {"images_seen": 8})

    rewrite_checkpoint("vae", change)


def other_weights() -> None:
    def change(tensors: dict[str, torch.Tensor], _: dict[str, str]) -> None:
        name = next(name for name in tensors if name.startswith("model/") and tensors[name].is_floating_point())
        tensors[name] += 1

    rewrite_checkpoint("vae", change)


def other_configuration() -> None:
    rewrite_checkpoint("vae", lambda _, header: header.update(config_hash="0" * 64))


def damaged() -> None:
    (run_of("vae") / "checkpoint" / "last.safetensors").write_bytes(b"nothing of the kind")


def foreign_setting() -> None:
    edit("vae", lambda record: record["config"]["training"].update(momentum=0.9))


def older_configuration() -> None:
    def change(record: dict[str, Any]) -> None:
        del record["config"]["training"]["precision"]
        record["config_hash"] = "1" * 64  # that of a configuration without it

    edit("vae", change)


def half_a_record() -> None:
    path = run_of("vae") / "record.json"
    path.write_text(path.read_text()[:500])
