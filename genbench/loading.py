"""Loading a plugin: from an entry point, a file or an object to its sound declarations and what is wrong with it.

Imports no torch.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isroutine
from pathlib import Path
from types import ModuleType
from typing import Literal

from pluggy import PluginManager, PluginValidationError

from genbench import hookspecs
from genbench.errors import did_you_mean, in_one_line
from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, SimilaritySpec, Spec

GROUP = "genbench"

Kind = Literal["models", "similarities", "evaluators", "extractors", "datasets"]
KINDS: tuple[Kind, ...] = ("models", "similarities", "evaluators", "extractors", "datasets")

SINGULAR: dict[Kind, str] = {
    "models": "model",
    "similarities": "similarity",
    "evaluators": "evaluator",
    "extractors": "extractor",
    "datasets": "dataset",
}
TYPES: dict[Kind, type[Spec]] = {
    "models": ModelSpec,
    "similarities": SimilaritySpec,
    "evaluators": EvaluatorSpec,
    "extractors": ExtractorSpec,
    "datasets": DatasetSpec,
}


@dataclass(frozen=True)
class Candidate:
    """A plugin that is yet to be loaded.

    Attributes:
        load: returns the module or object that carries the hooks; may raise anything.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], object]


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin after loading.

    Attributes:
        specs: all that it declares and that is sound, even where something else in it is broken.
        problem: what is wrong with it, in one line, or None.
    """

    name: str
    distribution: str
    version: str
    specs: tuple[Spec, ...] = ()
    problem: str | None = None

    @property
    def title(self) -> str:
        """Return `name (distribution version)`."""
        return f"{self.name} ({self.distribution} {self.version})"


def from_entry_point(entry: EntryPoint) -> Candidate:
    """Return the plugin that an installed distribution names."""
    metadata = entry.dist.metadata if entry.dist else None
    name, version = (metadata["Name"], metadata["Version"]) if metadata else (None, None)
    return Candidate(entry.name, name or "unknown", version or "unknown", entry.load)


def from_file(path: Path) -> Candidate:
    """Return the plugin that a file is."""
    # A file has no version, so its content stands in: a record then tells two states of it apart.
    version = f"sha256-{sha256(path.read_bytes()).hexdigest()[:12]}"
    return Candidate(path.stem, path.name, version, lambda: _import_file(path))


def from_object(plugin: object) -> Candidate:
    """Return the plugin that a module or another object is."""
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return Candidate(name, name, "0", lambda: plugin)


def _import_file(path: Path) -> ModuleType:
    """Import a file under its stem, where targets such as `genbenchfile:Mine` then find it."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def load(candidate: Candidate) -> tuple[LoadedPlugin, PluginManager]:
    """Load a plugin, whatever is wrong with it, and return it with the manager that calls its hooks."""
    manager = PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    state = LoadedPlugin(candidate.name, candidate.distribution, candidate.version)
    try:
        with quiet_stdout():
            plugin = candidate.load()
            manager.register(plugin, candidate.name)
            problems = _hook_problems(manager, plugin)
    except PluginValidationError as error:
        return replace(state, problem=" ".join(str(error).split())), manager
    except (Exception, SystemExit) as error:
        return replace(state, problem=f"importing it {reason(error)}"), manager
    specs: list[Spec] = []
    for kind in KINDS:
        problems += _collect(manager, kind, specs)
    return replace(state, specs=tuple(specs), problem="; ".join(problems) or None), manager


def _hook_problems(manager: PluginManager, plugin: object) -> list[str]:
    """Return what is wrong with the names and decorators of a plugin's hooks."""
    callers = manager.get_hookcallers(plugin) or []
    known = [name for name in vars(hookspecs) if name.startswith("genbench_")]
    problems = [
        f"`{name}` is not decorated with `@genbench.hookimpl`"
        for name in known
        if _is_unmarked(getattr(plugin, name, None))
    ]
    try:
        manager.check_pending()
    except PluginValidationError:
        unknown = sorted(caller.name for caller in callers if not caller.has_spec())
        problems += [
            f"unknown hook `{n}`: {did_you_mean(n, known) or 'known are ' + ', '.join(known)}" for n in unknown
        ]
    if not callers and not problems:
        problems.append("it has no hook: nothing in it is decorated with `@genbench.hookimpl`")
    return problems


def _is_unmarked(function: object) -> bool:
    return isroutine(function) and not hasattr(function, "genbench_impl") and not hasattr(function, "genbench_spec")


def _collect(manager: PluginManager, kind: Kind, into: list[Spec]) -> list[str]:
    """Call the hook that declares one kind; put what is sound `into` the list and return what is wrong."""
    hook = f"genbench_{kind}"
    caller = getattr(manager.hook, hook)
    problems: list[str] = []
    if not caller.get_hookimpls():
        return problems
    try:
        with quiet_stdout():
            for result in caller() or [None]:
                _sort_out(hook, TYPES[kind], result, into, problems)
    except (Exception, SystemExit) as error:
        problems.append(f"{hook} {reason(error)}")
    return problems


def _sort_out(hook: str, expected: type[Spec], result: object, into: list[Spec], problems: list[str]) -> None:
    if not isinstance(result, Iterable):
        problems.append(f"{hook} returned {_describe(result)}, expected an iterable of {expected.__name__}")
        return
    for spec in result:
        if isinstance(spec, expected):
            into.append(spec)
        else:
            problems.append(f"{hook} gave {_describe(spec)}, expected {expected.__name__}")


def _describe(value: object) -> str:
    return f"{type(value).__name__} `{value.name}`" if isinstance(value, Spec) else f"{value!r:.60}"


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send what a plugin prints to stderr: stdout is for data."""
    with redirect_stdout(sys.stderr):
        yield


def reason(error: BaseException) -> str:
    """Say in one line what was raised and where."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}){_place(error)}"
    return f"raised {in_one_line(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return the last line of a plugin's own code that the error passed through, or nothing where there is none."""
    place = ""
    at = error.__traceback__
    while at is not None:
        file, module = at.tb_frame.f_code.co_filename, at.tb_frame.f_globals.get("__name__", "")
        if not file.startswith("<") and module.split(".")[0] not in {"genbench", "importlib", "pluggy"}:
            place = f" ({file}:{at.tb_lineno})"
        at = at.tb_next
    return place
