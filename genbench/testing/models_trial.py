"""A model on trial: a tiny one on a few pictures, configured, built and trained as a run does it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

import genbench
from genbench.config import RunConfig
from genbench.data.batches import Batches, load_batches
from genbench.data.packed import PackedDataset
from genbench.doctor.running import Unwatched
from genbench.images import to_uint8
from genbench.interfaces import Batch, DataRequest, Dataset, Gradients, ImageSet, Model, Share
from genbench.pairing import parts_of
from genbench.pipeline import Surroundings, build_model, folder_of, run
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.resolution import RunRequest, build_settings, by_section, resolve
from genbench.specs import DatasetSpec, ModelSpec
from genbench.testing.interface import CheckFailed, Subject
from genbench.testing.pictures import dead_leaves
from genbench.train.optimisers import build_optimisers, step

CPU = torch.device("cpu")
BATCH, STEPS, LATENT = 16, 8, 6
"""Images a step, steps of a trial, and dimensions of z: so few that any model takes seconds."""

COUNTS = (5 * BATCH, 8, 8)
"""Pictures that train, validate and test."""

WEIGHT = 0.75
"""Of the similarity, where its automatic weight is not what is tried."""

PICTURES = "pictures-of-the-check"


@dataclass(frozen=True)
class Trial:
    """What a model is built for.

    Attributes:
        labelled: whether the pictures have attributes.
        weight: of the similarity, as `--similarity-weight` has it.
        steps: of the budget.
    """

    size: int = 16
    channels: int = 3
    kind: Literal["conv", "mlp"] = "conv"
    labelled: bool = True
    weight: str = str(WEIGHT)
    precision: Literal["float32", "bfloat16"] = "float32"
    steps: int = STEPS

    @property
    def words(self) -> str:
        """Return what tells it from others."""
        colours = "grey" if self.channels == 1 else "in colour"
        return f"{self.size} px, {colours}, {self.kind}{'' if self.labelled else ', without attributes'}"


@dataclass(frozen=True)
class PicturesSettings:
    """Which pictures."""

    channels: int = 3
    labelled: bool = True


class Pictures(Dataset):
    """Dead leaves with three attributes: how bright the halves and the middle are."""

    def __init__(self, settings: PicturesSettings) -> None:
        self.settings = settings

    def prepare(self, request: DataRequest) -> ImageSet:
        images = dead_leaves(sum(COUNTS), self.settings.channels, request.size)
        pixels = to_uint8(images).permute(0, 2, 3, 1).contiguous().numpy()
        splits = np.repeat([0, 1, 2], COUNTS).astype(np.uint8)
        if not self.settings.labelled:
            return ImageSet(pixels, splits)
        half, quarter = request.size // 2, request.size // 4
        places = (images[..., :half], images[..., :half, :], images[..., quarter:-quarter, quarter:-quarter])
        bright = torch.stack([place.flatten(1).mean(1) > 0 for place in places], 1)
        return ImageSet(pixels, splits, bright.numpy().astype(np.uint8), ("left", "top", "middle"))


@dataclass(frozen=True)
class _Plugin:
    """Declares the pictures as a trial wants them."""

    trial: Trial

    @genbench.hookimpl
    def genbench_datasets(self) -> Iterator[DatasetSpec]:
        yield DatasetSpec(
            PICTURES,
            "pictures that need no data",
            f"{__name__}:Pictures",
            f"{__name__}:PicturesSettings",
            channels=self.trial.channels,
            size=self.trial.size,
        )


@dataclass(frozen=True)
class Started:
    """A model with its batches, before the first step."""

    model: Model
    batches: Batches
    config: RunConfig

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        return next(self.model.parameters()).device

    @property
    def positions(self) -> list[int]:
        """Return how many images were seen before each of some steps: a run's first, and where the similarity starts.

        A trial's budget is tiny, so what begins after more images than it has is begun at once.
        """
        begins = self.model.similarity_from
        later = range(begins, begins + BATCH * STEPS // 2, BATCH) if begins else ()
        return sorted({*range(0, self.config.training.images, BATCH), *later})

    def draw(self, images_seen: int) -> Batch:
        """Return a batch, having seeded the noise of its step as a run does."""
        self.batches.share.seed(self.config.seed, "step", images_seen)
        return self.batches.draw(images_seen)

    def train(self, *, gated: bool = True) -> Iterator[Gradients]:
        """Take a step at each position; yield its gradients once the networks have moved, past their gates if asked."""
        optimisers = build_optimisers(self.model, self.config.training)
        for images_seen in self.positions:
            gradients = self.model.gradients(self.draw(images_seen))
            moving = gradients if gated else Gradients(gradients.of)
            step(optimisers, moving, torch.ones((), dtype=torch.bool, device=self.device))
            yield gradients

    def trained(self) -> "Started":
        """Take all steps."""
        for _ in self.train():
            pass
        return self

    def latents(self, count: int) -> Tensor:
        """Return latents (count, latent_size) from the prior."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(count, LATENT, generator=generator).to(self.device)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave torch's random state as it is."""
    with torch.random.fork_rng(devices=[]):
        yield


