"""The attribute classifier: one small network for each prepared data set, shared by all runs on it.

It is trained from a seed of its own, never from the run's, so that the same weights judge all models on a data set.
Their SHA-256 stands in the protocol of each score that uses it. It is calibrated on the validation split, and judges
no attribute that it can't tell there.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from scipy.special import expit
from torch import Tensor, nn

from genbench.data.packed import PackedDataset, Split
from genbench.errors import NotApplicable
from genbench.evaluate.calibration import (
    CONFIDENCE,
    OWN_SPREAD,
    SHARED_SPREAD,
    Floats,
    balanced_accuracy,
    balanced_accuracy_bound,
    expected_calibration_error,
    fit_slopes,
)
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.classifier_training import FEATURES, RECIPE, AttributeNetwork, Labelled, predict, train
from genbench.images import to_float
from genbench.networks import seeded
from genbench.records import Scalar
from genbench.store import write_atomic

__all__ = ["FEATURES", "VERSION", "AttributeClassifier", "AttributeNetwork", "Report", "obtain"]

Value = TypeVar("Value")

VERSION = 2
"""Raised whenever other weights come of the same images."""


@dataclass(frozen=True)
class Report:
    """What the classifier is and how good it is; kept beside its weights.

    Attributes:
        names: the attributes it tells, in the order of its logits.
        columns: where they stand among the data set's attributes.
        prevalence: share of the training split that has each.
        excluded: why it doesn't tell the others.
        slopes: what its log-odds, less the prevalence's, were multiplied by to calibrate them.
        calibrated_on: how many validation images the slopes were fitted to; 0: none, and the slopes are 1.
        judged_on: the split that decided which attributes it tells: `validation`, or `test` where that is empty.
        bounds: lower end of the 95 % interval of each balanced accuracy on that split; above 0.5.
        test_accuracy: on the test split, at even odds as `AttributeClassifier.logits` has them.
        test_balanced_accuracy: the mean of the accuracies on test images with and without the attribute.
        test_calibration_error: expected calibration error on the test split, at the training split's prevalence.
        test_calibration_error_before: the same before calibration.
        best_round: the round, from 1, with the lowest loss on the validation split (the last where that is empty).
        weights_sha256: of the file with the weights.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    prevalence: tuple[float, ...]
    excluded: dict[str, str]
    slopes: tuple[float, ...] = ()
    calibrated_on: int = 0
    judged_on: Split = "validation"
    bounds: tuple[float, ...] = ()
    test_accuracy: tuple[float, ...] = ()
    test_balanced_accuracy: tuple[float, ...] = ()
    test_calibration_error: tuple[float, ...] = ()
    test_calibration_error_before: tuple[float, ...] = ()
    best_round: int = 0
    weights_sha256: str = ""


class AttributeClassifier:
    """A trained classifier, as evaluators use it.

    Args:
        network: its last layer gives calibrated log-odds at even odds.
        report: names the logits.
        device: where it computes.
    """

    def __init__(self, network: AttributeNetwork, report: Report, device: torch.device) -> None:
        self.report = report
        self._chunks = Chunks.on(device, cpu=64, gpu=1024)
        self._network = self._chunks.put(network, device)

    @property
    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights' file."""
        return self.report.weights_sha256

    @property
    def balanced_accuracy(self) -> float:
        """Return the mean of the attributes' balanced accuracies on the test split."""
        return float(np.mean(self.report.test_balanced_accuracy))

    @property
    def calibration_error(self) -> float:
        """Return the mean of the attributes' expected calibration errors on the test split."""
        return float(np.mean(self.report.test_calibration_error))

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Return what of it can move a number, for protocols; its weights' hash apart."""
        return {
            "classifier_version": VERSION,
            "classifier_attributes": len(self.report.names),
            "classifier_balanced_accuracy": self.balanced_accuracy,
            "classifier_calibration_error": self.calibration_error,
        }

    @property
    def directions(self) -> Tensor:
        """Return each logit's weights in the features, (A, FEATURES): the direction in which it grows."""
        return self._network.logits.weight.detach()

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return features (N, FEATURES) of uint8 images (N, C, H, W)."""
        return self._chunks.apply(lambda chunk: self._network.features(self._scaled(chunk)), images)

    @torch.no_grad()
    def logits_of(self, features: Tensor) -> Tensor:
        """Return the log-odds (N, A) of images whose features are known, as `logits` does."""
        logits: Tensor = self._network.logits(features)
        return logits

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return log-odds (N, A) for uint8 images (N, C, H, W), as if each attribute were had by half of all images.

        A network learns the odds at the training split's prevalence; with the prior log-odds subtracted, the threshold
        that is best for balanced accuracy lies at 0 (Menon et al. 2021, eq. 9).
        """
        return self.logits_of(self.features(images))

    def _scaled(self, images: Tensor) -> Tensor:
        return to_float(images).contiguous(memory_format=self._chunks.layout)


