"""Scoring what is trained: scores are kept as they come, so that being killed costs but the evaluator at work."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from genbench.composing import Assembled, Ending, compose_record
from genbench.errors import GenbenchError, explained
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.merging import missing
from genbench.evaluate.pictures import write_pictures
from genbench.evaluate.sheets import write_sheet
from genbench.records import Record
from genbench.runlog import RunObserver
from genbench.store import read_record, write_record
from genbench.train.checkpoint import weights_sha256
from genbench.train.curve import read_curve


def score(
    parts: Assembled,
    earlier: Record | None,
    cache: Path,
    observer: RunObserver,
    stop: Callable[[], bool],
    trained: Ending,
) -> Ending | None:
    """Score a trained model; return None where `stop` said so before it was done.

    After each evaluator all that is known is written: to the run's record where it has one already, else to a file
    beside it, from which a run that was killed goes on.

    Args:
        parts: with the evaluators to run.
        earlier: the run's record, or None where it has none yet.
        cache: of classifiers and reference statistics.
        observer: gets a line for each score.
        stop: asked before each evaluator.
        trained: how training ended.
    """
    start = perf_counter()
    weights = weights_sha256(parts.model)  # once: it takes longer than writing a record
    before = earlier or _left_over(parts, weights)
    asked = parts.config.evaluation
    todo = asked.evaluators if earlier is not None or before is None else missing(before, asked)
    context = EvaluationContext(
        parts.model,
        parts.data,
        parts.config,
        parts.device,
        cache,
        plugins=parts.plugins,
        source=parts.source,
        curve=read_curve(parts.folder),
        say=observer.said,
    )

    def ending(found: Evaluation) -> Ending:
        took = perf_counter() - start
        return replace(trained, evaluation=found, evaluate_s=took, weights_sha256=weights, before=before)

    def keep(found: Evaluation) -> None:
        for sheet in found.sheets:
            write_sheet(sheet, parts.folder.tables_path)
        write_record(parts.folder, compose_record(parts, ending(found)), unfinished=earlier is None)

    evaluation = evaluate(context, parts.plugins, todo, observer.said, stop, keep)
    if evaluation is None:
        return None
    try:
        write_pictures(context, parts.folder.images_path)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model whose images can't be shown may have scores that need none
        observer.said(f"warning: no pictures: {explained(error)}")
    return ending(evaluation)


def _left_over(parts: Assembled, weights: str) -> Record | None:
    """Return what a killed run had scored of these very weights on these very images."""
    path = parts.folder.unfinished_path
    if not path.exists():
        return None
    try:
        found = read_record(path)
    except GenbenchError:
        return None
    same = (parts.config.hash(), parts.data.fingerprint, weights)
    return found if (found.config_hash, found.data.fingerprint, found.weights_sha256) == same else None
