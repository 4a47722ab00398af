"""`genbench evaluate`: further scores of finished runs."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from genbench.cli.options import (
    data_option,
    device_option,
    evaluator_names,
    runs_option,
    settings_option,
    threads_option,
)
from genbench.cli.output import data_console, make_table, print_bug, print_error, print_json, warn_of_broken
from genbench.cli.stopping import stoppable
from genbench.config import SamplingConfig
from genbench.errors import GenbenchError, in_one_line
from genbench.plugins import Plugins
from genbench.resolution import resolve_evaluation
from genbench.store import RECORD_NAME, RunFolder, find_records

if TYPE_CHECKING:
    from genbench.cli.progress import Bars, Lines
    from genbench.pipeline import Surroundings
    from genbench.rescoring import Wish

SAMPLERS = get_args(SamplingConfig.model_fields["sampler"].annotation)

NOTHING = "–"

State = Literal["evaluated", "to do", "nothing missing", "not evaluated", "failed", "stopped"]


@dataclass(frozen=True)
class Line:
    """A run in the summary.

    Attributes:
        added: labels of evaluators whose scores were added; in a dry run, of those that would be computed.
        skipped: label and reason.
        failed: label and reason.
        reason: why the run has not been evaluated, or what went wrong, or None.
    """

    run: str
    state: State
    added: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    reason: str | None = None

    @property
    def bad(self) -> bool:
        """Whether something went wrong."""
        return self.state == "failed" or bool(self.failed)


@click.command("evaluate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--evaluators",
    metavar="A,B,...",
    help="Compute these (see `genbench list evaluators`; NAME or NAME:VARIANT) instead of all that run by default; "
    "also where they were skipped or failed before.",
)
@settings_option("A setting of all scores on samples, evaluation.KEY, or of one evaluator, evaluation.EVALUATOR.KEY.")
@click.option("--samples", type=click.IntRange(2), metavar="N", help="Images generated for scores on samples.")
@click.option("--sampler", type=click.Choice(SAMPLERS), help="Where their latents come from.  [default: prior]")
@click.option("--again", is_flag=True, help="Compute what is there already, too, and replace it.")
@data_option
@runs_option("The store to evaluate where no PATHS are given.")
@device_option
@threads_option
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and compute nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    paths: tuple[Path, ...],
    evaluators: str | None,
    settings: tuple[str, ...],
    samples: int | None,
    sampler: str | None,
    again: bool,
    source: Path | None,
    runs: Path,
    device: str,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Compute scores that finished runs lack, and add them to their records.

    PATHS are stores, run folders or record.json files. The same command goes on where it was stopped or killed. A run
    that fails stops no other; the exit status is then 1.
    """
    plugins = Plugins.load()
    warn_of_broken(plugins)
    names = evaluator_names(evaluators)
    own = (("samples", samples), ("sampler", sampler))
    given = (*settings, *(f"evaluation.{key}={value}" for key, value in own if value is not None))
    evaluation = resolve_evaluation(plugins, names, given)
    if not evaluation.evaluators:
        raise GenbenchError("no evaluators to compute", "name some by --evaluators, or leave it out")
    folders, lines = find_runs(paths or (runs,))

    # Only here, once the command is known to be right, is torch worth waiting for.
    import torch

    from genbench.data.sources import cache_folder, source_folder
    from genbench.evaluate.extractors import check_variants
    from genbench.execution import choose_device
    from genbench.pipeline import Surroundings
    from genbench.rescoring import Wish

    if threads is not None:
        torch.set_num_threads(threads)
    check_variants(plugins, evaluation.extractors)
    wish = Wish(evaluation, None if names is None else frozenset(name.partition(":")[0] for name in names), again)
    around = Surroundings(runs, cache_folder(), source_folder(source), str(choose_device(device)))
    with stoppable() as stop:
        for folder in folders:
            line = _evaluate(plugins, folder, wish, None if dry_run else around, stop)
            lines.append(line)
            if line.state == "stopped":
                break
    if as_json:
        print_json([as_plain(line) for line in lines])
    else:
        _print_summary(lines)
    if line.state == "stopped":
        click.echo(_how_to_go_on(folder, again), err=True)
        return 128 + (stop.signal or signal.SIGINT)
    return 1 if any(line.bad for line in lines) else 0


