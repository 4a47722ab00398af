"""The command line: a table of commands, each imported only when called, and the one place where errors are told."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from genbench import __version__
from genbench.cli.output import print_bug, print_error
from genbench.errors import GenbenchError, unknown_name

# name: (where its click command is, what `genbench --help` says of it)
COMMANDS = {
    "run": ("genbench.cli.run:run", "Train one model on one data set and score it."),
    "suite": ("genbench.cli.suite:command", "Carry out many runs from one file, and rank them."),
    "evaluate": ("genbench.cli.evaluate:command", "Compute further scores of finished runs."),
    "compare": ("genbench.cli.compare:compare", "Rank finished runs on a leaderboard."),
    "report": ("genbench.cli.report:command", "Write one page, of numbers and pictures, of finished runs."),
    "sample": ("genbench.cli.sample:command", "Draw samples of a finished run."),
    "reconstruct": ("genbench.cli.reconstruct:command", "Draw images, and what a finished run makes of them."),
    "edit": ("genbench.cli.edit:command", "Draw images with an attribute more, or less."),
    "interpolate": ("genbench.cli.interpolate:command", "Draw the way from one image to another."),
    "walk": ("genbench.cli.walk:command", "Film a random walk through the latent space."),
    "latents": ("genbench.cli.latents:command", "Draw what the encoder makes of each latent unit."),
    "curves": ("genbench.cli.curves:command", "Draw the costs of a run's training."),
    "film": ("genbench.cli.film:command", "Film samples and reconstructions over a run's training."),
    "figure": ("genbench.cli.figure:command", "Draw a figure of finished runs."),
    "export": ("genbench.cli.export:export", "Write the records of many runs to one file, to share them."),
    "upgrade": ("genbench.cli.upgrade:upgrade", "Bring records that an older genbench wrote up to date."),
    "list": ("genbench.cli.list:command", "List models, similarities, evaluators, extractors, data sets."),
    "show": ("genbench.cli.show:command", "Show what a name stands for, and its settings."),
    "plugins": ("genbench.cli.plugins:command", "List the plugins, and what is wrong with those that are broken."),
    "new": ("genbench.cli.new:command", "Write a plugin of your own to start from, with its tests."),
    "check": ("genbench.cli.check:command", "Check whether a plugin's part keeps what its kind promises."),
    "score": ("genbench.cli.score:command", "Tell how a similarity behaves on images; trains nothing."),
    "doctor": ("genbench.cli.doctor:command", "Check the installation against known truths."),
}

# \b keeps click from joining the lines that follow
EXAMPLES = """\b
For example:
  genbench list similarities
  genbench run vae digits --similarity mse
  genbench evaluate --evaluators ms-ssim
  genbench sample vae-mse
  genbench compare
"""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours, and a test calls each
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLES,
)
@click.version_option(__version__, message="genbench %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Train generative models that differ in how they measure similarity, and say honestly which is better."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its status: 0 all went well, 1 a run failed, 2 the command was wrong, 130 interrupted.

    Args:
        args: what follows `genbench`, by default that of this process.
    """
    _never_fail_to_encode()
    try:
        status: Any = group.main(args, prog_name="genbench", standalone_mode=False)
        if sys.stdout is not None:  # as where it was closed by `>&-`
            sys.stdout.flush()
    except GenbenchError as error:
        print_error(error)
        return error.exit_code
    except click.ClickException as error:
        print_error(_usage_error(error))
        return error.exit_code
    except BrokenPipeError:
        return _reader_has_gone()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            return print_bug(error)
        print_error(GenbenchError(f"cannot write: {error.strerror}", "free some space where the output goes"))
        return _reader_has_gone()
    except (click.Abort, KeyboardInterrupt) as error:
        # Click turns an EOFError into an Abort, too; nothing here asks a question, so that one is a bug.
        if isinstance(error.__cause__, EOFError):
            return print_bug(error.__cause__)
        print_error(GenbenchError("interrupted"))
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        return 1 if _is_a_librarys_exit(error) else print_bug(error)
    return status if isinstance(status, int) else 0


def _is_a_librarys_exit(error: BaseException) -> bool:
    """Whether click or rich exits, as they do where the reader has gone; whoever else does is a plugin."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    module = "" if at is None else str(at.tb_frame.f_globals.get("__name__"))
    return isinstance(error, SystemExit) and module.partition(".")[0] in ("click", "rich")


def _usage_error(error: click.ClickException) -> GenbenchError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "genbench"
    return GenbenchError(f"{path}: {error.format_message()}", f"see `{path} --help`")


def _never_fail_to_encode() -> None:
    """Let a terminal that knows no γ show an escape instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reader_has_gone() -> int:
    """Keep quiet at exit where stdout takes no more: the other end of a pipe, such as `head`, has had enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
