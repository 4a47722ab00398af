"""`genbench list`."""

from dataclasses import asdict
from typing import Literal

import click

from genbench.cli import recipe_texts
from genbench.cli.output import data_console, make_table, print_json, warn_of_broken
from genbench.plugins import KINDS, Declaration, Kind, Plugins
from genbench.recipes import Recipe
from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, Needs, SimilaritySpec, Spec

RECIPES: Literal["recipes"] = "recipes"
TITLES: dict[Kind, str] = {
    "models": "Models, and the similarity that each trains with by default",
    "similarities": "Similarities, and what each needs",
    "evaluators": "Evaluators, by NAME or NAME:VARIANT, and whether a run computes them unasked",
    "extractors": "Feature extractors, and the variant that NAME alone stands for",
    "datasets": "Data sets, and the defaults that suit each",
}


@click.command("list")
@click.argument("kind", type=click.Choice((*KINDS, RECIPES)), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(kind: Kind | Literal["recipes"] | None, *, as_json: bool) -> None:
    """List what there is: all of it, or only models, similarities, evaluators, extractors, datasets or recipes."""
    plugins = Plugins.load()
    kinds = KINDS if kind is None else () if kind == RECIPES else (kind,)
    recipes = recipe_texts.read_all() if kind in (None, RECIPES) else None
    if as_json:
        told: dict[str, object] = {k: [as_plain(d) for d in plugins.declarations(k)] for k in kinds}
        if recipes is not None:
            told[RECIPES] = [recipe_texts.as_plain(recipe) for recipe in recipes]
        print_json(told)
    else:
        _print_tables(plugins, kinds, recipes)
    warn_of_broken(plugins)


def as_plain(declaration: Declaration) -> dict[str, object]:
    """Return a declaration as JSON has it: its spec's fields, its origin, and whether its name clashes."""
    plugin = declaration.plugin
    origin = {"plugin": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    return {**asdict(declaration.spec), "origin": origin, "clash": declaration.clash}


def facts(spec: Spec) -> dict[str, str]:
    """Return what a table says of a spec beside its name and summary, by column."""
    match spec:
        case ModelSpec():
            own = ", ".join(f"{name}={value}" for name, value in spec.similarity_settings)
            similarity = f"{spec.similarity or 'none'}{f' ({own})' if own else ''}"
            return {"similarity": similarity, "discriminator": _yes(spec.discriminator)}
        case SimilaritySpec():
            return {"needs": needs(spec.needs) or "nothing"}
        case EvaluatorSpec():
            by_default = "always" if spec.always else _yes(spec.default)
            variant = f":{spec.variant.upper()}" if spec.variant else "none"
            return {"version": str(spec.version), "by default": by_default, "variant": variant}
        case ExtractorSpec():
            return {"variant": (spec.variant or "must be named") if spec.variants else "none"}
        case DatasetSpec():
            shape = f"{spec.channels}×{spec.size}×{spec.size}"
            return {"shape": shape, "width": f"{spec.width:g}", "images": f"{spec.images:,}", "flip": _yes(spec.flip)}
    return {}


def needs(value: Needs) -> str:
    """Say in words what a similarity needs."""
    parts = [
        "a discriminator" if value.discriminator else "",
        f"≥ {value.min_size} px" if value.min_size > 1 else "",
        f"{value.channels} channel{'s' if value.channels > 1 else ''}" if value.channels else "",
    ]
    return ", ".join(filter(None, parts))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _print_tables(plugins: Plugins, kinds: tuple[Kind, ...], recipes: list[Recipe] | None) -> None:
    console = data_console()
    for index, kind in enumerate(kinds):
        if index:
            console.print()
        declared = plugins.declarations(kind)
        rows = [[d.spec.name, _summary(d), *facts(d.spec).values()] for d in declared]
        columns = list(facts(declared[0].spec)) if declared else []
        console.print(TITLES[kind], style="bold")
        console.print(make_table(["name", "summary", *columns], rows, right=("width", "images")) if rows else "none")
    if recipes is not None:
        if kinds:
            console.print()
        console.print(recipe_texts.TITLE, style="bold")
        console.print(make_table(recipe_texts.COLUMNS, [recipe_texts.row(recipe) for recipe in recipes]))


def _summary(declaration: Declaration) -> str:
    if not declaration.clash:
        return declaration.spec.summary
    return f"CLASH, this is {declaration.plugin.title}: {declaration.spec.summary}"
