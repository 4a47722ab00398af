"""A whole run, from its configuration to its record: prepare → build → train → evaluate → record."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch

from genbench import __version__
from genbench.config import EvaluationConfig, EvaluatorConfig, RunConfig
from genbench.data.batches import Resident, load_batches
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.errors import GenbenchError, explained, without_folders
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.merging import merge, missing
from genbench.evaluate.pictures import write_pictures
from genbench.evaluate.sheets import write_sheet
from genbench.execution import (
    How,
    choose_device,
    describe_execution,
    peak_memory_bytes,
    telling_what_takes_less_memory,
)
from genbench.interfaces import Dataset, Model
from genbench.networks import Blueprint, seeded
from genbench.plugins import Kind, Plugins
from genbench.records import Cost, DataFacts, Plugin, Record, RunIdentity
from genbench.resolution import build_part, build_settings
from genbench.runlog import RunLog, RunObserver, logged
from genbench.store import RunFolder, lock, read_record, run_folder, write_config, write_record
from genbench.train.checkpoint import Progress, load_weights, read_progress, weights_sha256
from genbench.train.curve import read_curve
from genbench.train.distributed import call, dismiss, leave
from genbench.train.loop import train
from genbench.train.memory import keep_freed_memory
from genbench.train.sharing import Share
from genbench.train.weighting import WeightedSimilarity


@dataclass(frozen=True)
class Surroundings:
    """Where and how a run is executed; none of it moves a score by more than rounding.

    Attributes:
        runs: root of the store.
        cache: of prepared data and classifiers.
        source: the folder or archive with the data, or None.
        device: `auto`, or torch's name of one.
        engine: that executes the training steps: `auto`, `eager`, `graph` or `compile`.
        retry_unscored: whether a finished run tries evaluators again that were skipped or failed.
        again: whether a finished run computes all again that is asked for.
        scored_only: the folder of a finished run that is scored wherever it lies, and never trained; None for any run
            in the store.
        share: of the run that is this process's; where there are several, that of the one which leads.
    """

    runs: Path
    cache: Path
    source: Path | None = None
    device: str = "auto"
    engine: str = "auto"
    retry_unscored: bool = False
    again: bool = False
    scored_only: RunFolder | None = None
    share: Share = field(default_factory=Share)


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
    """How a run ended, and what came of it."""

    status: Literal["ok", "failed", "diverged"]
    progress: Progress
    reason: str | None = None
    how: How = field(default_factory=How)
    evaluation: Evaluation = field(default_factory=Evaluation)
    evaluate_s: float = 0.0


def run(
    plugins: Plugins, config: RunConfig, around: Surroundings, observer: RunObserver, stop: Callable[[], bool]
) -> Record | None:
    """Carry out a run, or what is left of it, and return its record; None where `stop` said so before it was done.

    A finished run is returned as it stands, unless other scores are asked of it: then only those are computed, and
    added. Its folder's log is kept.

    Raises:
        GenbenchError: the user can mend it, or the device is out of memory; nothing that was done is lost.
    """
    folder = folder_of(config, around)
    with lock(folder.path), logged(observer, folder.log_path) as log, telling_what_takes_less_memory():
        earlier = _ended(folder, config)
        if earlier is not None:
            todo = missing(earlier, config.evaluation, retry_unscored=around.retry_unscored, again=around.again)
            if earlier.status == "diverged" or not todo:
                dismiss(around.share)
                log.said(f"done before: {folder.record_path}")
                return earlier
            if _is_trained(folder, config):
                config = _only(config, todo)
                dismiss(around.share)
                around = replace(around, share=Share())
            else:
                earlier = None  # weights trained anew need not be those that were scored
        if earlier is None and around.scored_only is not None:
            raise GenbenchError(f"{folder.path}: not a finished run with its weights", "finish it with `genbench run`")
        together = f", {around.share.of} processes" if around.share.of > 1 else ""
        names = folder.path.parent.name
        log.note(f"begun: genbench {__version__}, {names}, configuration {config.hash()[:8]}{together}")
        parts = assemble(plugins, config, folder, around, log)
        call(around.share, common_facts(parts))
        return _carry_out(parts, earlier, around, log, stop)


def folder_of(config: RunConfig, around: Surroundings) -> RunFolder:
    """Return the run's place: in the store, unless it is one to be scored where it lies."""
    if around.scored_only is not None:
        return around.scored_only
    similarity = config.similarity.name if config.similarity else None
    return run_folder(around.runs, config.dataset.name, config.model.name, similarity, config.seed, config.hash())


