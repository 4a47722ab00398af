"""Suites: many runs from one TOML file, data only. Imports no torch.

A suite has one or more tables `[[runs]]`, each a run or, where values are lists, the grid of all their combinations;
`[defaults]` holds what they share.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from genbench.config import Frozen
from genbench.errors import GenbenchError, did_you_mean, unknown_name
from genbench.resolution import RunRequest

MOST_RUNS = 1_000_000
"""A grid of more runs than this is a mistake."""

_PACKAGED = Path(__file__).parent / "suites"
_IN_REPOSITORY = Path(__file__).parent.parent / "benchmarks"

Number = int | float
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Setting = str | bool | int | float


def _some(values: Any) -> Any:
    if isinstance(values, list | tuple) and not values:
        raise ValueError("an empty list makes a grid of no runs")
    return values


Some = AfterValidator(_some)
Seeds = Annotated[tuple[Seed, ...] | Annotated[int, Field(ge=1, le=MOST_RUNS)], Some]
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
    size: Annotated[int | tuple[int, ...] | None, Some] = None
    width: Annotated[Number | tuple[Number, ...] | None, Some] = None
    images: Annotated[int | tuple[int, ...] | None, Some] = None
    batch_size: Annotated[int | tuple[int, ...] | None, Some] = None
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
    path = Path(name)
    if path.is_file():
        return path
    known = known_suites()
    if name in known:
        return known[name]
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise GenbenchError(f"{path}: no such file", f"suites that come with genbench: {', '.join(known)}")
    raise unknown_name("suite", name, known)


def known_suites() -> dict[str, Path]:
    """Return the suites that come with genbench, by name."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_REPOSITORY
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(path: Path) -> Suite:
    """Read a suite's file.

    Raises:
        GenbenchError: it can't be read, is not TOML, has an unknown key or a value of the wrong type, or makes no runs,
            too many, or the same one twice in one table.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GenbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GenbenchError(f"{path}: not TOML: {error}", "see benchmarks/quick.toml for an example") from error
    try:
        config = SuiteConfig.model_validate(value)
    except ValidationError as error:
        raise _invalid(path, error) from error
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
            f"{key.removeprefix('settings.')}={_text(value)}"
            for key, value in options.items()
            if key.startswith("settings.")
        ),
    )


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _invalid(path: Path, error: ValidationError) -> GenbenchError:
    """Turn the first of pydantic's complaints into ours."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    names = [part for part in first["loc"] if part in {*SuiteConfig.model_fields, *Runs.model_fields}]
    number = next((part + 1 for part in first["loc"] if isinstance(part, int)), None)
    table = f"runs table {number}" if first["loc"][:1] == ("runs",) and number else str(first["loc"][0])
    where = f"{path}: {table}" if len(first["loc"]) > 1 else f"{path}"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = Runs.model_fields if len(first["loc"]) > 1 else SuiteConfig.model_fields
        return GenbenchError(f"{where}: unknown key `{key}`", did_you_mean(key, known) or f"known: {', '.join(known)}")
    if first["type"] == "missing" or (first["type"] == "too_short" and first["loc"] == ("runs",)):
        return GenbenchError(f"{path}: no runs", 'a suite has at least one table: [[runs]] with model = "…"')
    said = first["msg"].removeprefix("Value error, ")
    key = str(names[-1]) if names else ""
    return GenbenchError(f"{where}: {key}: {said[0].lower()}{said[1:]}", f"see {_IN_REPOSITORY.name}/quick.toml")