def find_runs(paths: Sequence[Path]) -> tuple[list[RunFolder], list[Line]]:
    """Return the folders of all finished runs in paths, each once, and a line for each place where there is none.

    Raises:
        GenbenchError: a path is not there or no record, or there is no finished run in any.
    """
    folders: dict[Path, RunFolder] = {}
    without: list[Line] = []
    for path in paths:
        if not path.exists():
            raise GenbenchError(f"{path}: no such file or folder", _WHERE)
        if path.is_file() and path.name != RECORD_NAME:
            raise GenbenchError(
                f"{path}: not a run", f"name its folder, or the {RECORD_NAME} that lies there with the checkpoint"
            )
        found, problems = ([path], []) if path.is_file() else find_records(path)
        folders |= {record.resolve().parent: RunFolder(record.parent) for record in found}
        parted = (problem.partition(": ") for problem in problems)
        without += [Line(place, "failed", reason=reason) for place, _, reason in parted]
        if not found and not problems:
            without.append(Line(str(path), "not evaluated", reason="no finished run"))
    if not folders:
        why = "".join(f"; {line.run}: {line.reason}" for line in without if line.state == "failed")
        raise GenbenchError(f"{', '.join(map(str, paths))}: no finished runs{why}", _WHERE)
    return list(folders.values()), without


_WHERE = "make one with `genbench run`, or say where runs are: `genbench evaluate PATH`"


def _evaluate(
    plugins: Plugins, folder: RunFolder, wish: "Wish", around: "Surroundings | None", stop: Callable[[], bool]
) -> Line:
    """Evaluate one run, or say what that would be where `around` is None; errors are told, and stand in the line."""
    from genbench.rescoring import plan, rescore

    name = str(folder.path)
    try:
        planned = plan(folder, wish)
        if planned.obstacle is not None:
            return Line(name, "not evaluated", reason=planned.obstacle)
        if not planned.todo:
            return Line(name, "nothing missing")
        if around is None:
            return Line(name, "to do", planned.todo)
        with _observing(name) as observer:
            outcome = rescore(plugins, folder, planned, around, observer, stop)
    except GenbenchError as error:
        told = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        print_error(GenbenchError(told, error.hint))
        return Line(name, "failed", reason=told.removeprefix(f"{name}: "))
    except Exception as error:
        print_bug(error)
        return Line(name, "failed", reason=in_one_line(error))
    return Line(name, outcome.state, outcome.added, outcome.skipped, outcome.failed)


class _Scoring:
    """Passes on what is told of scoring, and leaves out the training, which is over."""

    def __init__(self, observer: "Lines | Bars") -> None:
        self.observer = observer

    def said(self, message: str) -> None:
        self.observer.said(message)

    def preparing(self, done: int, total: int) -> None:
        self.observer.preparing(done, total)

    def started(self, images_seen: int, budget: int) -> None: ...
    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None: ...


@contextmanager
def _observing(name: str) -> Iterator[_Scoring]:
    from genbench.cli.progress import observing

    with observing(warn_if_slow=False) as observer:
        observer.said(f"run {name}")
        yield _Scoring(observer)


def as_plain(line: Line) -> dict[str, object]:
    """Return a line as JSON has it."""
    return {
        "run": line.run,
        "state": line.state,
        "evaluators": list(line.added),
        "skipped": [{"evaluator": label, "reason": reason} for label, reason in line.skipped],
        "failed": [{"evaluator": label, "reason": reason} for label, reason in line.failed],
        "reason": line.reason,
    }


def _print_summary(lines: Sequence[Line]) -> None:
    """Print a table of what was computed, then the other runs, each with its reason."""
    console = data_console()
    done = [line for line in lines if line.state == "evaluated"]
    planned = [line for line in lines if line.state == "to do"]
    if done:
        rows = [
            (_short(line.run), *map(_listed, (line.added, _labels(line.skipped), _labels(line.failed))))
            for line in done
        ]
        columns = ("run", "added", "skipped", "failed")
        # A column that says nothing leaves its room to the others.
        told = [0, *(i for i in range(1, len(columns)) if any(row[i] != NOTHING for row in rows))]
        console.print(make_table([columns[i] for i in told], [[row[i] for i in told] for row in rows]))
    if planned:
        console.print(
            make_table(("run", "would compute"), [(_short(line.run), _listed(line.added)) for line in planned])
        )
    for line in lines:
        if line.state not in ("evaluated", "to do"):
            reason = f": {line.reason}" if line.reason else ""
            console.print(f"{_short(line.run)}: {line.state}{reason}", soft_wrap=True)


def _short(run: str) -> str:
    """Return the end of a path that tells a run from others: `celeba/vae-mse/s0-07214b93`."""
    return "/".join(Path(run).parts[-3:])


def _labels(entries: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(label for label, _ in entries)


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels) or NOTHING


def _how_to_go_on(folder: RunFolder, again: bool) -> str:
    if again:
        return f"stopped at {folder.path}; the runs before it are done: name the others to go on"
    return "stopped; the same command goes on from here"
