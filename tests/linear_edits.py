"""A linear model of images and a linear classifier of them, on which attribute arithmetic has a closed form."""

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import quarters
import torch
from contexts import CPU, config
from quarters import LATENT
from torch import Tensor, nn

import genbench_evaluators
from genbench.config import EvaluatorConfig, SamplingConfig
from genbench.data.packed import PackedDataset
from genbench.evaluate.classifier import AttributeClassifier, Report
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.interfaces import Model
from genbench.plugins import Plugins
from genbench.records import Score

Array = npt.NDArray[np.float64]

SIZE = 4
NAMES = ("a", "b", "c")
SHARPNESS = 3.0
"""Log-odds of an attribute for each unit of its latent."""


class Quarters(quarters.Quarters):
    def __init__(self) -> None:
        super().__init__(size=SIZE)


class Generator(quarters.Generator, Quarters): ...


class Collapsed(quarters.Constant, Quarters): ...


class Diverged(Quarters):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) * torch.nan


class Linear(nn.Module):
    """A classifier whose features are the quarters' latents."""

    def __init__(self, weight: Array, bias: float = 0.0) -> None:
        super().__init__()
        self.logits = nn.Linear(LATENT, len(weight))
        self.logits.weight.data = torch.tensor(weight, dtype=torch.float32)
        self.logits.bias.data.fill_(bias)

    def features(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, SIZE // 2).flatten(1) * 4


def told(count: int = 3) -> Array:
    """Return weights of a classifier that sees each attribute in its own quarter alone."""
    return SHARPNESS * np.eye(count, LATENT)


def quantise(latents: Array) -> Array:
    """Return what is left of latents once the image has been rounded to uint8."""
    return 4 * (np.clip(np.round((latents / 4 + 1) * 127.5), 0, 255) / 127.5 - 1)


def balanced(test: int = 40) -> PackedDataset:
    """Build images of all eight combinations of attributes, as often each, without any noise."""
    repeats = 10
    attributes = np.array(list(product((0, 1), repeat=3)) * repeats * 2, np.uint8)
    splits = np.repeat([0, 2], 8 * repeats).astype(np.uint8)
    keep = (splits == 0) | (np.cumsum(splits == 2) <= test)
    return dataset(attributes[keep], splits[keep], np.zeros((keep.sum(), LATENT)))


def noisy(count: int = 900, permuted: int | None = None) -> PackedDataset:
    """Build noisy images; a permuted column's training labels say nothing."""
    generator = np.random.default_rng(0)
    attributes = generator.integers(0, 2, (count, 3), dtype=np.uint8)
    splits = np.repeat([0, 2], [count - 100, 100]).astype(np.uint8)
    data = dataset(attributes, splits, generator.normal(0, 0.4, (count, LATENT)))
    if permuted is None:
        return data
    labels = attributes.copy()
    labels[splits == 0, permuted] = generator.permutation(labels[splits == 0, permuted])
    return replace(data, attributes=labels)


def dataset(attributes: npt.NDArray[np.uint8], splits: npt.NDArray[np.uint8], noise: Array) -> PackedDataset:
    latents = np.concatenate([attributes * 2.0 - 1, np.zeros((len(attributes), 1))], 1) + noise
    images = quarters.drawn(latents, SIZE)
    return PackedDataset("quarters", SIZE, 1, "f" * 64, images, splits, attributes, NAMES, (), ())


def stand_in(weight: Array, bias: float = 0.0) -> AttributeClassifier:
    count = len(weight)
    ones = (1.0,) * count
    report = Report(
        NAMES[:count],
        tuple(range(count)),
        (0.5,) * count,
        {},
        calibrated_on=1,
        bounds=ones,
        test_accuracy=ones,
        test_balanced_accuracy=ones,
        test_calibration_error=(0.0,) * count,
        test_calibration_error_before=(0.0,) * count,
        weights_sha256="w",
    )
    return AttributeClassifier(Linear(weight, bias), report, CPU)  # type: ignore[arg-type]


def build(
    model: Model | None = None,
    data: PackedDataset | None = None,
    weight: Array | None = None,
    bias: float = 0.0,
    batch_size: int = 64,
) -> EvaluationContext:
    context = EvaluationContext(
        model or Quarters(),
        data or balanced(),
        config(size=SIZE, latent_size=LATENT),
        CPU,
        None,
        batch_size,  # type: ignore[arg-type]
    )
    context._classifier = stand_in(told() if weight is None else weight, bias)
    return context


def run(context: EvaluationContext, samples: int = 300, **settings: object) -> Evaluation:
    component = EvaluatorConfig(
        name="attributes", settings={"strengths": ""} | settings, sampling=SamplingConfig(samples=samples)
    )
    found = evaluate(context, Plugins.of(genbench_evaluators), (component,), lambda line: None)
    assert found is not None
    return found


def scores(context: EvaluationContext, **settings: object) -> dict[str, Score]:
    found = run(context, **settings)
    assert not found.failures
    return {s.name: s for s in found.scores}


def sheet(found: Evaluation, name: str) -> dict[str, dict[str, float]]:
    (table,) = [s for s in found.sheets if s.name == name]
    return {str(row[0]): dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}  # type: ignore[arg-type]
