"""Suites: many runs from one TOML file, data only. Imports no torch.

A suite has one or more tables `[[runs]]`, each a run or, where values are lists, the grid of all their combinations;
`[defaults]` holds what they share.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from genbench.authored import at, find_file, known_files, plain, read_toml, shown, split_name, unknown_key, wrong_value
from genbench.config import Frozen
from genbench.errors import GenbenchError
from genbench.resolution import RunRequest

MOST_RUNS = 1_000_000
"""A grid of more runs than this is a mistake."""

_EXAMPLE = "see benchmarks/quick.toml for an example"

# Strict, or "3" and true would count as numbers.
Whole = Annotated[int, Field(strict=True)]
Number = Whole | Annotated[float, Field(strict=True)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Setting = str | bool | int | float

_NAMES, _WHOLES = "a name or a list of them", "a whole number or a list of them"
_EXPECTED = {
    "about": "a text",
    "defaults": "a table: [defaults]",
    "runs": "tables: [[runs]]",
    "model": _NAMES,
    "dataset": _NAMES,
    "similarity": _NAMES,
    "similarity_weight": "`auto`, `calibrated`, a number or a list of them",
    "preset": _NAMES,
    "size": _WHOLES,
    "width": "a number or a list of them",
    "images": _WHOLES,
    "batch_size": _WHOLES,
    "precision": _NAMES,
    "settings": "a table: [runs.settings]",
    "seeds": f"how many, from 1 to {MOST_RUNS:,}, or a list of whole numbers of 0 or more",
    "evaluators": "a list of names",
}
"""What a suite's file may hold, by key, in words."""


def _some(values: Any) -> Any:
    if isinstance(values, list | tuple) and not values:
        raise ValueError("an empty list makes a grid of no runs")
    return values


Some = AfterValidator(_some)
Seeds = Annotated[tuple[Seed, ...] | Annotated[Whole, Field(ge=1, le=MOST_RUNS)], Some]
"""Seeds one by one, or how many, from 0."""


class Runs(Frozen):
    """A run, or a grid of runs: the keys are the options of `genbench run`, and any value may be a list of values.

    Attributes:
        settings: as `--set KEY=VALUE`; a value that is a list is an axis of the grid as well.
        seeds: a list, or how many, from 0; always an axis.
        evaluators: NAME or NAME:VARIANT, for every run of the table; never an axis.
    """

    model: Annotated[str | tuple[str, ...] | None, Some] = None
    dataset: Annotated[str | tuple[str, ...] | None, Some] = None
    similarity: Annotated[str | tuple[str, ...] | None, Some] = None
    similarity_weight: Annotated[str | Number | tuple[str | Number, ...] | None, Some] = None
    preset: Annotated[str | tuple[str, ...] | None, Some] = None
    size: Annotated[Whole | tuple[Whole, ...] | None, Some] = None
    width: Annotated[Number | tuple[Number, ...] | None, Some] = None
    images: Annotated[Whole | tuple[Whole, ...] | None, Some] = None
    batch_size: Annotated[Whole | tuple[Whole, ...] | None, Some] = None
    precision: Annotated[str | tuple[str, ...] | None, Some] = None
    settings: dict[str, Annotated[Setting | tuple[Setting, ...], Some]] = Field(default_factory=dict)
    seeds: Seeds | None = None
    evaluators: tuple[str, ...] | None = None