def obtain(
    dataset: PackedDataset, device: torch.device, cache: Path, say: Callable[[str], None] = lambda _: None
) -> AttributeClassifier:
    """Load the data set's classifier from the cache, else train it and put it there; of concurrent runs, one trains.

    Args:
        dataset: what it is to tell the attributes of.
        device: where it is to be.
        cache: where it is kept.
        say: is told before it is trained, which takes minutes on a CPU.

    Raises:
        NotApplicable: the data set has no attributes, or none that can be learned, tested and told.
    """
    plan = _plan(dataset)
    folder = cache / "classifiers" / _key(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"), seeded(0, "classifier"):
        kept = _load(folder, dataset)
        if kept is None:
            say(f"training a classifier of the attributes of `{dataset.name}`, once for this data set")
        network, report = kept or _train_and_save(folder, dataset, plan, device)
    if not report.names:
        reasons = "; ".join(f"{name}: {why}" for name, why in report.excluded.items())
        raise NotApplicable(f"data set `{dataset.name}` has no attribute that the classifier can tell: {reasons}")
    return AttributeClassifier(network, report, device)


def _key(dataset: PackedDataset) -> str:
    recipe = [*RECIPE, SHARED_SPREAD, OWN_SPREAD, "exact", CONFIDENCE]
    text = json.dumps([VERSION, dataset.fingerprint, dataset.size, dataset.channels, dataset.attribute_names, recipe])
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
        reasons = "; ".join(f"{name}: {reason}" for name, reason in excluded.items())
        raise NotApplicable(f"data set `{dataset.name}` has no attribute that can be learned: {reasons}")
    return Report(tuple(names), tuple(columns), tuple(prevalence), excluded)


def _load(folder: Path, dataset: PackedDataset) -> tuple[AttributeNetwork, Report] | None:
    """Load what is there; None where it is missing, half-written or spoiled."""
    try:
        weights = (folder / "weights.safetensors").read_bytes()
        report = TypeAdapter(Report).validate_json((folder / "report.json").read_bytes())
        if report.weights_sha256 != sha256(weights).hexdigest():
            return None
        network = AttributeNetwork(dataset.channels, dataset.size, max(1, len(report.names)))
        network.load_state_dict(load(weights))
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError):
        return None
    return network, report


def _train_and_save(
    folder: Path, dataset: PackedDataset, plan: Report, device: torch.device
) -> tuple[AttributeNetwork, Report]:
    with seeded(0, "classifier", "init"):
        network = AttributeNetwork(dataset.channels, dataset.size, len(plan.names)).to(device)
    data = Labelled(dataset, plan.columns, device)
    with torch.enable_grad():
        best_round = train(network, data, plan.prevalence)
    report, told = _examine(network, data, plan)
    _finish(network, told, plan, report.slopes)
    weights = save({name: value.cpu().contiguous() for name, value in network.state_dict().items()})
    report = replace(_choose(report, told), best_round=best_round, weights_sha256=sha256(weights).hexdigest())
    write_atomic(folder / "weights.safetensors", weights)
    write_atomic(folder / "report.json", json.dumps(asdict(report), indent=1) + "\n")
    return network, report


