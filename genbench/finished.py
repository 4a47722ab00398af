"""A finished run opened again, with its weights and its data, to look at what it has learned. Nothing is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.errors import GenbenchError, on_one_line
from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Dataset, Model
from genbench.pipeline import build_model
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.rescoring import check_weights, restore
from genbench.resolution import build_part
from genbench.store import RunFolder, read_record
from genbench.train.checkpoint import load_weights
from genbench.train.curve import read_curve


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well, with its weights."""

    folder: RunFolder
    record: Record
    config: RunConfig


@dataclass(frozen=True)
class Opened:
    """A finished run at work again.

    Attributes:
        model: in eval mode, its parameters not trainable.
        data: that it was trained on; without images where nobody asked for them.
        context: all that can be asked of both; samples and reconstructions are those that its scores are of.
    """

    run: FinishedRun
    model: Model
    data: PackedDataset
    context: EvaluationContext


@dataclass(frozen=True)
class Bench:
    """What a run is opened on.

    Attributes:
        cache: of prepared data and classifiers.
        source: where the user's data lies, or None.
        say: is told what takes minutes.
        preparing: is told how many images are prepared, of how many.
    """

    device: torch.device
    cache: Path
    source: Path | None = None
    say: Callable[[str], None] = lambda _: None
    preparing: Callable[[int, int], None] = lambda _done, _total: None


def read_run(folder: RunFolder) -> FinishedRun:
    """Return the run of a folder, its weights still on the disk.

    Raises:
        GenbenchError: there is none, it did not end well, or its weights are not those that were scored; says which
            folder.
    """
    if not folder.record_path.exists():
        raise GenbenchError(f"{folder.path}: no finished run", f"name a folder that holds {folder.record_path.name}")
    record = read_record(folder.record_path)
    if record.status != "ok":
        why = on_one_line(record.reason or "no reason is known")
        raise GenbenchError(f"{folder.path}: {record.status}: {why}", "choose a run that ended well")
    try:
        config = restore(record)
        check_weights(folder, record)
    except GenbenchError as error:
        told = error.message if str(folder.path) in error.message else f"{folder.path}: {error.message}"
        raise GenbenchError(told, error.hint) from error
    return FinishedRun(folder, record, config)


def load_model(plugins: Plugins, run: FinishedRun, data: PackedDataset, device: torch.device) -> Model:
    """Return a run's model with its weights, in eval mode."""
    model = build_model(plugins, run.config, data).to(device)
    model.to(memory_format=torch.channels_last)
    load_weights(run.folder.checkpoint_path, model, run.config.hash())
    return model.eval().requires_grad_(False)


def reopen(plugins: Plugins, run: FinishedRun, bench: Bench, *, images: bool = True) -> Opened:
    """Open a run.

    Args:
        images: whether its data set's are needed; a model alone needs none.

    Raises:
        GenbenchError: the data is missing, or is not what the run was trained on; or its weights don't fit.
    """
    dataset, data = open_data(plugins, run, bench) if images else (None, _imageless(run.record))
    model = load_model(plugins, run, data, bench.device)
    context = EvaluationContext(
        model,
        data,
        run.config,
        bench.device,
        bench.cache,
        plugins=plugins,
        source=dataset,
        curve=read_curve(run.folder),
        say=bench.say,
    )
    return Opened(run, model, data, context)


def open_data(plugins: Plugins, run: FinishedRun, bench: Bench) -> tuple[Dataset, PackedDataset]:
    """Return the data set that a run was trained on, and its images; raises as `reopen` does."""
    config = run.config.dataset
    spec = plugins.dataset(config.name)
    dataset = build_part(plugins, spec, config.settings)
    data = prepare(spec, dataset, config, bench.source, bench.cache, bench.preparing)
    if data.fingerprint != run.record.data.fingerprint:
        raise GenbenchError(
            f"{run.folder.path}: trained on other images than `{data.name}` now has",
            "name the folder with the images as they were by --data",
        )
    return dataset, data


def _imageless(record: Record) -> PackedDataset:
    """Return a run's data set as far as its record tells it; attributes have numbers instead of names."""
    facts = record.data
    return PackedDataset(
        name=facts.name,
        size=facts.size,
        channels=facts.channels,
        fingerprint=facts.fingerprint,
        images=np.zeros((0, facts.size, facts.size, facts.channels), np.uint8),
        splits=np.zeros(0, np.uint8),
        attribute_names=tuple(f"attribute {number}" for number in range(facts.attributes)),
    )