def common_facts(parts: Assembled) -> dict[str, str]:
    """Return hashes of what must be the same in all processes that train a run together."""
    return {"settings": parts.config.hash(), "images": parts.data.fingerprint}


def _carry_out(
    parts: Assembled, earlier: Record | None, around: Surroundings, log: RunLog, stop: Callable[[], bool]
) -> Record | None:
    """Train, score and record; an earlier record of the same weights keeps its scores, whatever happens."""
    if earlier is not None and earlier.data.fingerprint != parts.data.fingerprint:
        raise GenbenchError(
            f"{parts.folder.record_path}: trained and scored on other images than `{parts.data.name}` now has",
            "name the folder with the images as they were by --data, or move the run's folder away to train anew",
        )
    try:
        ending = _train_and_evaluate(parts, earlier, around, log, stop)
    except (GenbenchError, KeyboardInterrupt):
        raise
    except Exception as error:
        if earlier is None:
            saved = read_progress(parts.folder.checkpoint_path) or Progress()
            failed = Ending("failed", saved, without_folders(f"{type(error).__name__}: {error}"))
            _finish(parts, compose_record(parts, failed), log)
        raise
    if ending is None:
        log.note("stopped and saved")
        return None
    record = compose_record(parts, ending)
    return _finish(parts, record if earlier is None else merge(earlier, record), log)


def assemble(
    plugins: Plugins, config: RunConfig, folder: RunFolder, around: Surroundings, observer: RunObserver
) -> Assembled:
    """Prepare the data and build the model."""
    began = datetime.now(UTC)
    keep_freed_memory()
    device = choose_device(around.device)
    if around.share.leads and around.scored_only is None:
        write_config(folder, config.model_dump(mode="json"))
    spec = plugins.dataset(config.dataset.name)
    start = perf_counter()
    dataset = build_part(plugins, spec, config.dataset.settings)
    data = prepare(spec, dataset, config.dataset, around.source, around.cache, observer.preparing)
    prepare_s = perf_counter() - start
    for note in data.notes:
        observer.said(f"note: {note}")
    model = build_model(plugins, config, data).to(device)
    model.to(memory_format=torch.channels_last)
    return Assembled(plugins, config, folder, dataset, data, model, device, prepare_s, began)


def build_model(plugins: Plugins, config: RunConfig, data: PackedDataset) -> Model:
    """Build a run's model, with its weighted similarity, from the run's seed."""
    with seeded(config.seed, "init"):
        similarity = None
        if config.similarity is not None:
            measure = build_part(plugins, plugins.similarity(config.similarity.name), config.similarity.settings)
            similarity = WeightedSimilarity(measure, config.training.similarity_weight)
        blueprint = Blueprint(
            channels=data.channels,
            size=data.size,
            network=config.network,
            images=config.training.images,
            seed=config.seed,
            attribute_names=data.attribute_names,
            similarity=similarity,
        )
        spec = plugins.model(config.model.name)
        settings = build_settings(plugins, spec, config.model.settings)
        target = plugins.resolve(spec.target)
        model = target(blueprint) if settings is None else target(blueprint, settings)  # type: ignore[operator]
    if not isinstance(model, Model):
        raise GenbenchError(
            f"model `{spec.name}`: {spec.target} is a {type(model).__name__}, expected a genbench Model"
        )
    return model


def _ended(folder: RunFolder, config: RunConfig) -> Record | None:
    """Return the record of a run that has ended; a failed one is tried again."""
    if not folder.record_path.exists():
        return None
    record = read_record(folder.record_path)
    if record.config_hash != config.hash():
        raise GenbenchError(
            f"{folder.record_path}: of another configuration ({record.config_hash[:8]}, not {config.hash()[:8]})",
            "a run's folder belongs to one configuration; move the record back to where it came from, or delete it",
        )
    return None if record.status == "failed" else record


def _is_trained(folder: RunFolder, config: RunConfig) -> bool:
    progress = read_progress(folder.checkpoint_path)
    return progress is not None and progress.images_seen >= config.training.images


def _only(config: RunConfig, evaluators: tuple[EvaluatorConfig, ...]) -> RunConfig:
    return config.model_copy(update={"evaluation": EvaluationConfig(evaluators=evaluators)})