def _examine(network: AttributeNetwork, data: Labelled, plan: Report) -> tuple[Report, tuple[int, ...]]:
    """Calibrate, judge and test; return the report on all attributes learned, and which of them are told."""
    prior = np.log(plan.prevalence) - np.log1p(-np.array(plan.prevalence))
    evidence, truth = {}, {}
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        logits, labels = predict(network, data, split)
        evidence[split], truth[split] = logits.numpy() - prior, labels.numpy()
    images = len(truth["validation"])
    slopes = fit_slopes(evidence["validation"], truth["validation"], prior) if images else np.ones(len(prior))
    judged_on: Split = "validation" if images else "test"
    bounds = balanced_accuracy_bound(_hits(evidence[judged_on], truth[judged_on]), truth[judged_on])
    hits = _hits(evidence["test"], truth["test"])
    before, after = (
        expected_calibration_error(expit(prior + scale * evidence["test"]), truth["test"]) for scale in (1.0, slopes)
    )
    report = replace(
        plan,
        slopes=tuple(slopes.tolist()),
        calibrated_on=images,
        judged_on=judged_on,
        bounds=tuple(bounds.tolist()),
        test_accuracy=tuple(hits.mean(0).tolist()),
        test_balanced_accuracy=tuple(balanced_accuracy(hits, truth["test"]).tolist()),
        test_calibration_error=tuple(after.tolist()),
        test_calibration_error_before=tuple(before.tolist()),
    )
    return report, tuple(np.flatnonzero(bounds > 0.5).tolist())


def _hits(evidence: Floats, labels: Floats) -> Floats:
    hits: Floats = ((evidence > 0) == (labels > 0.5)).astype(np.float64)
    return hits


def _choose(report: Report, told: tuple[int, ...]) -> Report:
    """Return the report on the attributes told, with the reason why the others are not."""
    untold = [k for k in range(len(report.names)) if k not in told]
    reasons = {
        report.names[k]: f"not told better than chance: balanced accuracy on the {report.judged_on} split is above "
        f"{report.bounds[k]:.3f} with 95 % confidence, expected is above 0.5"
        for k in untold
    }
    return Report(
        names=_pick(report.names, told),
        columns=_pick(report.columns, told),
        prevalence=_pick(report.prevalence, told),
        excluded=report.excluded | reasons,
        slopes=_pick(report.slopes, told),
        calibrated_on=report.calibrated_on,
        judged_on=report.judged_on,
        bounds=_pick(report.bounds, told),
        test_accuracy=_pick(report.test_accuracy, told),
        test_balanced_accuracy=_pick(report.test_balanced_accuracy, told),
        test_calibration_error=_pick(report.test_calibration_error, told),
        test_calibration_error_before=_pick(report.test_calibration_error_before, told),
    )


def _pick(values: tuple[Value, ...], told: tuple[int, ...]) -> tuple[Value, ...]:
    return tuple(values[k] for k in told)


def _finish(network: AttributeNetwork, told: tuple[int, ...], plan: Report, slopes: tuple[float, ...]) -> None:
    """Leave a last layer that gives the log-odds of the attributes told, calibrated, at even odds.

    Where none is told, a first one stands in: the file says so to the next run, which need not train.
    """
    rows = torch.tensor(told or (0,))
    old = network.logits
    scale = torch.tensor(slopes, dtype=torch.float64)[rows].to(old.weight.device)
    prior = torch.tensor(plan.prevalence, dtype=torch.float64).logit()[rows].to(old.weight.device)
    new = nn.Linear(FEATURES, len(rows), device=old.weight.device)
    new.weight.data.copy_(old.weight.data[rows] * scale[:, None])
    new.bias.data.copy_(scale * (old.bias.data[rows] - prior))
    network.logits = new
