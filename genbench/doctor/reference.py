"""A published value that the whole way from files to FID must reproduce."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from genbench.config import DataConfig
from genbench.data.packed import PackedDataset, Split
from genbench.data.preparation import prepare
from genbench.data.sources import source_folder
from genbench.doctor.findings import Ground
from genbench.doctor.weights import inception
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import moments
from genbench.evaluate.evaluation import exact
from genbench.evaluate.extractors import Extractor
from genbench.execution import choose_device
from genbench.findings import Finding
from genbench.interfaces import DataRequest, Dataset
from genbench.resolution import build_part

DATASET, SIZE = "cifar10", 32
TRAINING, TEST = 50_000, 10_000
VALUE, TOLERANCE = 3.15, 0.05
"""FID of CIFAR-10's training images against its test images, as torch-fidelity computes it."""
BATCH = 256


def reference_fid(ground: Ground) -> Iterator[Finding]:
    """Compute the FID of CIFAR-10's training against its test images: minutes on a GPU, an hour on a CPU."""
    if not ground.full:
        yield Finding("reference fid", "skipped", f"CIFAR-10 train against test, {VALUE}: by --full")
        return
    data = _data(ground)
    extractor = inception(choose_device("auto"))
    with exact(), torch.no_grad():
        training = moments.measure(_features(extractor, data, ("train", "validation")))
        test = moments.measure(_features(extractor, data, ("test",)))
    found = moments.frechet_distance(training, test)
    told = f"CIFAR-10 train against test: {found:.4f}, must be {VALUE} ± {TOLERANCE}"
    hint = "compare with `fidelity --fid --input1 cifar10-train --input2 cifar10-val` of torch-fidelity; report it"
    yield Finding.of("reference fid", abs(found - VALUE) <= TOLERANCE, told, hint)


def _data(ground: Ground) -> PackedDataset:
    """Return CIFAR-10 where its files are here already.

    Raises:
        NotApplicable: they are not, or are not all of it; nothing is downloaded for a check.
    """
    spec = ground.plugins.dataset(DATASET)
    dataset: Dataset = build_part(ground.plugins, spec, {})
    downloads = ground.cache / "downloads"
    named = source_folder(None)
    try:
        dataset.files(DataRequest(named or downloads, downloads, SIZE))
    except GenbenchError as error:
        raise NotApplicable(
            "CIFAR-10 is not here",
            f"{error.hint or error.message}; `genbench run vae {DATASET} --images 64` downloads it",
        ) from error
    data = prepare(spec, dataset, DataConfig(name=DATASET, size=SIZE), named, ground.cache, lambda _done, _all: None)
    training = len(data.indices("train")) + len(data.indices("validation"))
    if (training, len(data.indices("test"))) != (TRAINING, TEST):
        raise NotApplicable(f"CIFAR-10 here is not whole: {training:,} + {len(data.indices('test')):,} images")
    return data


def _features(extractor: Extractor, data: PackedDataset, splits: Iterable[Split]) -> Iterator[Tensor]:
    device = choose_device("auto")
    for split in splits:
        indices = data.indices(split)
        for start in range(0, len(indices), BATCH):
            images = torch.from_numpy(data.images[indices[start : start + BATCH]])
            yield extractor(images.to(device).permute(0, 3, 1, 2).contiguous())
