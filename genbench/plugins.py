"""`Plugins`: load, isolate, collect, explain. Imports no torch."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isroutine
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from pluggy import PluginManager, PluginValidationError

from genbench import hookspecs
from genbench.errors import GenbenchError, did_you_mean, unknown_name
from genbench.specs import DatasetSpec, EvaluatorSpec, ModelSpec, SimilaritySpec, Spec

if TYPE_CHECKING:
    from genbench.records import Record

GROUP = "genbench"
FILE = "genbenchfile.py"

Kind = Literal["models", "similarities", "evaluators", "datasets"]
KINDS: tuple[Kind, ...] = ("models", "similarities", "evaluators", "datasets")

SINGULAR: dict[Kind, str] = {
    "models": "model",
    "similarities": "similarity",
    "evaluators": "evaluator",
    "datasets": "dataset",
}
_TYPES: dict[Kind, type[Spec]] = {
    "models": ModelSpec,
    "similarities": SimilaritySpec,
    "evaluators": EvaluatorSpec,
    "datasets": DatasetSpec,
}

_S = TypeVar("_S", bound=Spec)


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


@dataclass(frozen=True)
class Declaration:
    """One spec and the plugin that it came from.

    Attributes:
        clash: whether something else of the same kind has the same name, so that the name can't be used.
    """

    spec: Spec
    plugin: LoadedPlugin
    clash: bool = False


@dataclass(frozen=True)
class Plugins:
    """Everything that plugins declare; passed along, never global.

    Each plugin has a pluggy manager of its own, so that none can wrap, block or break another's hooks.
    """

    loaded: tuple[LoadedPlugin, ...]
    _managers: tuple[PluginManager, ...]

    @classmethod
    def load(cls, folder: Path | None = None) -> "Plugins":
        """Load the installed plugins, and `genbenchfile.py` where `folder` (by default the working folder) has one.

        Never raises on account of a plugin: what is wrong with it stands in its `problem`.
        """
        found = sorted(entry_points(group=GROUP), key=lambda e: (e.dist.name if e.dist else "", e.name))
        file = (folder or Path.cwd()) / FILE
        return cls._of([*map(_from_entry_point, found), *([_from_file(file)] if file.is_file() else [])])

    @classmethod
    def of(cls, *plugins: object) -> "Plugins":
        """Build from modules or objects that carry hooks, or from `Candidate`s where distributions matter."""
        return cls._of([p if isinstance(p, Candidate) else _from_object(p) for p in plugins])

    @classmethod
    def _of(cls, candidates: list[Candidate]) -> "Plugins":
        results = [_load(candidate) for candidate in candidates]
        return cls(tuple(plugin for plugin, _ in results), tuple(manager for _, manager in results))

    @property
    def broken(self) -> tuple[LoadedPlugin, ...]:
        """Return the plugins with a problem."""
        return tuple(p for p in self.loaded if p.problem is not None)

    def declarations(self, kind: Kind) -> list[Declaration]:
        """Return all of one kind, sorted by name, names that clash included."""
        found = [Declaration(s, p) for p in self.loaded for s in p.specs if isinstance(s, _TYPES[kind])]
        names = [d.spec.name for d in found]
        return sorted((replace(d, clash=names.count(d.spec.name) > 1) for d in found), key=lambda d: d.spec.name)

    @overload
    def specs(self, kind: Literal["models"]) -> list[ModelSpec]: ...
    @overload
    def specs(self, kind: Literal["similarities"]) -> list[SimilaritySpec]: ...
    @overload
    def specs(self, kind: Literal["evaluators"]) -> list[EvaluatorSpec]: ...
    @overload
    def specs(self, kind: Literal["datasets"]) -> list[DatasetSpec]: ...
    def specs(
        self, kind: Kind
    ) -> list[Spec] | list[ModelSpec] | list[SimilaritySpec] | list[EvaluatorSpec] | list[DatasetSpec]:
        """Return the specs of one kind, sorted by name, names that clash included."""
        return [d.spec for d in self.declarations(kind)]

    def clashes(self) -> list[GenbenchError]:
        """Return, for each name that more than one plugin declares, the error that its use raises."""
        by_name: dict[tuple[Kind, str], list[Declaration]] = {}
        for kind in KINDS:
            for declaration in self.declarations(kind):
                by_name.setdefault((kind, declaration.spec.name), []).append(declaration)
        return [_clash(kind, declared) for (kind, _), declared in by_name.items() if len(declared) > 1]

    def model(self, name: str) -> ModelSpec:
        """Return the model of this name.

        Raises:
            GenbenchError: no plugin, or more than one, declares it.
        """
        return self._spec("models", name, ModelSpec)

    def similarity(self, name: str) -> SimilaritySpec:
        """Return the similarity of this name; raises as `model` does."""
        return self._spec("similarities", name, SimilaritySpec)

    def evaluator(self, name: str) -> EvaluatorSpec:
        """Return the evaluator of this name; raises as `model` does."""
        return self._spec("evaluators", name, EvaluatorSpec)

    def dataset(self, name: str) -> DatasetSpec:
        """Return the data set of this name; raises as `model` does."""
        return self._spec("datasets", name, DatasetSpec)

    def origin(self, kind: Kind, name: str) -> tuple[str, str]:
        """Return the distribution and the version that a name comes from; raises as `model` does."""
        plugin = self._find(kind, name).plugin
        return plugin.distribution, plugin.version

    def resolve(self, target: str) -> object:
        """Import `package.module:Class`; what the import prints goes to stderr.

        Raises:
            GenbenchError: a part of it is missing or fails to import; names the plugin where it is known.
        """
        module, _, attribute = target.partition(":")
        where = f"`{target}`{self._declared_by(target)}"
        try:
            with _quiet_stdout():
                found = import_module(module)
        except (Exception, SystemExit) as error:
            raise _import_failed(where, module, error) from error
        if not hasattr(found, attribute):
            hint = did_you_mean(attribute, vars(found)) or f"define it there, or mend the declaration {target!r}"
            raise GenbenchError(f"{where}: module `{module}` has no `{attribute}`", hint)
        return getattr(found, attribute)

    def run_finished(self, record: "Record") -> list[str]:
        """Call every observer, each on its own, and return what went wrong, one line each."""
        problems = []
        for plugin, manager in zip(self.loaded, self._managers, strict=True):
            try:
                with _quiet_stdout():
                    manager.hook.genbench_run_finished(record=record)
            except (Exception, SystemExit) as error:
                problems.append(f"plugin {plugin.title}: genbench_run_finished {_reason(error)}")
        return problems

    def _spec(self, kind: Kind, name: str, type_: type[_S]) -> _S:
        spec = self._find(kind, name).spec
        assert isinstance(spec, type_)  # noqa: S101 - for the type checker: declarations() selects by this very type
        return spec

    def _find(self, kind: Kind, name: str) -> Declaration:
        declared = self.declarations(kind)
        found = [d for d in declared if d.spec.name == name]
        if not found:
            raise self._unknown(kind, name, [d.spec.name for d in declared])
        if len(found) > 1:
            raise _clash(kind, found)
        return found[0]

    def _unknown(self, kind: Kind, name: str, known: list[str]) -> GenbenchError:
        error = unknown_name(SINGULAR[kind], name, known, plural=kind)
        if not self.broken:
            return error
        names = ", ".join(p.name for p in self.broken)
        return GenbenchError(
            error.message, f"{error.hint}; or a broken plugin has it ({names}): see `genbench plugins`"
        )

    def _declared_by(self, target: str) -> str:
        owners = [p.title for p in self.loaded for s in p.specs if target in (s.target, s.settings)]
        return f", declared by plugin {owners[0]}" if owners else ""


def _clash(kind: Kind, declared: list[Declaration]) -> GenbenchError:
    by = " and by ".join(d.plugin.title for d in declared)
    return GenbenchError(f"{SINGULAR[kind]} `{declared[0].spec.name}` is declared by {by}", "uninstall or rename one")


def _from_entry_point(entry: EntryPoint) -> Candidate:
    metadata = entry.dist.metadata if entry.dist else None
    name, version = (metadata["Name"], metadata["Version"]) if metadata else (None, None)
    return Candidate(entry.name, name or "unknown", version or "unknown", entry.load)


def _from_file(path: Path) -> Candidate:
    # A file has no version, so its content stands in: a record then tells two states of it apart.
    version = f"sha256-{sha256(path.read_bytes()).hexdigest()[:12]}"
    return Candidate(path.stem, path.name, version, lambda: _import_file(path))


def _from_object(plugin: object) -> Candidate:
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


def _load(candidate: Candidate) -> tuple[LoadedPlugin, PluginManager]:
    manager = PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    state = LoadedPlugin(candidate.name, candidate.distribution, candidate.version)
    try:
        with _quiet_stdout():
            plugin = candidate.load()
            manager.register(plugin, candidate.name)
            problems = _hook_problems(manager, plugin)
    except PluginValidationError as error:
        return replace(state, problem=" ".join(str(error).split())), manager
    except (Exception, SystemExit) as error:
        return replace(state, problem=f"importing it {_reason(error)}"), manager
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
        with _quiet_stdout():
            for result in caller() or [None]:
                _sort_out(hook, _TYPES[kind], result, into, problems)
    except (Exception, SystemExit) as error:
        problems.append(f"{hook} {_reason(error)}")
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
def _quiet_stdout() -> Iterator[None]:
    """Send what a plugin prints to stderr: stdout is for data."""
    with redirect_stdout(sys.stderr):
        yield


def _import_failed(where: str, module: str, error: BaseException) -> GenbenchError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None:
        return GenbenchError(
            f"{where}: importing `{module}` {_reason(error)}", "this is for the plugin's author to mend"
        )
    if module == missing or module.startswith(f"{missing}."):
        return GenbenchError(
            f"{where}: there is no module `{missing}`",
            "the declared target is wrong, or the plugin is not wholly installed",
        )
    return GenbenchError(
        f"{where}: importing `{module}` needs the module `{missing}`", f"install what provides `{missing}`"
    )


def _reason(error: BaseException) -> str:
    """Say in one line what was raised and where."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}){_place(error)}"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"raised {type(error).__name__}{f': {first}' if first else ''}{_place(error)}"


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
