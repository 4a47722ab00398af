"""The attribute classifier: one small network for each prepared data set, shared by all runs on it.

It is trained from a seed of its own, never from the run's, so that the same weights judge all models on a data set.
Their SHA-256 stands in the protocol of each score that uses it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import cos, pi
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate.chunks import Chunks
from genbench.images import to_float
from genbench.networks import seeded
from genbench.randomness import derive
from genbench.records import Scalar
from genbench.store import write_atomic

VERSION = 1
"""Raised whenever other weights come of the same images."""

FEATURES = 128
FIRST_WIDTH = 24
"""Channels of the first convolution; every next has twice as many, four times as many at most."""

WORKING_SIZE = 64
"""Larger images are averaged down to this side."""

BATCH = 128
ROUNDS = 10
ROUND_IMAGES = 40_000
"""A round is one pass over the training split, or this many images of it where it is larger."""

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
SHIFT = 2
"""Training images are moved by up to so many pixels; mirroring is left out, since not every data set allows it."""


@dataclass(frozen=True)
class Report:
    """What the classifier is and how good it is; kept beside its weights.

    Attributes:
        names: the attributes it tells, in the order of its logits.
        columns: where they stand among the data set's attributes.
        prevalence: share of the training split that has each.
        excluded: why it doesn't tell the others.
        test_accuracy: on the test split, at even odds as `AttributeClassifier.logits` has them.
        test_balanced_accuracy: the mean of the accuracies on test images with and without the attribute.
        best_round: the round, from 1, with the lowest loss on the validation split (the last where that is empty).
        weights_sha256: of the file with the weights.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    prevalence: tuple[float, ...]
    excluded: dict[str, str]
    test_accuracy: tuple[float, ...] = ()
    test_balanced_accuracy: tuple[float, ...] = ()
    best_round: int = 0
    weights_sha256: str = ""


class AttributeNetwork(nn.Module):
    """Blocks of 3×3 convolution, batch-norm, ReLU and 2×2 max-pooling down to 4 px; 128 features; a logit each.

    ReLU comes after the pooling, where it gives the same for a quarter of the work.
    """

    def __init__(self, channels: int, size: int, attributes: int) -> None:
        super().__init__()
        self.working_size = min(size, WORKING_SIZE)
        side, inputs, outputs = self.working_size, channels, FIRST_WIDTH
        layers: list[nn.Module] = []
        while side > 4:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
            side, inputs, outputs = (side + 1) // 2, outputs, min(2 * outputs, 4 * FIRST_WIDTH)
        self.convolutions = nn.Sequential(*layers)
        inner = inputs * side**2
        self.hidden = nn.Sequential(nn.Dropout(0.3), nn.Linear(inner, FEATURES, bias=False), nn.BatchNorm1d(FEATURES))
        self.logits = nn.Linear(FEATURES, attributes)

    def features(self, images: Tensor) -> Tensor:
        """Return (N, FEATURES) for float images (N, C, H, W) in [-1, 1]."""
        if images.shape[-1] != self.working_size:
            images = F.interpolate(images, size=(self.working_size, self.working_size), mode="area")
        features: Tensor = self.hidden(self.convolutions(images).flatten(1)).relu()
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.features(images))
        return logits


class AttributeClassifier:
    """A trained classifier, as evaluators use it."""

    def __init__(self, network: AttributeNetwork, report: Report, device: torch.device) -> None:
        self.report = report
        self._chunks = Chunks.on(device, cpu=64, gpu=1024)
        self._network = network.to(device).to(memory_format=self._chunks.layout).eval().requires_grad_(False)
        prevalence = torch.tensor(report.prevalence, dtype=torch.float32)
        self._prior = prevalence.logit().to(device)

    @property
    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights' file."""
        return self.report.weights_sha256

    @property
    def balanced_accuracy(self) -> float:
        """Return the mean of the attributes' balanced accuracies on the test split."""
        return float(np.mean(self.report.test_balanced_accuracy))

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Return what of it can move a number, for protocols; its weights' hash apart."""
        return {
            "classifier_version": VERSION,
            "classifier_attributes": len(self.report.names),
            "classifier_balanced_accuracy": self.balanced_accuracy,
        }

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return features (N, FEATURES) of uint8 images (N, C, H, W)."""
        return self._chunks.apply(lambda chunk: self._network.features(self._scaled(chunk)), images)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return log-odds (N, A) for uint8 images (N, C, H, W), as if each attribute were had by half of all images.

        The network learns the odds at the training split's prevalence; subtracting the prior log-odds puts the
        threshold that is best for balanced accuracy at 0 (Menon et al. 2021, eq. 9).
        """
        return self._chunks.apply(lambda chunk: self._network(self._scaled(chunk)), images) - self._prior

    def _scaled(self, images: Tensor) -> Tensor:
        return to_float(images).contiguous(memory_format=self._chunks.layout)


