"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from genbench.errors import GenbenchError

Command = TypeVar("Command", bound=Callable[..., object])

data_option = click.option(
    "--data",
    "source",
    type=click.Path(path_type=Path),
    help="Folder or archive where the data set lies.  [env var: GENBENCH_DATA]",
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto takes cuda, then mps, then cpu."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads.  [default: one a core]"
)
engine_option = click.option(
    "--engine",
    type=click.Choice(("auto", "eager", "graph", "compile")),
    default="auto",
    show_default=True,
    help="How steps are executed; auto replays a CUDA graph where it can.",
)


def runs_option(meaning: str) -> Callable[[Command], Command]:
    """Return the option that names the store."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        envvar="GENBENCH_RUNS",
        show_envvar=True,
        show_default=True,
        help=meaning,
    )


def settings_option(meaning: str) -> Callable[[Command], Command]:
    """Return the option that sets something, and may be repeated."""
    return click.option("-s", "--set", "settings", multiple=True, metavar="KEY=VALUE", help=meaning)


def evaluator_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in what `--evaluators` says, none of them for `none`; None where it is left out."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if "none" in names and len(names) > 1:
        raise GenbenchError(f"--evaluators {text}: `none` stands alone", "leave it out, or leave out the others")
    return () if names == ("none",) else names
