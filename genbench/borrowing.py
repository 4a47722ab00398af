"""A finished run's own discriminator, whose features a similarity is then shown; nothing is trained."""

from dataclasses import dataclass
from pathlib import Path

import torch

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError
from genbench.evaluate.judging import Features
from genbench.pipeline import build_model
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.rescoring import check_weights, restore
from genbench.store import RunFolder, read_record
from genbench.train.checkpoint import load_weights


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well, with its weights."""

    folder: RunFolder
    record: Record
    config: RunConfig


def open_run(folder: Path) -> FinishedRun:
    """Return the run of a folder.

    Raises:
        GenbenchError: there is none, it did not end well, or its weights are not those that were scored.
    """
    run = RunFolder(folder)
    if not run.record_path.exists():
        raise GenbenchError(f"--run {folder}: no finished run", f"name a folder that holds {run.record_path.name}")
    record = read_record(run.record_path)
    if record.status != "ok":
        raise GenbenchError(f"--run {folder}: {record.status}: {record.reason or 'no reason is known'}")
    config = restore(record)
    check_weights(run, record)
    return FinishedRun(run, record, config)


def features_of(plugins: Plugins, run: FinishedRun, dataset: PackedDataset, device: torch.device) -> Features:
    """Return what a run's discriminator makes of a data set's images.

    Raises:
        GenbenchError: it has no discriminator, or the images are of another shape than those it was trained on.
    """
    shape, trained = (dataset.size, dataset.channels), (run.record.data.size, run.record.data.channels)
    if shape != trained:
        told = [f"{size}×{size}×{channels}" for size, channels in (shape, trained)]
        raise GenbenchError(f"--run {run.folder.path}: the images are {told[0]}, its own were {told[1]}")
    model = build_model(plugins, run.config, dataset).to(device)
    load_weights(run.folder.checkpoint_path, model, run.config.hash())
    model.eval().requires_grad_(False)
    with torch.no_grad():
        found = model.features(torch.zeros(1, dataset.channels, dataset.size, dataset.size, device=device))
    if not found:
        raise GenbenchError(
            f"--run {run.folder.path}: its model `{run.record.run.model}` has no discriminator",
            "leave out --run, and the data set's reference discriminator is taken",
        )
    identity = run.record.run
    return Features(
        model.features,
        {
            "discriminator": f"of {identity.model}-{identity.similarity} on {identity.dataset}, seed {identity.seed}",
            "discriminator_run": run.record.config_hash,
            "discriminator_weights": run.record.weights_sha256,
        },
    )
