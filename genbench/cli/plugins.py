"""`genbench plugins`."""

import textwrap
from collections.abc import Iterable

import click

from genbench.cli.output import data_console, make_table, print_json
from genbench.plugins import KINDS, LoadedPlugin, Plugins
from genbench.targets import Unreachable, unreachable


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """List the plugins: where each comes from, what it declares, and what is wrong with it.

    Below the table stand the plugins that are broken, the names that can't be used, and remarks for authors of plugins
    that work. It is a listing, so its status is 0 whatever it finds; `genbench doctor` fails where a plugin is broken.
    """
    plugins = Plugins.load()
    lost = list(unreachable(plugins))
    if as_json:
        print_json([as_plain(plugins, plugin, lost) for plugin in plugins.loaded])
        return
    rows = [[p.name, f"{p.distribution} {p.version}", _declares(plugins, p)] for p in plugins.loaded]
    data_console().print(make_table(["plugin", "from", "declares"], rows))
    clashes = [f"{clash.message}: {clash.hint}" for clash in plugins.clashes()]
    _print_section("Broken", (f"{p.title}: {p.problem}" for p in plugins.broken))
    _print_section("Names that can't be used", [*clashes, *map(str, lost)])
    _print_section("Remarks", (f"{p.title}: {remark}" for p in plugins.loaded for remark in p.remarks))


def as_plain(plugins: Plugins, plugin: LoadedPlugin, lost: list[Unreachable]) -> dict[str, object]:
    """Return a plugin as JSON has it; `unusable` are declared names that can't be used, and why."""
    unusable = [
        (kind, d.spec.name, "it is declared more than once")
        for kind in KINDS
        for d in plugins.declarations(kind)
        if d.plugin is plugin and d.clash
    ]
    unusable += [(u.kind, u.declaration.spec.name, u.reason) for u in lost if u.declaration.plugin is plugin]
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "problem": plugin.problem,
        "remarks": plugin.remarks,
        "lacks": plugin.lacks,
        "declares": _names(plugins, plugin),
        "unusable": [{"kind": kind, "name": name, "reason": reason} for kind, name, reason in unusable],
    }


def _names(plugins: Plugins, plugin: LoadedPlugin) -> dict[str, list[str]]:
    return {kind: [d.spec.name for d in plugins.declarations(kind) if d.plugin is plugin] for kind in KINDS}


def _declares(plugins: Plugins, plugin: LoadedPlugin) -> str:
    lines = [f"{kind}: {', '.join(names)}" for kind, names in _names(plugins, plugin).items() if names]
    lines += [f"no more {kind}: {said}" for kind, said in plugin.lacks.items()]
    if plugin.problem:
        lines.append("BROKEN, see below")
    return "\n".join(lines) or "nothing but observers of runs"


def _print_section(title: str, items: Iterable[str]) -> None:
    """Print a title and its items, each beginning on a line of its own; nothing where there are none."""
    console = data_console()
    lines = [
        textwrap.fill(
            item,
            console.width,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    ]
    if lines:
        console.print(f"\n{title}", style="bold")
        console.print("\n".join(lines), soft_wrap=True)
