"""`genbench suite`: many runs from one file, what is left of them, and their leaderboard."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.options import data_option, device_option, engine_option, runs_option, threads_option
from genbench.cli.output import print_warnings, warn_of_broken
from genbench.cli.progress import clock
from genbench.cli.stopping import stoppable
from genbench.comparability import grouped, plural
from genbench.errors import GenbenchError
from genbench.plugins import Plugins

if TYPE_CHECKING:
    from genbench.cli.suite_table import Told
    from genbench.executors.interface import Ended, Executor, Job, Terms, Watcher
    from genbench.planning import Plan, Planned, State

NAMED = 6
"""Runs that did not end well that the last line names; each has had a line of its own."""

_LEFT: "Mapping[State, str]" = {
    "train": "to train",
    "resume": "to resume",
    "score": "to score",
    "done": "done",
    "diverged": "diverged",
}
"""What is left of a run, in words."""


@dataclass(frozen=True)
class How:
    """How runs are carried out.

    Attributes:
        executor: `local` or `ray`.
        jobs: runs at once on each device.
        address: of a Ray cluster, or None for one of this machine's own.
        gpus: that each run takes of a Ray cluster, a fraction where several share one; None for one where there is any.
        cpus: cores that each run takes of a Ray cluster.
    """

    executor: str
    jobs: int
    address: str | None
    gpus: float | None
    cpus: float


@click.command("suite")
@click.argument("name", metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Print the plan with its estimated time, and run nothing.")
@click.option(
    "--only",
    "wanted",
    multiple=True,
    metavar="CONDITION",
    help="Only runs for which this holds, such as model=vae or seed<3; as --where of `genbench compare`.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Runs at once a device."
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="local: processes of this machine; ray: tasks of a Ray cluster.",
)
@click.option("--address", metavar="ADDRESS", help="Of the Ray cluster; without it, Ray is started on this machine.")
@click.option(
    "--gpus",
    type=click.FloatRange(0, 1),
    metavar="N",
    help="GPUs that a run takes of a Ray cluster, such as 0.5.  [default: 1 where there is any]",
)
@click.option("--cpus", type=click.FloatRange(0, min_open=True), metavar="N", help="Cores that it takes.  [default: 1]")
@click.option("--retry-unscored", is_flag=True, help="Try evaluators again that were skipped or failed.")
@data_option
@runs_option("Where runs are kept.")
@device_option
@engine_option
@threads_option
def command(
    name: str,
    dry_run: bool,
    wanted: tuple[str, ...],
    jobs: int,
    executor: str,
    address: str | None,
    gpus: float | None,
    cpus: float | None,
    retry_unscored: bool,
    source: Path | None,
    runs: Path,
    device: str,
    engine: str,
    threads: int | None,
) -> int:
    """Carry out all runs of a suite that have not been done, then print their leaderboard.

    FILE is a TOML file, or the name of a suite that comes with genbench: quick, larsen2016, similarity,
    rate-distortion. A run that fails stops no other; the exit status is then 1. The same command goes on where it was
    stopped or killed; several at once may share a store.
    """
    from genbench.planning import only, plan
    from genbench.suite import find_suite, read_suite

    suite = read_suite(find_suite(name))
    plugins = Plugins.load()
    warn_of_broken(plugins)
    if executor != "ray" and (address, gpus, cpus) != (None, None, None):
        raise GenbenchError("--address, --gpus and --cpus are for Ray", "add --executor ray, or leave them out")
    if executor == "ray" and jobs > 1:
        raise GenbenchError("--jobs is for this machine", "Ray carries out as many runs as have room: --cpus, --gpus")
    planned = plan(plugins, suite, runs, retry_unscored=retry_unscored)
    if wanted:
        planned = only(planned, wanted)
    print_plan(planned, jobs)
    if dry_run:
        return 0
    from genbench.data.sources import cache_folder, source_folder
    from genbench.executors.interface import Terms

    _check_variants(plugins, planned)
    if planned.left:
        _check_store(runs)
    terms = Terms(runs.absolute(), cache_folder().absolute(), source_folder(source), engine, threads, retry_unscored)
    status = carry_out(planned, build_executor(terms, device, How(executor, jobs, address, gpus, cpus or 1.0)))
    print_leaderboard(planned, runs)
    return status


def print_plan(plan: "Plan", jobs: int) -> None:
    """Print a plan's rows, what is left of each, and how long it will take."""
    counts = Counter(run.state for run in plan.runs)
    told = ", ".join(f"{counts[state]} {words}" for state, words in _LEFT.items() if counts[state])
    click.echo(f"{plan.name}: {plan.about}" if plan.about else plan.name)
    click.echo(f"{len(plan.runs)} {plural('run', len(plan.runs))}: {told}")
    if plan.twice:
        click.echo(f"{plan.twice} {plural('run', plan.twice)} named by more than one table, and counted once")
    rows = [("run", "seeds", "left", "time")]
    for label, runs in grouped(plan.runs, lambda run: run.row).items():
        states = Counter(run.state for run in runs)
        left = ", ".join(f"{states[state]} {words}" for state, words in _LEFT.items() if states[state])
        rows.append((label, str(len(runs)), left, _time(runs)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row[:3], widths, strict=True))
        click.echo("  ".join([*cells, row[3]]).rstrip())
    click.echo(_whole(plan, jobs))