class SuiteConfig(Frozen):
    """A suite's file.

    Attributes:
        about: what it is for, for people.
        defaults: what every table has where it says nothing itself; settings are merged one by one.
    """

    about: str = ""
    defaults: Runs = Runs()
    runs: Annotated[tuple[Runs, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Suite:
    """A suite, read and expanded.

    Attributes:
        name: of its file, without the ending.
        requests: each with its seeds, in the order of the file.
    """

    name: str
    about: str
    requests: tuple[tuple[RunRequest, tuple[int, ...]], ...]


def find_suite(name: str) -> Path:
    """Return the file of a suite: a path, or the name of one that comes with genbench.

    Raises:
        GenbenchError: there is neither.
    """
    return find_file("suite", name, known_suites())


def known_suites() -> dict[str, Path]:
    """Return the suites that come with genbench, by name."""
    return known_files()


def read_suite(path: Path) -> Suite:
    """Read a suite's file.

    Raises:
        GenbenchError: it can't be read, is not TOML, has an unknown key or a value of the wrong type, or makes no runs,
            too many, or the same one twice in one table.
    """
    value = read_toml(path, _EXAMPLE)
    try:
        config = SuiteConfig.model_validate(value)
    except ValidationError as error:
        raise _invalid(path, value, error) from error
    return Suite(path.stem, config.about, tuple(_expanded(path, config)))


def _expanded(path: Path, config: SuiteConfig) -> Iterator[tuple[RunRequest, tuple[int, ...]]]:
    total = 0
    for number, table in enumerate(config.runs, 1):
        where = f"{path}: runs table {number}"
        given = _merged(config.defaults, table)
        seeds = _seeds(given.pop("seeds", None))
        axes = _axes(given)
        total += _size(axes.values()) * len(seeds)
        if total > MOST_RUNS:
            raise GenbenchError(f"{where}: a grid of over {MOST_RUNS:,} runs", "make its lists shorter")
        for key in ("model", "dataset"):
            if key not in axes:
                raise GenbenchError(f"{where}: no {key}", f'say which, such as {key} = "…", or in [defaults]')
        for key, values in {**axes, "seeds": seeds}.items():
            twice = [text for text, times in Counter(map(repr, values)).items() if times > 1]
            if twice:
                raise GenbenchError(f"{where}: {key} has {twice[0]} twice, so the same runs twice", "leave out one")
        evaluators = given.get("evaluators")
        for values in product(*axes.values()):
            yield _request(dict(zip(axes, values, strict=True)), evaluators), seeds


def _merged(defaults: Runs, table: Runs) -> dict[str, Any]:
    """Return what a table says, and the defaults where it says nothing; keys that nobody set are left out."""
    own, common = ({key: getattr(part, key) for key in part.model_fields_set} for part in (table, defaults))
    return {**common, **own, "settings": {**defaults.settings, **table.settings}}


def _axes(given: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each option, dotted ones being settings."""
    options = {key: value for key, value in given.items() if key not in ("settings", "evaluators")}
    both = {**options, **{f"settings.{key}": value for key, value in given["settings"].items()}}
    return {key: value if isinstance(value, tuple) else (value,) for key, value in both.items()}


def _size(axes: Any) -> int:
    total = 1
    for values in axes:
        total *= len(values)
    return total


def _seeds(given: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if given is None:
        return (0,)
    return tuple(range(given)) if isinstance(given, int) else given


def _request(options: Mapping[str, Any], evaluators: tuple[str, ...] | None) -> RunRequest:
    own = {key: value for key, value in options.items() if not key.startswith("settings.")}
    weight = own.pop("similarity_weight", None)
    return RunRequest(
        **own,
        similarity_weight=None if weight is None else str(weight),
        evaluators=evaluators,
        settings=tuple(
            f"{key.removeprefix('settings.')}={plain(value)}"
            for key, value in options.items()
            if key.startswith("settings.")
        ),
    )


def _invalid(path: Path, value: Mapping[str, Any], error: ValidationError) -> GenbenchError:
    """Turn the first of pydantic's complaints into ours."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    loc = first["loc"]
    in_runs = loc[0] == "runs" and len(loc) > 1 and isinstance(loc[1], int)
    depth = 2 if in_runs else int(loc[0] == "defaults" and len(loc) > 1)
    where = f"{path}: {f'runs table {int(loc[1]) + 1}' if in_runs else loc[0]}" if depth else f"{path}"
    if first["type"] == "extra_forbidden":
        return unknown_key(where, str(loc[-1]), Runs.model_fields if depth else SuiteConfig.model_fields)
    if first["type"] in ("missing", "too_short"):
        return GenbenchError(f"{path}: no runs", 'a suite has at least one table: [[runs]] with model = "…"')
    if len(loc) == depth:  # a table that is none
        return GenbenchError(f"{where} is {shown(at(value, loc))}, expected a table", _EXAMPLE)
    field, in_settings = str(loc[depth]), loc[depth] == "settings" and len(loc) > depth + 1
    place = loc[: depth + 1 + in_settings]
    name = ".".join(map(str, place[depth:]))
    if first["type"] == "value_error":
        return GenbenchError(f"{where}: {name}: {first['msg'].removeprefix('Value error, ')}", _EXAMPLE)
    found = at(value, place)
    expected = "a text, a number, true, false, or a list of them" if in_settings else _EXPECTED[field]
    hint = split_name(str(place[-1]), found) if in_settings else None
    return wrong_value(where, name, found, expected, hint or _EXAMPLE)
