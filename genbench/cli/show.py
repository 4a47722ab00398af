"""`genbench show`."""

import math
from collections.abc import Iterator
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from inspect import cleandoc
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import click

from genbench.authored import is_path
from genbench.cli import list as listing
from genbench.cli import recipe_texts
from genbench.cli.output import data_console, make_table, print_error, print_json, warn_of_broken
from genbench.errors import GenbenchError, did_you_mean
from genbench.plugins import KINDS, SINGULAR, Declaration, Kind, Plugins
from genbench.recipes import Recipe, find_recipe, known_recipes, read_recipe

_PREFIXES = {
    "models": "",
    "similarities": "similarity.",
    "evaluators": "evaluation.{}.",
    "extractors": "",
    "datasets": "dataset.",
}
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Setting:
    """One field of a settings class, in words."""

    name: str
    type: str
    default: object
    doc: str


@dataclass(frozen=True)
class Explained:
    """All that is known of one declaration.

    Attributes:
        doc: the target's docstring, empty where it has none.
        problems: what could not be found out, and why.
    """

    kind: Kind
    declaration: Declaration
    settings: tuple[Setting, ...]
    doc: str
    problems: tuple[GenbenchError, ...]


@click.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str, *, as_json: bool) -> int:
    """Show what NAME stands for: its summary, where it comes from, and its settings.

    NAME is a model, a similarity, an evaluator, a feature extractor, a data set or a recipe (its file, too); where it
    is several, all are shown.
    """
    plugins = Plugins.load()
    found = [explain(plugins, kind, d) for kind in KINDS for d in plugins.declarations(kind) if d.spec.name == name]
    recipe = read_recipe(find_recipe(name)) if name in known_recipes() or is_path(name) else None
    if not found and recipe is None:
        warn_of_broken(plugins)
        raise _unknown(plugins, name)
    if as_json:
        own = [] if recipe is None else [{"kind": listing.RECIPES, **recipe_texts.as_plain(recipe)}]
        print_json([*(_as_plain(explained) for explained in found), *own])
    else:
        _print(found, recipe)
    problems = [p for explained in found for p in explained.problems]
    problems += [clash for clash in plugins.clashes() if f" `{name}` " in clash.message]
    for problem in problems:
        print_error(problem)
    return max((p.exit_code for p in problems), default=0)


def explain(plugins: Plugins, kind: Kind, declaration: Declaration) -> Explained:
    """Import a declaration's target and settings and read what they say; an import that fails becomes a problem."""
    spec = declaration.spec
    problems: list[GenbenchError] = []
    settings: tuple[Setting, ...] = ()
    doc = ""
    try:
        doc = cleandoc(getattr(plugins.resolve(spec.target), "__doc__", None) or "")
    except GenbenchError as error:
        problems.append(error)
    try:
        if spec.settings:
            settings = tuple(read_settings(spec.settings, plugins.resolve(spec.settings)))
    except GenbenchError as error:
        problems.append(error)
    return Explained(kind, declaration, settings, doc, tuple(problems))


def read_settings(target: str, settings: object) -> Iterator[Setting]:
    """Yield the fields of a settings class.

    Raises:
        GenbenchError: it is no dataclass, has an annotation that can't be evaluated, or a field without a default.
    """
    if not (isinstance(settings, type) and is_dataclass(settings)):
        raise GenbenchError(f"settings `{target}` is not a dataclass", "decorate it with `@dataclass(frozen=True)`")
    try:
        hints = get_type_hints(settings, include_extras=True)
    except Exception as error:
        raise GenbenchError(f"settings `{target}`: {type(error).__name__} in an annotation: {error}") from error
    for field in fields(settings):
        kind, doc = _annotation(hints[field.name])
        yield Setting(field.name, kind, _default(target, field), doc)


def _annotation(hint: object) -> tuple[str, str]:
    """Split `Annotated[float, "doc", Gt(0)]` into `float > 0` and `doc`."""
    if get_origin(hint) is not Annotated:
        return _type_name(hint), ""
    type_, *extras = get_args(hint)
    docs = [extra for extra in extras if isinstance(extra, str)]
    bounds = [bound for extra in extras if not isinstance(extra, str) for bound in _bounds(extra)]
    return " ".join([_type_name(type_), ", ".join(bounds)]).strip(), " ".join(docs)


def _bounds(constraint: object) -> list[str]:
    parts = getattr(constraint, "metadata", None)  # pydantic's `Field` holds its constraints in a list
    if parts is not None:
        return [bound for part in parts for bound in _bounds(part)]
    if hasattr(constraint, "func"):  # a validator, of which its function's name says nothing
        return []
    values = {sign: getattr(constraint, name, None) for name, sign in _BOUNDS.items()}
    return [f"{sign} {value}" for sign, value in values.items() if value is not None] or [repr(constraint)]


def _type_name(hint: object) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    return hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")


def _default(target: str, field: Field[object]) -> object:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise GenbenchError(f"settings `{target}`: field `{field.name}` has no default", "give every field a default")


def _as_plain(explained: Explained) -> dict[str, object]:
    return {
        "kind": explained.kind,
        **listing.as_plain(explained.declaration),
        "settings_target": explained.declaration.spec.settings,
        "settings": [{**asdict(s), "default": _finite(s.default)} for s in explained.settings],
        "doc": explained.doc,
        "problems": [p.message for p in explained.problems],
    }


def _finite(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _print(found: list[Explained], recipe: Recipe | None) -> None:
    console = data_console()
    for index, explained in enumerate(found):
        if index:
            console.print()
        for line in _lines(explained):
            console.print(line)
        if explained.settings:
            rows = [[s.name, s.type, str(s.default), s.doc] for s in explained.settings]
            console.print()
            console.print(
                f"Settings, as -s {_PREFIXES[explained.kind].format(explained.declaration.spec.name)}NAME=VALUE"
            )
            console.print(make_table(["name", "type", "default", "meaning"], rows))
    if recipe is not None:
        if found:
            console.print()
        for line in recipe_texts.lines(recipe, console.width):
            console.print(line, soft_wrap=True)


def _lines(explained: Explained) -> Iterator[str]:
    spec, plugin = explained.declaration.spec, explained.declaration.plugin
    yield f"{SINGULAR[explained.kind]} {spec.name}: {spec.summary}"
    yield f"from {plugin.distribution} {plugin.version}, plugin {plugin.name}"
    yield f"target: {spec.target}"
    for column, value in listing.facts(spec).items():
        yield f"{column}: {value}"
    if explained.doc:
        yield ""
        yield _reflow(explained.doc)
    if not spec.settings:
        yield ""
        yield "It has no settings."


def _reflow(doc: str) -> str:
    """Join the lines of each paragraph and list item, for the console to break anew; other indented lines stay."""
    paragraphs = []
    for paragraph in doc.split("\n\n"):
        if paragraph.startswith("- "):
            paragraph = paragraph.replace("\n  ", " ")
        elif "\n " not in paragraph:
            paragraph = paragraph.replace("\n", " ")
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def _unknown(plugins: Plugins, name: str) -> GenbenchError:
    known = sorted({d.spec.name for kind in KINDS for d in plugins.declarations(kind)} | set(known_recipes()))
    guess = did_you_mean(name, known)
    see = f"{guess} see `genbench list`" if guess else "see `genbench list`"
    return GenbenchError(f"nothing is called `{name}`", "; or ".join([see, *plugins.lacking(*KINDS)]))