def carry_out(plan: "Plan", executor: "Executor") -> int:
    """Carry out what is left of a plan and return the exit status: 0, 1 where a run failed, 128 and the signal's."""
    from genbench.cli.suite_table import watching

    endings: dict[str, Ended] = {}
    jobs = [run.job for run in plan.left]
    if not jobs:
        return int(any(run.state == "diverged" for run in plan.runs))
    with stoppable(silent=True) as stop, watching(jobs) as watcher:
        executor.execute(jobs, _Noting(watcher, endings), _Asked(stop, watcher))
    if stop():
        click.echo(f"stopped; `genbench suite` goes on from here ({len(jobs) - len(endings)} not begun)", err=True)
        return 128 + (stop.signal or signal.SIGINT)
    bad = [f"{label} ({how.status})" for label, how in endings.items() if how.status in ("failed", "diverged")]
    if bad:
        named = ", ".join(bad[:NAMED]) + (f" and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
        click.echo(f"{len(bad)} of {len(jobs)} {plural('run', len(jobs))} did not end well: {named}", err=True)
    return int(bool(bad))


def build_executor(terms: "Terms", device: str, how: How) -> "Executor":
    """Build what carries out the runs."""
    if how.executor == "ray":
        from genbench.executors.ray_cluster import RayExecutor

        return RayExecutor(terms, how.address, device, num_cpus=how.cpus, num_gpus=how.gpus)
    from genbench.executors.local import LocalExecutor

    return LocalExecutor(terms, device, how.jobs)


def print_leaderboard(plan: "Plan", runs: Path) -> None:
    """Print the leaderboard of a plan's runs, of those that have a record."""
    from genbench.cli.printing import print_tables
    from genbench.compare import leaderboard
    from genbench.exchange import read_all
    from genbench.store import folder_in

    folders = (folder_in(runs, run.job.config) for run in plan.runs)
    digests, problems = read_all([folder.record_path for folder in folders if folder.record_path.is_file()])
    print_warnings(problems)
    if digests:
        click.echo()
        print_tables(leaderboard(digests))


class _Asked:
    """Whether to stop; says so once, by the watcher: what a signal's handler printed, the live table would wipe out."""

    def __init__(self, stop: "Callable[[], bool]", watcher: "Told") -> None:
        self.stop = stop
        self.watcher = watcher
        self.told = False

    def __call__(self) -> bool:
        if self.stop() and not self.told:
            self.told = True
            self.watcher.show("stopping; once more to stop at once")
        return self.told


class _Noting:
    """Passes everything on to a watcher, and notes how jobs ended."""

    def __init__(self, watcher: "Watcher", endings: "dict[str, Ended]") -> None:
        self.watcher = watcher
        self.endings = endings

    def started(self, job: "Job", where: str) -> None:
        self.watcher.started(job, where)

    def advanced(self, job: "Job", images_seen: int) -> None:
        self.watcher.advanced(job, images_seen)

    def said(self, job: "Job", message: str) -> None:
        self.watcher.said(job, message)

    def ended(self, job: "Job", how: "Ended") -> None:
        self.endings[job.label] = how
        self.watcher.ended(job, how)


def _time(runs: "Sequence[Planned]") -> str:
    left = [run for run in runs if run.left]
    known = [run.seconds for run in left if run.seconds is not None]
    if not left:
        return ""
    return clock(sum(known)) if len(known) == len(left) else "?"


def _whole(plan: "Plan", jobs: int) -> str:
    """Say how long all of it will take, as far as is known."""
    known = [run.seconds for run in plan.left if run.seconds is not None]
    unknown = len(plan.left) - len(known)
    if not plan.left:
        return "nothing left to do"
    if not known:
        return "time: unknown until runs of these kinds have been timed here"
    at_once = f", {jobs} at once" if jobs > 1 else ""
    rest = f", and {unknown} {plural('run', unknown)} of kinds not timed yet" if unknown else ""
    return f"time: about {clock(sum(known) / jobs)}{at_once}, as runs of these kinds took{rest}"


def _check_store(runs: Path) -> None:
    """Refuse, before any run is begun, a store that none could be kept in."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = "is no folder" if runs.exists() else error.strerror
        raise GenbenchError(f"--runs {runs}: {found}", "choose a folder that can be written") from error
    if not os.access(runs, os.W_OK):
        raise GenbenchError(f"--runs {runs}: can't be written", "make it writable, or choose another folder")


def _check_variants(plugins: Plugins, plan: "Plan") -> None:
    """Refuse a misspelt variant of an extractor before hours of training; only asking for one costs torch's import."""
    names = {name for run in plan.left for name in run.job.config.evaluation.extractors if ":" in name}
    if names:
        from genbench.evaluate.extractors import check_variants

        check_variants(plugins, tuple(sorted(names)))