@dataclass(frozen=True)
class ModelSubject(Subject):
    """A model, with its declared similarity."""

    @property
    def spec(self) -> ModelSpec:
        return self.plugins.model(self.name)

    @property
    def trial(self) -> Trial:
        """Return the smallest trial that the declared similarity allows."""
        parts = parts_of(self.plugins, self.spec.similarity) if self.spec.similarity else ()
        size = max(Trial().size, *(part.spec.needs.min_size for part in parts), 0)
        return Trial(size, next((part.spec.needs.channels for part in parts if part.spec.needs.channels), 3))

    def check_settings(self) -> None:
        build_settings(self.plugins, self.spec, by_section(self.settings)["model"])

    def build(self) -> Model:
        return self.start().model

    def start(self, trial: Trial | None = None) -> Started:
        """Build the model for a trial, the smallest by default, in training mode on the CPU."""
        trial = trial or self.trial
        config = self.configure(trial)
        data = pictures(trial)
        model = build_model(self.plugins, config, data).to(memory_format=torch.channels_last)
        if not isinstance(getattr(model, "networks", None), torch.nn.ModuleDict) or not len(model.networks):
            raise CheckFailed("its `networks` is no ModuleDict that holds networks", "set it in `__init__`")
        return Started(model.train(), load_batches(data, config, CPU, Share()), config)

    def run(
        self,
        trial: Trial,
        folder: Path,
        stop: Callable[[], bool] = lambda: False,
        device: str = "cpu",
        engine: str = "auto",
    ) -> Record | None:
        """Carry out a whole run without scores, or go on with it; return its record, once there is one."""
        around = Surroundings(folder / "runs", folder / "cache", device=device, engine=engine)
        return run(self._plugins(trial), self.configure(trial), around, Unwatched(), stop)

    def checkpoint(self, trial: Trial, folder: Path) -> dict[str, Tensor]:
        """Return the tensors of a run's checkpoint."""
        around = Surroundings(folder / "runs", folder / "cache")
        return load_file(folder_of(self.configure(trial), around).checkpoint_path)

    def configure(self, trial: Trial) -> RunConfig:
        """Return a trial as a run's configuration.

        Raises:
            GenbenchError: the declared similarity, or the kind of networks, does not fit such images.
        """
        request = RunRequest(
            self.name,
            PICTURES,
            size=trial.size,
            width=0.05,
            images=trial.steps * BATCH,
            batch_size=BATCH,
            precision=trial.precision,
            similarity_weight=trial.weight if self.spec.similarity else None,
            evaluators=(),
            settings=(
                *self.settings,
                *(f"network.kind={trial.kind}", f"network.latent_size={LATENT}", "network.encoder_hidden=64"),
                *(f"dataset.channels={trial.channels}", f"dataset.labelled={trial.labelled}"),
            ),
        )
        return resolve(self._plugins(trial), request)

    def _plugins(self, trial: Trial) -> Plugins:
        return self.plugins.and_also(_Plugin(trial))


def pictures(trial: Trial) -> PackedDataset:
    """Return a trial's pictures, in memory."""
    dataset = Pictures(PicturesSettings(trial.channels, trial.labelled))
    found = dataset.prepare(DataRequest(None, Path(), trial.size))
    return PackedDataset(
        PICTURES,
        trial.size,
        trial.channels,
        "f" * 64,
        found.images,
        found.splits,
        found.attributes,
        found.attribute_names,
    )
