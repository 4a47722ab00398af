"""Whether what declarations point to is there, read from the sources: nothing is imported, so neither is torch."""

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec

from genbench.errors import did_you_mean, in_one_line
from genbench.loading import KINDS, SINGULAR, Kind
from genbench.plugins import Declaration, Plugins
from genbench.specs import ExtractorSpec, Spec

_DYNAMIC = frozenset({"exec", "globals", "locals", "vars"})
"""Functions by which a module may bind names that don't stand in it."""


@dataclass(frozen=True)
class Unreachable:
    """A declaration whose target, settings or `known` can't be imported.

    Attributes:
        reason: what is missing, in one line.
    """

    kind: Kind
    declaration: Declaration
    reason: str

    def __str__(self) -> str:
        name, plugin = self.declaration.spec.name, self.declaration.plugin
        return f"{SINGULAR[self.kind]} `{name}` of {plugin.title}: {self.reason}"


@dataclass(frozen=True)
class _Module:
    """What a module's source tells.

    Attributes:
        problem: why it can't be imported, or None.
        names: what its top level binds, or None where only importing it would tell.
    """

    problem: str | None = None
    names: frozenset[str] | None = None


def unreachable(plugins: Plugins) -> Iterator[Unreachable]:
    """Yield the declarations that can't work, as far as the sources tell; in doubt they pass."""
    modules: dict[str, _Module] = {}
    for kind in KINDS:
        for declaration in plugins.declarations(kind):
            for field, target in _targets(declaration.spec):
                name = target.partition(":")[0]
                module = modules.get(name) or modules.setdefault(name, _look(name))
                said = _missing(module, target)
                if said is not None:
                    yield Unreachable(kind, declaration, f"{field} {target!r}: {said}")


def _targets(spec: Spec) -> Iterator[tuple[str, str]]:
    yield "target", spec.target
    if spec.settings is not None:
        yield "settings", spec.settings
    if isinstance(spec, ExtractorSpec) and spec.known is not None:
        yield "known", spec.known


def _missing(module: _Module, target: str) -> str | None:
    name, _, attribute = target.partition(":")
    if module.problem is not None:
        return module.problem
    if module.names is None or attribute in module.names:
        return None
    guess = did_you_mean(attribute, module.names)
    return f"module `{name}` has no `{attribute}`{f'; {guess}' if guess else ''}"


def _look(module: str) -> _Module:
    try:
        return _Module(names=_names(module))
    except ModuleNotFoundError as error:
        return _Module(problem=f"there is no module `{error.name}`")
    except SyntaxError as error:
        return _Module(problem=f"importing `{module}` would raise {in_one_line(error)}")
    except Exception:  # of a finder or a loader that someone else wrote
        return _Module()


def _names(module: str) -> frozenset[str] | None:
    """Return what a module binds, or None where that can't be told.

    Raises:
        ModuleNotFoundError: it, or a package above it, is not there.
        SyntaxError: it can't be compiled.
    """
    imported = sys.modules.get(module)
    if imported is not None:
        return None if "__getattr__" in vars(imported) else frozenset(vars(imported))
    spec = _find(module)
    source = None if spec is None else _source(spec)
    return None if spec is None or source is None else _bound(_parse(source, spec.origin or module))


def _find(module: str) -> ModuleSpec | None:
    """Find a module as importing it would, but without importing the packages above it."""
    parts = module.split(".")
    path, certain = None, True
    spec: ModuleSpec | None = None
    for name in (".".join(parts[: i + 1]) for i in range(len(parts))):
        imported = sys.modules.get(name)
        if imported is not None:
            path = getattr(imported, "__path__", None)
        else:
            spec = next(filter(None, (finder.find_spec(name, path, None) for finder in sys.meta_path)), None)
            if spec is None and certain:
                raise ModuleNotFoundError(name=name)
            if spec is None:
                return None
            path = spec.submodule_search_locations
            # A package that has not run yet may still change where its modules are looked for.
            certain = certain and not _moves_modules(spec)
        if path is None and name != module:
            raise ModuleNotFoundError(name=module)
    return spec


def _moves_modules(package: ModuleSpec) -> bool:
    source = _source(package)
    return source is None or "__path__" in source or "sys.modules" in source


def _source(spec: ModuleSpec) -> str | None:
    """Return a module's source, or None where it has none, such as a compiled one."""
    read = getattr(spec.loader, "get_source", None)
    source: str | None = read(spec.name) if read else None
    return source


def _parse(source: str, file: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for whoever imports it
        return ast.parse(source, file)


def _bound(tree: ast.Module) -> frozenset[str] | None:
    """Return the names that a module's top level may bind, or None where it may bind others."""
    names: set[str] = set()
    todo: list[ast.AST] = [*tree.body]
    while todo:
        match todo.pop():
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")) as never:
                todo += never.orelse
            case ast.Match():
                return None
            case ast.Lambda() | ast.AnnAssign(value=None):
                pass
            case node:
                todo += ast.iter_child_nodes(node)
    everything = list(ast.walk(tree))
    names |= {name for node in everything if isinstance(node, ast.Global) for name in node.names}
    return None if names & {"*", "__getattr__"} or any(map(_is_dynamic, everything)) else frozenset(names)


def _is_dynamic(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return name in _DYNAMIC
        case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
            return True
    return False
