"""A whole run, from its configuration to its record: prepare → build → train → evaluate → record."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import torch

from genbench import __version__
from genbench.composing import Assembled, Ending, compose_record, outdated, with_evaluators
from genbench.config import Component, RunConfig, TrainingConfig
from genbench.data.batches import Resident, load_batches
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.errors import GenbenchError, recordable
from genbench.evaluate.merging import missing
from genbench.execution import (
    How,
    choose_device,
    telling_what_takes_less_memory,
)
from genbench.interfaces import Model, Similarity
from genbench.networks import Blueprint, seeded
from genbench.pairing import is_mixture, parts_of, settings_by_part
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.resolution import build_part, build_settings
from genbench.runlog import RunLog, RunObserver, logged
from genbench.scoring import score
from genbench.store import RunFolder, folder_in, lock, read_record, write_config, write_record
from genbench.train.checkpoint import Progress, load_weights, read_progress
from genbench.train.distributed import call, dismiss, leave
from genbench.train.film import load_film
from genbench.train.loop import train
from genbench.train.memory import keep_freed_memory
from genbench.train.sharing import Share
from genbench.train.weighting import Mixture, WeightedSimilarity


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
                for change in outdated(earlier, plugins, config):
                    log.said(f"note: {change}; to train it anew, move {folder.path} away")
                return earlier
            if _is_trained(folder, config):
                config = with_evaluators(config, todo)
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
    return folder_in(around.runs, config)


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
    except (Exception, SystemExit) as error:  # a plugin may do anything
        if earlier is None:
            saved = read_progress(parts.folder.checkpoint_path) or Progress()
            failed = Ending("failed", saved, recordable(f"{type(error).__name__}: {error}"))
            _finish(parts, compose_record(parts, failed), log)
        raise
    if ending is None:
        log.note("stopped and saved")
        return None
    return _finish(parts, compose_record(parts, ending), log)


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
        similarity = (
            None if config.similarity is None else build_similarity(plugins, config.similarity, config.training)
        )
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


def build_similarity(plugins: Plugins, component: Component, training: TrainingConfig) -> Similarity:
    """Build a run's similarity, alone or a mixture, with the weight that it is to have."""
    parts = parts_of(plugins, component.name)
    built = {
        part.name: WeightedSimilarity(build_part(plugins, part.spec, values), training.similarity_weight)
        for part, values in zip(parts, settings_by_part(parts, component.settings), strict=True)
    }
    return Mixture(built, [part.share for part in parts]) if is_mixture(component.name) else built[component.name]


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


def _train_and_evaluate(
    parts: Assembled, earlier: Record | None, around: Surroundings, observer: RunObserver, stop: Callable[[], bool]
) -> Ending | None:
    """Return None where `stop` said so before it was done; what is trained is then saved."""
    config = parts.config
    if around.scored_only is not None:
        saved = load_weights(parts.folder.checkpoint_path, parts.model, config.hash())
        trained = Ending("ok", saved, how=How(precision=saved.precision))
        return score(parts, earlier, around.cache, observer, stop, trained)
    batches = load_batches(parts.data, config, parts.device, around.share)
    film = load_film(parts.model, parts.data, config, parts.folder, observer.said)
    outcome = train(parts.model, batches, config, parts.folder, observer, stop, around.engine, film)
    leave(around.share)
    if outcome.fallback:
        observer.said(f"note: steps ran {outcome.engine}: {outcome.fallback}")
    if outcome.status == "stopped":
        return None
    images = "resident" if isinstance(batches, Resident) else "streamed"
    how = How(outcome.engine, outcome.precision, outcome.fallback, images, batches.share.of)
    if outcome.status == "diverged":
        return Ending("diverged", outcome.progress, outcome.reason, how)
    return score(parts, earlier, around.cache, observer, stop, Ending("ok", outcome.progress, how=how))


def _finish(parts: Assembled, record: Record, log: RunLog) -> Record:
    """Write the record, and tell the plugins that observe."""
    write_config(parts.folder, record.config)
    write_record(parts.folder, record)
    if record.status == "ok":
        parts.folder.unfinished_path.unlink(missing_ok=True)
    log.note(f"ended: {record.status}{f': {record.reason}' if record.reason else ''}")
    for problem in parts.plugins.run_finished(record, parts.folder.path):
        log.said(f"warning: {problem}")
    return record
