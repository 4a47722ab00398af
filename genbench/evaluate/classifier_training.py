"""The attribute classifier's network, and how it is trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genbench.data.packed import PackedDataset, Split
from genbench.images import to_float
from genbench.networks import seeded
from genbench.randomness import derive

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

RECIPE = (BATCH, ROUNDS, ROUND_IMAGES, LEARNING_RATE, WEIGHT_DECAY, SHIFT, FEATURES, FIRST_WIDTH, WORKING_SIZE)
"""All of the above that moves the weights."""


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


@dataclass(frozen=True)
class Labelled:
    """Images with those of their attributes that are learned.

    Attributes:
        dataset: which has attributes.
        columns: where the learned ones stand among them.
        device: where batches go.
    """

    dataset: PackedDataset
    columns: tuple[int, ...]
    device: torch.device

    def labels(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return (N, A) in {0, 1} of chosen images."""
        if self.dataset.attributes is None:
            raise ValueError(f"data set `{self.dataset.name}` has no attributes")
        return self.dataset.attributes[chosen][:, self.columns].astype(np.float32)

    def batch(self, chosen: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return images, floats in [-1, 1], and labels (N, A)."""
        images = torch.from_numpy(self.dataset.images[chosen]).to(self.device).permute(0, 3, 1, 2)
        return to_float(images), torch.from_numpy(self.labels(chosen)).to(self.device)

    def batches(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a split's images and labels in order."""
        indices = self.dataset.indices(split)
        for start in range(0, len(indices), 2 * BATCH):
            yield self.batch(indices[start : start + 2 * BATCH])


def train(network: AttributeNetwork, data: Labelled, prevalence: tuple[float, ...]) -> int:
    """Train in place, leave the weights of the best round in it and return that round's number, from 1.

    The best has the lowest loss on the validation split; where that is empty, it is the last.
    """
    if data.device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # faster there; float32's convolutions on a GPU are not
    indices = data.dataset.indices("train")
    network.logits.bias.data.copy_(torch.tensor(prevalence).logit())  # begin at what guessing would say
    round_images = min(len(indices), ROUND_IMAGES)
    steps = ROUNDS * max(1, round_images // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best_loss, best_round, best, step = float("inf"), 0, network.state_dict(), 0
    for number in range(1, ROUNDS + 1):
        network.train()
        for chosen in _order(indices, number, round_images):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1 + cos(pi * step / steps))
            images, labels = data.batch(chosen)
            with seeded(0, "classifier", "step", step):
                loss = F.binary_cross_entropy_with_logits(network(shifted(images, step)), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
        loss_now = _loss(*predict(network, data, "validation"), otherwise=-float(number))
        if loss_now < best_loss:
            best_loss, best_round = loss_now, number
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return best_round


@torch.no_grad()
def predict(network: AttributeNetwork, data: Labelled, split: Split) -> tuple[Tensor, Tensor]:
    """Return the network's logits and the labels of a split, both (N, A) float64 on the CPU; N may be 0."""
    network.eval()
    empty = torch.zeros(0, len(data.columns), dtype=torch.float64)
    logits, labels = [empty], [empty]
    for images, truth in data.batches(split):
        logits.append(network(images).cpu().double())
        labels.append(truth.cpu().double())
    return torch.cat(logits), torch.cat(labels)


def _loss(logits: Tensor, labels: Tensor, otherwise: float) -> float:
    return F.binary_cross_entropy_with_logits(logits, labels).item() if len(labels) else otherwise


def _order(train: npt.NDArray[np.int64], number: int, images: int) -> list[npt.NDArray[np.int64]]:
    """Return one round's batches; a last one that is not full is left out, unless it is all there is."""
    generator = np.random.Generator(np.random.Philox(key=derive(0, "classifier", "order", number)))
    chosen = train[generator.permutation(len(train))[:images]]
    size = min(BATCH, len(chosen))
    return [chosen[start : start + size] for start in range(0, len(chosen) - size + 1, size)]


def shifted(images: Tensor, step: int) -> Tensor:
    """Move each image by its own number of pixels, repeating what is at its edge."""
    generator = torch.Generator().manual_seed(derive(0, "classifier", "shift", step))
    moves = torch.randint(0, 2 * SHIFT + 1, (2, len(images), 1), generator=generator).to(images.device)
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    rows = moves[0] + torch.arange(images.shape[2], device=images.device)
    columns = moves[1] + torch.arange(images.shape[3], device=images.device)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
