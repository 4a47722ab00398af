"""`Plugins`: load, isolate, collect, explain. Imports no torch."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from pluggy import PluginManager

from genbench.errors import GenbenchError, did_you_mean, explained, unknown_name
from genbench.installed import installed
from genbench.isolation import Guard, reason
from genbench.loading import (
    KINDS,
    SINGULAR,
    TYPES,
    Candidate,
    Kind,
    LoadedPlugin,
    from_file,
    from_object,
    load,
)
from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, SimilaritySpec, Spec

if TYPE_CHECKING:
    from genbench.records import Record

__all__ = ["KINDS", "SINGULAR", "Candidate", "Declaration", "Kind", "LoadedPlugin", "Plugins"]

FILE = "genbenchfile.py"

_S = TypeVar("_S", bound=Spec)


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
        file = (folder or Path.cwd()) / FILE
        return cls._of([*installed(), *([from_file(file)] if file.is_file() else [])])

    @classmethod
    def of(cls, *plugins: object) -> "Plugins":
        """Build from modules or objects that carry hooks, or from `Candidate`s where distributions matter."""
        return cls._of([p if isinstance(p, Candidate) else from_object(p) for p in plugins])

    def and_also(self, *plugins: object) -> "Plugins":
        """Return these and others, built as `of` does."""
        others = self.of(*plugins)
        return Plugins(self.loaded + others.loaded, self._managers + others._managers)

    @classmethod
    def _of(cls, candidates: list[Candidate]) -> "Plugins":
        results = [load(candidate) for candidate in candidates]
        return cls(tuple(plugin for plugin, _ in results), tuple(manager for _, manager in results))

    @property
    def broken(self) -> tuple[LoadedPlugin, ...]:
        """Return the plugins with a problem."""
        return tuple(p for p in self.loaded if p.problem is not None)

    def declarations(self, kind: Kind) -> list[Declaration]:
        """Return all of one kind, sorted by name, names that clash included."""
        return self._declared[kind]

    @cached_property
    def _declared(self) -> dict[Kind, list[Declaration]]:
        return {kind: self._collect(kind) for kind in KINDS}

    def _collect(self, kind: Kind) -> list[Declaration]:
        found = [Declaration(s, p) for p in self.loaded for s in p.specs if isinstance(s, TYPES[kind])]
        times = Counter(d.spec.name for d in found)
        return sorted((replace(d, clash=times[d.spec.name] > 1) for d in found), key=lambda d: d.spec.name)

    @overload
    def specs(self, kind: Literal["models"]) -> list[ModelSpec]: ...
    @overload
    def specs(self, kind: Literal["similarities"]) -> list[SimilaritySpec]: ...
    @overload
    def specs(self, kind: Literal["evaluators"]) -> list[EvaluatorSpec]: ...
    @overload
    def specs(self, kind: Literal["extractors"]) -> list[ExtractorSpec]: ...
    @overload
    def specs(self, kind: Literal["datasets"]) -> list[DatasetSpec]: ...
    def specs(
        self, kind: Kind
    ) -> (
        list[Spec]
        | list[ModelSpec]
        | list[SimilaritySpec]
        | list[EvaluatorSpec]
        | list[ExtractorSpec]
        | list[DatasetSpec]
    ):
        """Return the specs of one kind, sorted by name, names that clash included."""
        return [d.spec for d in self.declarations(kind)]

    def lacking(self, *kinds: Kind) -> list[str]:
        """Return why plugins declare nothing more of some kinds, one line for each plugin and kind."""
        return [f"{p.name} may have it: {said}" for p in self.loaded for kind, said in p.lacks.items() if kind in kinds]

    def clashes(self) -> list[GenbenchError]:
        """Return, for each name that is declared more than once, the error that its use raises."""
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

    def extractor(self, name: str) -> tuple[ExtractorSpec, str]:
        """Return the feature extractor of `NAME` or `NAME:VARIANT`, and the variant; raises as `model` does.

        The variant is the declared one where the name stands alone, and empty where the extractor has none.
        """
        base, colon, variant = name.partition(":")
        spec = self._spec("extractors", base, ExtractorSpec)
        if colon and not spec.variants:
            raise GenbenchError(f"extractor `{base}` has no variants, found `{name}`", f"write `{base}`")
        if (colon or not spec.variant) and spec.variants and not variant:
            raise GenbenchError(
                f"extractor `{base}` needs a variant after a colon, found `{name}`", f"see `genbench show {base}`"
            )
        return spec, variant or spec.variant

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
        with Guard() as guard:
            found = import_module(module)
            if hasattr(found, attribute):
                return getattr(found, attribute)
        where = f"`{target}`{self._declared_by(target)}"
        if guard.error is not None:
            raise _import_failed(where, module, guard.error) from guard.error
        hint = did_you_mean(attribute, vars(found)) or f"define it there, or mend the declaration {target!r}"
        raise GenbenchError(f"{where}: module `{module}` has no `{attribute}`", hint)

    def run_finished(self, record: "Record", folder: Path) -> list[str]:
        """Call every observer, each on its own, and return what went wrong, one line each."""
        problems = []
        for plugin, manager in zip(self.loaded, self._managers, strict=True):
            with Guard() as guard:
                manager.hook.genbench_run_finished(record=record, folder=folder)
            if guard.error is not None:
                # What a plugin says to the user needs no line of code beside it.
                known = isinstance(guard.error, GenbenchError)
                said = explained(guard.error) if known else f"genbench_run_finished {reason(guard.error)}"
                problems.append(f"plugin {plugin.title}: {said}")
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
        others = self.lacking(kind)
        if self.broken:
            names = ", ".join(p.name for p in self.broken)
            others.append(f"a broken plugin has it ({names}): see `genbench plugins`")
        return GenbenchError(error.message, "; or ".join([str(error.hint), *others]))

    def _declared_by(self, target: str) -> str:
        owners = [p.title for p in self.loaded for s in p.specs if target in (s.target, s.settings)]
        return f", declared by plugin {owners[0]}" if owners else ""


def _clash(kind: Kind, declared: list[Declaration]) -> GenbenchError:
    titles = list(dict.fromkeys(d.plugin.title for d in declared))
    name = f"{SINGULAR[kind]} `{declared[0].spec.name}`"
    if len(titles) == 1:
        return GenbenchError(f"{name} is declared by {titles[0]} more than once", "rename one")
    return GenbenchError(f"{name} is declared by {' and by '.join(titles)}", "uninstall or rename one")


def _import_failed(where: str, module: str, error: BaseException) -> GenbenchError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None:
        return GenbenchError(
            f"{where}: importing `{module}` {reason(error)}", "this is for the plugin's author to mend"
        )
    if module == missing or module.startswith(f"{missing}."):
        return GenbenchError(
            f"{where}: there is no module `{missing}`",
            "the declared target is wrong, or the plugin is not wholly installed",
        )
    return GenbenchError(
        f"{where}: importing `{module}` needs the module `{missing}`", f"install what provides `{missing}`"
    )
