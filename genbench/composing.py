"""A run's parts, how it ended, and the record that is composed of both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import torch

from genbench.config import EvaluationConfig, EvaluatorConfig, RunConfig
from genbench.data.packed import PackedDataset
from genbench.evaluate.evaluation import Evaluation
from genbench.evaluate.merging import merge
from genbench.execution import How, describe_execution, peak_memory_bytes
from genbench.interfaces import Dataset, Model
from genbench.pairing import parts_of
from genbench.plugins import Kind, Plugins
from genbench.records import Cost, DataFacts, Plugin, Record, RunIdentity
from genbench.store import RunFolder
from genbench.train.checkpoint import Progress
from genbench.train.weighting import WeightedSimilarity


@dataclass(frozen=True)
class Assembled:
    """A run's parts, ready to train."""

    plugins: Plugins
    config: RunConfig
    folder: RunFolder
    source: Dataset
    data: PackedDataset
    model: Model
    device: torch.device
    prepare_s: float
    began: datetime


@dataclass(frozen=True)
class Ending:
    """How a run ended, and what came of it.

    Attributes:
        weights_sha256: of the weights that were scored; None where none were.
        before: what was known of the same weights already, to which the evaluation is added; None where nothing was.
    """

    status: Literal["ok", "failed", "diverged"]
    progress: Progress
    reason: str | None = None
    how: How = field(default_factory=How)
    evaluation: Evaluation = field(default_factory=Evaluation)
    evaluate_s: float = 0.0
    weights_sha256: str | None = None
    before: Record | None = None


def compose_record(parts: Assembled, ending: Ending) -> Record:
    """Put together all that is known of a run that has ended, with what was known before.

    Raises:
        GenbenchError: that is of other weights.
    """
    config, data, model, progress = parts.config, parts.data, parts.model, ending.progress
    if ending.status == "ok":
        config = with_evaluators(config, ending.evaluation.done)
    alone = model.similarity if isinstance(model.similarity, WeightedSimilarity) else None
    facts = model.similarity.facts if model.similarity is not None else {}
    record = Record(
        status=ending.status,
        reason=ending.reason,
        run=RunIdentity(
            model=config.model.name,
            similarity=config.similarity.name if config.similarity else None,
            dataset=config.dataset.name,
            seed=config.seed,
        ),
        config=config.model_dump(mode="json"),
        config_hash=config.hash(),
        plugins=_origins(parts.plugins, config),
        data=describe_data(data),
        images_asked=config.training.images,
        images_seen=progress.images_seen,
        parameters={name: sum(p.numel() for p in network.parameters()) for name, network in model.networks.items()},
        similarity_weight=float(alone.weight) if alone is not None and alone.measured else None,
        weights_sha256=ending.weights_sha256,
        scores=ending.evaluation.scores,
        skipped=ending.evaluation.skipped,
        failures=ending.evaluation.failures,
        checks=ending.evaluation.checks,
        notes=tuple(f"similarity: {key} {value}" for key, value in facts.items()),
        cost=Cost(
            prepare_s=parts.prepare_s,
            train_s=progress.train_s,
            evaluate_s=ending.evaluate_s,
            images_per_s=progress.images_seen / progress.train_s if progress.train_s else 0.0,
            peak_memory_bytes=peak_memory_bytes(parts.device),
            energy_j=progress.energy_j,
        ),
        execution=describe_execution(parts.device, ending.how),
        started_utc=parts.began.isoformat(timespec="seconds"),
        finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return record if ending.before is None else merge(ending.before, record)


def with_evaluators(config: RunConfig, evaluators: tuple[EvaluatorConfig, ...]) -> RunConfig:
    """Return a run's configuration with other evaluators."""
    return config.model_copy(update={"evaluation": EvaluationConfig(evaluators=evaluators)})


def describe_data(data: PackedDataset) -> DataFacts:
    """Return the facts of a prepared data set."""
    return DataFacts(
        name=data.name,
        size=data.size,
        channels=data.channels,
        fingerprint=data.fingerprint,
        train=len(data.indices("train")),
        validation=len(data.indices("validation")),
        test=len(data.indices("test")),
        attributes=len(data.attribute_names),
        notes=data.notes,
        skipped_images=len(data.skipped_images),
    )


def outdated(record: Record, plugins: Plugins, config: RunConfig) -> Iterator[str]:
    """Say which parts of a run have another version by now than when it was trained: its weights are of the old one."""
    before = {(part.kind, part.name): f"{part.distribution} {part.version}" for part in record.plugins}
    for part in _origins(plugins, with_evaluators(config, ())):
        now, then = f"{part.distribution} {part.version}", before.get((part.kind, part.name))
        if then not in (None, now):
            yield f"{part.kind} `{part.name}` was that of {then} when this run was trained, and is that of {now} now"


def _origins(plugins: Plugins, config: RunConfig) -> tuple[Plugin, ...]:
    """Return where each named part of the run came from."""
    parts: list[tuple[Kind, Literal["model", "similarity", "evaluator", "dataset"], str]] = [
        ("models", "model", config.model.name),
        ("datasets", "dataset", config.dataset.name),
        *(("evaluators", "evaluator", name) for name in dict.fromkeys(c.name for c in config.evaluation.evaluators)),
    ]
    if config.similarity is not None:
        similarities = parts_of(plugins, config.similarity.name)
        parts += [("similarities", "similarity", part.name) for part in similarities]
    return tuple(
        Plugin(kind=singular, name=name, distribution=origin[0], version=origin[1])
        for kind, singular, name in parts
        for origin in [plugins.origin(kind, name)]
    )
