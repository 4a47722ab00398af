"""Further scores of finished runs, wherever they lie: what is missing, and whether the weights are those scored before.

Nothing is ever trained here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from genbench.config import EvaluationConfig, EvaluatorConfig, RunConfig
from genbench.errors import GenbenchError
from genbench.evaluate.merging import missing
from genbench.pipeline import Surroundings, run
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.runlog import RunObserver
from genbench.store import RunFolder, read_record
from genbench.train.checkpoint import inspect_checkpoint


@dataclass(frozen=True)
class Wish:
    """What is asked of every run.

    Attributes:
        evaluation: the evaluators, those that run always included.
        named: names of those that were asked for, which are tried again where they were skipped or failed; None where
            it is those that run by default, which are not.
        again: whether what was asked for is computed anew where it is there already.
    """

    evaluation: EvaluationConfig
    named: frozenset[str] | None = None
    again: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done for one run.

    Attributes:
        config: the run's own, with the evaluators that are to be computed; nothing is to be done where there are none.
        obstacle: why the run can't be scored, though nothing is wrong; such a run did not end well.
    """

    record: Record
    config: RunConfig
    obstacle: str | None = None

    @property
    def todo(self) -> tuple[str, ...]:
        """Return the labels of the evaluators to compute."""
        return tuple(component.label for component in self.config.evaluation.evaluators)


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        added: labels of the evaluators whose scores are now in the record.
        skipped: label and reason of those that do not apply.
        failed: label and reason of those that went wrong.
    """

    state: Literal["evaluated", "stopped"]
    added: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def plan(folder: RunFolder, wish: Wish) -> Plan:
    """Read a run and say what it lacks.

    Raises:
        GenbenchError: its record can't be read, its configuration means nothing to this genbench, or its checkpoint is
            gone, unfinished, of another format or configuration, or holds other weights than were scored.
    """
    record = read_record(folder.record_path)
    config = restore(record)
    if record.status != "ok":
        return Plan(record, config, f"{record.status}: {record.reason or 'no reason is known'}")
    todo = _lacking(record, wish)
    if todo:
        check_weights(folder, record)
    return Plan(record, config.model_copy(update={"evaluation": EvaluationConfig(evaluators=todo)}))


def restore(record: Record) -> RunConfig:
    """Return the configuration of a record, without its evaluation.

    Raises:
        GenbenchError: this genbench can't read it, or reads something else in it than was run.
    """
    wrote = record.execution.versions.get("genbench", "another version")
    hint = f"evaluate it with the genbench that wrote it ({wrote}), or train it again"
    try:
        config = RunConfig.model_validate({**record.config, "evaluation": {}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise GenbenchError(f"its configuration is no longer valid: {place}: {first['msg']}", hint) from error
    if config.hash() != record.config_hash:
        new = ", ".join(_unknown_to(record.config, config))
        why = f"is of an older genbench, which did not know {new}" if new else "was edited, or is of an older genbench"
        raise GenbenchError(f"its configuration ({record.config_hash[:8]}) {why}", hint)
    return config


def _unknown_to(written: Mapping[str, object], config: RunConfig) -> Iterator[str]:
    """Yield the settings of every run that a record's configuration lacks, dotted."""
    for section, now in config.model_dump(mode="json", exclude={"evaluation"}).items():
        before = written.get(section)
        if isinstance(now, dict) and isinstance(before, Mapping):
            yield from (f"{section}.{key}" for key in now if key not in before)


_MEND = "put the checkpoint back that was scored, or move the run's folder away and train again"


def check_weights(folder: RunFolder, record: Record) -> None:
    """Look whether a checkpoint is whole and holds the weights that were scored.

    Raises:
        GenbenchError: it is not.
    """
    path = folder.checkpoint_path
    if not path.exists():
        raise GenbenchError(f"its checkpoint is gone: {path}", _MEND)
    try:
        progress, found = inspect_checkpoint(path, record.config_hash)
    except GenbenchError as error:  # its own hint is for a run that has no record yet
        raise GenbenchError(error.message, _MEND) from error
    if progress.images_seen < record.images_asked:
        raise GenbenchError(f"{path}: trained on {progress.images_seen:,} of {record.images_asked:,} images", _MEND)
    if record.weights_sha256 not in (None, found):
        raise GenbenchError(
            f"{path}: these weights are not those that were scored (SHA-256 {found[:8]}…, the record says "
            f"{str(record.weights_sha256)[:8]}…)",
            _MEND,
        )


def rescore(
    plugins: Plugins,
    folder: RunFolder,
    planned: Plan,
    around: Surroundings,
    observer: RunObserver,
    stop: Callable[[], bool],
) -> Outcome:
    """Compute what was planned for one run and add it to its record, evaluator by evaluator.

    Raises:
        GenbenchError: as `genbench.pipeline.run`; what was added before is kept.
    """
    # The plan has decided already what is computed: all of it.
    own = replace(around, scored_only=folder, again=True)
    record = run(plugins, planned.config, own, observer, stop)
    if record is None:
        return Outcome("stopped")
    skipped, failed = (
        tuple((entry.evaluator, entry.reason) for entry in entries if entry.evaluator in planned.todo)
        for entries in (record.skipped, record.failures)
    )
    without = {label for label, _ in (*skipped, *failed)}
    return Outcome("evaluated", tuple(label for label in planned.todo if label not in without), skipped, failed)


def _lacking(record: Record, wish: Wish) -> tuple[EvaluatorConfig, ...]:
    """Return the evaluators to compute; those that merely run always have their turn where they are missing."""
    todo: list[EvaluatorConfig] = []
    for component in wish.evaluation.evaluators:
        asked = wish.named is None or component.name in wish.named
        todo += missing(
            record,
            EvaluationConfig(evaluators=(component,)),
            retry_unscored=asked and wish.named is not None,
            again=asked and wish.again,
        )
    return tuple(todo)
