"""Loading a plugin: from an entry point, a file or an object to its sound declarations and what is wrong with it.

Imports no torch.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isroutine
from pathlib import Path
from types import CodeType, ModuleType
from typing import Literal

from pluggy import PluginManager, PluginValidationError

from genbench import hookspecs
from genbench.errors import NotApplicable, did_you_mean, explained
from genbench.isolation import Guard, reason
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

_CONTENT = "__genbench_content__"
"""Attribute of a module that is a plugin's file: the hash of what it was imported from."""

MOST_DECLARED = 10_000
"""A hook that gives more never ends."""

MOST_TOLD = 5
"""Problems of one plugin that are told."""


@dataclass(frozen=True)
class Candidate:
    """A plugin that is yet to be loaded.

    Attributes:
        load: returns the module or object that carries the hooks; may raise anything.
        refusal: why it must not be loaded, in one line, or None.
        remarks: what is to be said of it, though it works.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], object]
    refusal: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin after loading.

    Attributes:
        specs: all that it declares and that is sound, even where something else in it is broken.
        problem: what is wrong with it, in one line, or None.
        remarks: what its author should mend, though it works.
        lacks: why it declares nothing more of a kind, by kinds, in one line each: what it needs for that is not here.
    """

    name: str
    distribution: str
    version: str
    specs: tuple[Spec, ...] = ()
    problem: str | None = None
    remarks: tuple[str, ...] = ()
    lacks: Mapping[Kind, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return `name (distribution version)`."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass
class _Found:
    """What is gathered while a plugin is loaded."""

    specs: list[Spec] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lacks: dict[Kind, str] = field(default_factory=dict)

    def told(self) -> str | None:
        """Return the problems in one line, each once and not endlessly many, or None where there is none."""
        once = list(dict.fromkeys(self.problems))
        more = [f"and {len(once) - MOST_TOLD} more"] if len(once) > MOST_TOLD else []
        return "; ".join([*once[:MOST_TOLD], *more]) or None


def from_file(path: Path) -> Candidate:
    """Return the plugin that a file is."""
    try:
        digest = sha256(path.read_bytes()).hexdigest()
    except OSError:  # loading it will say why
        digest = ""
    # A file has no version, so its content stands in: a record then tells two states of it apart.
    version = f"sha256-{digest[:12]}" if digest else "unknown"
    return Candidate(path.stem, path.name, version, lambda: _import_file(path, digest))


def content_of(part: object) -> dict[str, str]:
    """Return the hash of the file that a part's class stands in, where that is a plugin by itself and has no version.

    It belongs to the key of all that is kept of what the part computes; of an installed part, it is nothing.
    """
    found = getattr(sys.modules.get(type(part).__module__), _CONTENT, None)
    return {} if found is None else {"file": found}


def from_object(plugin: object) -> Candidate:
    """Return the plugin that a module or another object is."""
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return Candidate(name, name, "0", lambda: plugin)


class _FromSource(SourceFileLoader):
    """Compiles a file each time: kept bytecode goes by seconds and size, so that an edit may not be seen."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _import_file(path: Path, digest: str) -> ModuleType:
    """Import a file under its stem, where targets such as `genbenchfile:Mine` then find it."""
    loader = _FromSource(path.stem, str(path))
    spec = spec_from_file_location(path.stem, path, loader=loader)
    if spec is None:
        raise ImportError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    setattr(module, _CONTENT, digest)
    sys.modules[path.stem] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def load(candidate: Candidate) -> tuple[LoadedPlugin, PluginManager]:
    """Load a plugin, whatever is wrong with it, and return it with the manager that calls its hooks."""
    manager = PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    state = LoadedPlugin(candidate.name, candidate.distribution, candidate.version, remarks=candidate.remarks)
    if candidate.refusal is not None:
        return replace(state, problem=candidate.refusal), manager
    found = _Found(remarks=[*candidate.remarks])
    with Guard() as guard:
        plugin = candidate.load()
        manager.register(plugin, candidate.name)
        found.problems += _hook_problems(manager, plugin)
    if guard.printed:
        found.remarks.append(f"importing it prints `{guard.printed}`")
    if isinstance(guard.error, PluginValidationError):
        found.problems.append(" ".join(str(guard.error).split()))
    elif guard.error is not None:
        found.problems.append(f"importing it {reason(guard.error)}")
    else:
        for kind in KINDS:
            _collect(manager, kind, found)
    loaded = replace(state, specs=tuple(found.specs), problem=found.told(), remarks=tuple(found.remarks))
    return replace(loaded, lacks=found.lacks), manager


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


def _collect(manager: PluginManager, kind: Kind, found: _Found) -> None:
    """Call the hook that declares one kind, if the plugin has it, and sort out what it gives."""
    hook = f"genbench_{kind}"
    caller = getattr(manager.hook, hook)
    if not caller.get_hookimpls():
        return
    with Guard() as guard:
        for result in caller() or [None]:
            _sort_out(hook, TYPES[kind], result, found)
    if guard.printed:
        found.remarks.append(f"{hook} prints `{guard.printed}`")
    if isinstance(guard.error, NotApplicable):
        found.lacks[kind] = explained(guard.error)
    elif guard.error is not None:
        found.problems.append(f"{hook} {reason(guard.error)}")


def _sort_out(hook: str, expected: type[Spec], result: object, found: _Found) -> None:
    if not isinstance(result, Iterable):
        found.problems.append(f"{hook} returned {_describe(result)}, expected an iterable of {expected.__name__}")
        return
    for count, given in enumerate(result):
        if count == MOST_DECLARED:
            found.problems.append(f"{hook} gave {MOST_DECLARED:,} and went on, so it was stopped")
            return
        if isinstance(given, expected):
            found.specs.append(_plain(expected, given))
        else:
            found.problems.append(f"{hook} gave {_describe(given)}, expected {expected.__name__}")


def _plain(expected: type[Spec], given: Spec) -> Spec:
    """Return a spec of a plugin's own class as one of ours: no code of the plugin's runs when it is listed."""
    if type(given) is expected:
        return given
    return expected(**{field.name: getattr(given, field.name) for field in fields(expected)})


def _describe(value: object) -> str:
    return f"{type(value).__name__} `{value.name}`" if isinstance(value, Spec) else f"{value!r:.60}"