def obtain(dataset: PackedDataset, device: torch.device, cache: Path) -> AttributeClassifier:
    """Load the data set's classifier from the cache, else train it and put it there; of concurrent runs, one trains.

    Raises:
        NotApplicable: the data set has no attributes, or none that can be learned and tested.
    """
    plan = _plan(dataset)
    folder = cache / "classifiers" / _key(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        return _load(folder, dataset, device) or _train_and_save(folder, dataset, plan, device)


def _key(dataset: PackedDataset) -> str:
    shape = (BATCH, ROUNDS, ROUND_IMAGES, LEARNING_RATE, WEIGHT_DECAY, SHIFT, FEATURES, FIRST_WIDTH, WORKING_SIZE)
    text = json.dumps([VERSION, dataset.fingerprint, dataset.size, dataset.channels, dataset.attribute_names, shape])
    return sha256(text.encode()).hexdigest()[:16]


def _plan(dataset: PackedDataset) -> Report:
    """Choose the attributes that can be learned and tested."""
    if dataset.attributes is None or not dataset.attribute_names:
        raise NotApplicable(f"data set `{dataset.name}` has no attributes")
    names, columns, prevalence, excluded = [], [], [], {}
    splits = {split: dataset.attributes[dataset.indices(split)] for split in ("train", "test")}
    for column, name in enumerate(dataset.attribute_names):
        lacking = [s for s, labels in splits.items() if not 0 < int(labels[:, column].sum()) < len(labels)]
        if lacking:
            excluded[name] = f"the {lacking[0]} split does not have images both with and without it"
        else:
            names.append(name)
            columns.append(column)
            prevalence.append(float(splits["train"][:, column].mean()))
    if not names:
        raise NotApplicable(f"data set `{dataset.name}` has no attribute that can be learned: {excluded}")
    return Report(tuple(names), tuple(columns), tuple(prevalence), excluded)


def _load(folder: Path, dataset: PackedDataset, device: torch.device) -> AttributeClassifier | None:
    """Load what is there; None where it is missing, half-written or spoiled."""
    try:
        weights = (folder / "weights.safetensors").read_bytes()
        report = TypeAdapter(Report).validate_json((folder / "report.json").read_bytes())
        if report.weights_sha256 != sha256(weights).hexdigest():
            return None
        network = AttributeNetwork(dataset.channels, dataset.size, len(report.names))
        network.load_state_dict(load(weights))
        return AttributeClassifier(network, report, device)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None


def _train_and_save(folder: Path, dataset: PackedDataset, plan: Report, device: torch.device) -> AttributeClassifier:
    with seeded(0, "classifier", "init"):
        network = AttributeNetwork(dataset.channels, dataset.size, len(plan.names)).to(device)
    with torch.enable_grad():
        best_round = _train(network, dataset, plan, device)
    weights = save({name: value.cpu().contiguous() for name, value in network.state_dict().items()})
    report = replace(plan, best_round=best_round, weights_sha256=sha256(weights).hexdigest())
    report = _examine(AttributeClassifier(network, report, device), dataset, device)
    write_atomic(folder / "weights.safetensors", weights)
    write_atomic(folder / "report.json", json.dumps(asdict(report), indent=1) + "\n")
    return AttributeClassifier(network, report, device)


def _train(network: AttributeNetwork, dataset: PackedDataset, plan: Report, device: torch.device) -> int:
    """Train in place, leave the weights of the best round and return its number."""
    train, validation = dataset.indices("train"), dataset.indices("validation")
    network.logits.bias.data.copy_(torch.tensor(plan.prevalence).logit())  # begin at what guessing would say
    round_images = min(len(train), ROUND_IMAGES)
    steps = ROUNDS * max(1, round_images // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best_loss, best_round, best, step = float("inf"), 0, network.state_dict(), 0
    for number in range(1, ROUNDS + 1):
        network.train()
        for chosen in _order(train, number, round_images):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1 + cos(pi * step / steps))
            images, labels = _batch(dataset, chosen, plan, device)
            with seeded(0, "classifier", "step", step):
                loss = F.binary_cross_entropy_with_logits(network(_shifted(images, step)), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
        loss_now = _validate(network, dataset, validation, plan, device) if len(validation) else -float(number)
        if loss_now < best_loss:
            best_loss, best_round = loss_now, number
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return best_round


def _order(train: npt.NDArray[np.int64], number: int, images: int) -> list[npt.NDArray[np.int64]]:
    """Return one round's batches; a last one that is not full is left out, unless it is all there is."""
    generator = np.random.Generator(np.random.Philox(key=derive(0, "classifier", "order", number)))
    chosen = train[generator.permutation(len(train))[:images]]
    size = min(BATCH, len(chosen))
    return [chosen[start : start + size] for start in range(0, len(chosen) - size + 1, size)]


def _batch(
    dataset: PackedDataset, chosen: npt.NDArray[np.int64], plan: Report, device: torch.device
) -> tuple[Tensor, Tensor]:
    attributes = dataset.attributes
    if attributes is None:
        raise NotApplicable(f"data set `{dataset.name}` has no attributes")
    images = torch.from_numpy(dataset.images[chosen]).to(device).permute(0, 3, 1, 2)
    labels = torch.from_numpy(attributes[chosen][:, plan.columns]).to(device, torch.float32)
    return to_float(images), labels


def _shifted(images: Tensor, step: int) -> Tensor:
    """Move each image by its own number of pixels, repeating what is at its edge."""
    generator = torch.Generator().manual_seed(derive(0, "classifier", "shift", step))
    moves = torch.randint(0, 2 * SHIFT + 1, (2, len(images), 1), generator=generator).to(images.device)
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    rows = moves[0] + torch.arange(images.shape[2], device=images.device)
    columns = moves[1] + torch.arange(images.shape[3], device=images.device)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def _validate(
    network: AttributeNetwork,
    dataset: PackedDataset,
    indices: npt.NDArray[np.int64],
    plan: Report,
    device: torch.device,
) -> float:
    network.eval()
    total = 0.0
    for start in range(0, len(indices), 2 * BATCH):
        images, labels = _batch(dataset, indices[start : start + 2 * BATCH], plan, device)
        total += F.binary_cross_entropy_with_logits(network(images), labels, reduction="sum").item()
    return total / (len(indices) * len(plan.names))


def _examine(classifier: AttributeClassifier, dataset: PackedDataset, device: torch.device) -> Report:
    """Measure accuracies on the test split."""
    right: list[Tensor] = []
    truth: list[Tensor] = []
    indices = dataset.indices("test")
    for start in range(0, len(indices), 2 * BATCH):
        chosen = indices[start : start + 2 * BATCH]
        _, labels = _batch(dataset, chosen, classifier.report, device)
        images = torch.from_numpy(dataset.images[chosen]).to(device).permute(0, 3, 1, 2)
        right.append(((classifier.logits(images) > 0) == (labels > 0.5)).cpu().double())
        truth.append(labels.cpu().double())
    hit, has = torch.cat(right), torch.cat(truth)
    with_it, without = (hit * has).sum(0) / has.sum(0), (hit * (1 - has)).sum(0) / (1 - has).sum(0)
    return replace(
        classifier.report,
        test_accuracy=tuple(hit.mean(0).tolist()),
        test_balanced_accuracy=tuple(((with_it + without) / 2).tolist()),
    )
