"""`genbench plugins`."""

import click

from genbench.cli.output import data_console, make_table, print_json, warn_of_clashes
from genbench.plugins import KINDS, LoadedPlugin, Plugins


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """List the plugins: where each comes from, what it declares, and what is wrong with it."""
    plugins = Plugins.load()
    if as_json:
        print_json([as_plain(plugins, plugin) for plugin in plugins.loaded])
        return
    rows = [[p.name, f"{p.distribution} {p.version}", _declares(plugins, p)] for p in plugins.loaded]
    data_console().print(make_table(["plugin", "from", "declares"], rows))
    warn_of_clashes(plugins)


def as_plain(plugins: Plugins, plugin: LoadedPlugin) -> dict[str, object]:
    """Return a plugin as JSON has it."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "problem": plugin.problem,
        "declares": _names(plugins, plugin),
    }


def _names(plugins: Plugins, plugin: LoadedPlugin) -> dict[str, list[str]]:
    return {kind: [d.spec.name for d in plugins.declarations(kind) if d.plugin is plugin] for kind in KINDS}


def _declares(plugins: Plugins, plugin: LoadedPlugin) -> str:
    lines = [f"{kind}: {', '.join(names)}" for kind, names in _names(plugins, plugin).items() if names]
    if plugin.problem:
        lines.append(f"BROKEN: {plugin.problem}")
    return "\n".join(lines) or "nothing but observers of runs"
