"""A finished run's own discriminator, whose features a similarity is then shown; nothing is trained."""

import torch

from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError
from genbench.evaluate.judging import Features
from genbench.finished import FinishedRun, load_model
from genbench.plugins import Plugins


def features_of(plugins: Plugins, run: FinishedRun, dataset: PackedDataset, device: torch.device) -> Features:
    """Return what a run's discriminator makes of a data set's images.

    Raises:
        GenbenchError: it has no discriminator, or the images are of another shape than those it was trained on.
    """
    shape, trained = (dataset.size, dataset.channels), (run.record.data.size, run.record.data.channels)
    if shape != trained:
        told = [f"{size}×{size}×{channels}" for size, channels in (shape, trained)]
        raise GenbenchError(
            f"--run {run.folder.path}: the images are {told[0]}, its own were {told[1]}",
            f"--size {trained[0]}, or a data set of its kind" if shape[1] == trained[1] else "name its own data set",
        )
    model = load_model(plugins, run, dataset, device)
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