def _train_and_evaluate(
    parts: Assembled, earlier: Record | None, around: Surroundings, observer: RunObserver, stop: Callable[[], bool]
) -> Ending | None:
    """Return None where `stop` said so before it was done; what is trained is then saved."""
    config = parts.config
    if around.scored_only is not None:
        saved = load_weights(parts.folder.checkpoint_path, parts.model, config.hash())
        return _evaluate(parts, earlier, around, observer, stop, saved, How(precision=saved.precision))
    batches = load_batches(parts.data, config, parts.device, around.share)
    outcome = train(parts.model, batches, config, parts.folder, observer, stop, around.engine)
    leave(around.share)
    if outcome.fallback:
        observer.said(f"note: steps ran {outcome.engine}: {outcome.fallback}")
    if outcome.status == "stopped":
        return None
    images = "resident" if isinstance(batches, Resident) else "streamed"
    how = How(outcome.engine, outcome.precision, outcome.fallback, images, batches.share.of)
    if outcome.status == "diverged":
        return Ending("diverged", outcome.progress, outcome.reason, how)
    return _evaluate(parts, earlier, around, observer, stop, outcome.progress, how)


def _evaluate(
    parts: Assembled,
    earlier: Record | None,
    around: Surroundings,
    observer: RunObserver,
    stop: Callable[[], bool],
    progress: Progress,
    how: How,
) -> Ending | None:
    """Score what is trained; return None where `stop` said so before it was done.

    A run that was scored before has its record written after each evaluator, so that being killed costs but one.
    """
    start = perf_counter()
    context = EvaluationContext(
        parts.model,
        parts.data,
        parts.config,
        parts.device,
        around.cache,
        plugins=parts.plugins,
        source=parts.source,
        curve=read_curve(parts.folder),
    )

    def ending(found: Evaluation) -> Ending:
        return Ending("ok", progress, how=how, evaluation=found, evaluate_s=perf_counter() - start)

    def keep(found: Evaluation) -> None:
        for sheet in found.sheets:
            write_sheet(sheet, parts.folder.tables_path)
        if earlier is not None:
            done = replace(parts, config=_only(parts.config, found.done))
            write_record(parts.folder, merge(earlier, compose_record(done, ending(found))))

    evaluation = evaluate(context, parts.plugins, parts.config.evaluation.evaluators, observer.said, stop, keep)
    if evaluation is None:
        return None
    try:
        write_pictures(context, parts.folder.images_path)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model whose images can't be shown may have scores that need none
        observer.said(f"warning: no pictures: {explained(error)}")
    return ending(evaluation)


def _finish(parts: Assembled, record: Record, log: RunLog) -> Record:
    """Write the record, and tell the plugins that observe."""
    write_config(parts.folder, record.config)
    write_record(parts.folder, record)
    log.note(f"ended: {record.status}{f': {record.reason}' if record.reason else ''}")
    for problem in parts.plugins.run_finished(record):
        log.said(f"warning: {problem}")
    return record


def compose_record(parts: Assembled, ending: Ending) -> Record:
    """Put together all that is known of a run that has ended."""
    config, data, model, progress = parts.config, parts.data, parts.model, ending.progress
    weighted = model.similarity if isinstance(model.similarity, WeightedSimilarity) else None
    return Record(
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
        similarity_weight=float(weighted.weight) if weighted is not None and weighted.measured else None,
        weights_sha256=weights_sha256(model) if ending.status == "ok" else None,
        scores=ending.evaluation.scores,
        skipped=ending.evaluation.skipped,
        failures=ending.evaluation.failures,
        checks=ending.evaluation.checks,
        cost=Cost(
            prepare_s=parts.prepare_s,
            train_s=progress.train_s,
            evaluate_s=ending.evaluate_s,
            images_per_s=progress.images_seen / progress.train_s if progress.train_s else 0.0,
            peak_memory_bytes=peak_memory_bytes(parts.device),
        ),
        execution=describe_execution(parts.device, ending.how),
        started_utc=parts.began.isoformat(timespec="seconds"),
        finished_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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


def _origins(plugins: Plugins, config: RunConfig) -> tuple[Plugin, ...]:
    """Return where each named part of the run came from."""
    parts: list[tuple[Kind, Literal["model", "similarity", "evaluator", "dataset"], str]] = [
        ("models", "model", config.model.name),
        ("datasets", "dataset", config.dataset.name),
        *(("evaluators", "evaluator", name) for name in dict.fromkeys(c.name for c in config.evaluation.evaluators)),
    ]
    if config.similarity is not None:
        parts.append(("similarities", "similarity", config.similarity.name))
    return tuple(
        Plugin(kind=singular, name=name, distribution=origin[0], version=origin[1])
        for kind, singular, name in parts
        for origin in [plugins.origin(kind, name)]
    )
