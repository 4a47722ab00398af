"""From a suite to the runs that are left to do: resolved, told apart, and looked up in the store. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from genbench.comparability import flat, grouped, label, telling
from genbench.config import EvaluationConfig, RunConfig
from genbench.digest import Digest, Digester
from genbench.errors import GenbenchError
from genbench.estimates import Estimates
from genbench.evaluate.merging import missing
from genbench.exchange import read_digest
from genbench.executors.interface import Job
from genbench.plugins import Plugins
from genbench.records import RunIdentity
from genbench.resolution import RunRequest, resolve, resolve_evaluation
from genbench.selection import condition, narrowed
from genbench.store import RunFolder, folder_in
from genbench.suite import Suite

State = Literal["done", "diverged", "score", "resume", "train"]
"""What is left of a run: nothing, since it ended or diverged; scores alone; part of its training; all of it."""

_EVALUATION = "evaluation."


@dataclass(frozen=True)
class Planned:
    """One run of a suite.

    Attributes:
        row: its job's label without the seed.
        seconds: that it is estimated to take; None where nothing like it has been timed, 0 where nothing is left.
    """

    job: Job
    row: str
    state: State
    seconds: float | None

    @property
    def left(self) -> bool:
        """Whether there is anything to do."""
        return self.state not in ("done", "diverged")


@dataclass(frozen=True)
class Plan:
    """A suite's runs, in the order in which they are carried out: the first seed of every row comes first.

    Attributes:
        twice: how many runs stood in more than one table, and count once.
    """

    name: str
    about: str
    runs: tuple[Planned, ...]
    twice: int = 0

    @property
    def left(self) -> tuple[Planned, ...]:
        """Return the runs with something left to do."""
        return tuple(run for run in self.runs if run.left)


@dataclass(frozen=True)
class _Row:
    """Runs that differ in seed alone; `config` and its hash are those of seed 0, whatever the seeds are."""

    config: RunConfig
    seeds: tuple[int, ...]
    hash: str
    label: str = ""


def plan(plugins: Plugins, suite: Suite, runs: Path, *, retry_unscored: bool = False) -> Plan:
    """Resolve a suite's runs and look up what is left of each.

    Args:
        plugins: where names are looked up.
        suite: what to run.
        runs: root of the store.
        retry_unscored: whether a finished run lacks the evaluators asked for that were skipped or failed.

    Raises:
        GenbenchError: a run that makes no sense, with the name of the suite.
    """
    rows, twice = _distinct(list(_resolved(plugins, suite)))
    estimates, look = Estimates(runs), _Look(runs, retry_unscored)
    planned = []
    for row in _labelled(rows):
        for place, seed in enumerate(row.seeds):
            config = row.config.model_copy(update={"seed": seed}) if seed else row.config
            state = look(config, config.hash() if seed else row.hash)
            job = Job(f"{row.label} seed {seed}", config)
            planned.append((place, Planned(job, row.label, state, estimates.seconds(config, state))))
    planned.sort(key=lambda pair: pair[0])
    return Plan(suite.name, suite.about, tuple(run for _, run in planned), twice)


def only(plan: Plan, conditions: Sequence[str]) -> Plan:
    """Return the part of a plan for which all conditions hold, each `KEY OP VALUE` as `genbench.selection` has them.

    Raises:
        GenbenchError: a condition makes no sense, or no run is left.
    """
    described = [_Described(run) for run in plan.runs]
    kept, _ = narrowed(described, [condition(text, "--only") for text in conditions])
    return replace(plan, runs=tuple(each.planned for each in kept))


class _Described:
    """A planned run as conditions see it."""

    def __init__(self, planned: Planned) -> None:
        config = planned.job.config
        model, similarity = _names(config)
        self.planned = planned
        self.run = RunIdentity(model=model, similarity=similarity, dataset=config.dataset.name, seed=config.seed)
        self.status = planned.state
        self.config: Mapping[str, object] = config.model_dump(mode="json")


def _resolved(plugins: Plugins, suite: Suite) -> Iterator[_Row]:
    evaluations: dict[tuple[object, ...], EvaluationConfig] = {}
    for request, seeds in suite.requests:
        scoring = tuple(text for text in request.settings if text.startswith(_EVALUATION))
        others = tuple(text for text in request.settings if not text.startswith(_EVALUATION))
        key = (request.evaluators, scoring)
        try:
            # Which scores are asked for is the same for most runs, and takes the longest to resolve.
            if key not in evaluations:
                evaluations[key] = resolve_evaluation(plugins, request.evaluators, scoring)
            config = resolve(plugins, replace(request, settings=others, evaluators=()))
        except GenbenchError as error:
            raise GenbenchError(f"suite `{suite.name}`, {_said(request)}: {error.message}", error.hint) from error
        yield _Row(config.model_copy(update={"evaluation": evaluations[key]}), seeds, config.hash())


def _said(request: RunRequest) -> str:
    similarity = f" with {request.similarity}" if request.similarity else ""
    return f"{request.model}{similarity} on {request.dataset}"


def _distinct(rows: Sequence[_Row]) -> tuple[list[_Row], int]:
    """Put rows of one configuration together, with the seeds and evaluators of all; return how many runs were double.

    Two tables may well name the same run: a grid and a sweep through one of its points.
    """
    merged = []
    twice = 0
    for alike in grouped(rows, lambda row: row.hash).values():
        seeds = tuple(dict.fromkeys(seed for row in alike for seed in row.seeds))
        twice += sum(len(row.seeds) for row in alike) - len(seeds)
        if len(alike) > 1:
            asked = {each.label: each for row in alike for each in row.config.evaluation.evaluators}
            evaluation = EvaluationConfig(evaluators=tuple(asked.values()))
            config = alike[0].config.model_copy(update={"evaluation": evaluation})
            merged.append(replace(alike[0], config=config, seeds=seeds))
        else:
            merged.append(alike[0])
    return merged, twice


def _labelled(rows: Sequence[_Row]) -> list[_Row]:
    """Name each row as a leaderboard would, and by its data set where there are several."""
    by_data = grouped(range(len(rows)), lambda index: rows[index].config.dataset.name)
    labels: dict[int, str] = {}
    for data, alike in by_data.items():
        names = [_names(rows[index].config) for index in alike]
        flats = [flat(rows[index].config.model_dump(mode="json", exclude={"seed", "evaluation"})) for index in alike]
        on = f" on {data}" if len(by_data) > 1 else ""
        for index, name, settings in zip(alike, names, telling(names, flats), strict=True):
            labels[index] = label(*name, settings) + on
    return [replace(row, label=labels[index]) for index, row in enumerate(rows)]


def _names(config: RunConfig) -> tuple[str, str | None]:
    return config.model.name, config.similarity.name if config.similarity else None


class _Look:
    """Looks up what the store has of a run."""

    def __init__(self, runs: Path, retry_unscored: bool) -> None:
        self.runs = runs
        self.retry_unscored = retry_unscored
        self.digester = Digester()
        self.lacking: dict[tuple[int, int], bool] = {}
        self.there: dict[Path, frozenset[str]] = {}

    def __call__(self, config: RunConfig, config_hash: str) -> State:
        folder = folder_in(self.runs, config, config_hash)
        if not self._is_there(folder):
            return "train"
        digest = read_digest(self.digester, folder.record_path)
        # A record that can't be read is left to the run itself, which says what is wrong with it.
        if digest is None or digest.status == "failed" or digest.config_hash != config_hash:
            return "resume" if folder.checkpoint_path.exists() else "train"
        if digest.status == "diverged":
            return "diverged"
        return "score" if self._lacks(digest, config.evaluation) else "done"

    def _is_there(self, folder: RunFolder) -> bool:
        """Look whether a folder exists, by one look at all of its kind."""
        parent = folder.path.parent
        if parent not in self.there:
            self.there[parent] = frozenset(p.name for p in parent.iterdir()) if parent.is_dir() else frozenset()
        return folder.path.name in self.there[parent]

    def _lacks(self, digest: Digest, asked: EvaluationConfig) -> bool:
        if self.retry_unscored and (digest.skipped or digest.failures):
            return bool(missing(digest, asked, retry_unscored=True))
        key = (id(digest.config.get("evaluation")), id(asked))  # equal texts of many records are decoded once
        if key not in self.lacking:
            self.lacking[key] = bool(missing(digest, asked))
        return self.lacking[key]
