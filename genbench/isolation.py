"""Running a plugin's code so that it can't stop the program, and saying what went wrong in it. Imports no torch."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from genbench.errors import in_one_line

LONGEST_HEARD = 60
"""Characters that are kept of what a plugin prints."""

NOT_THE_PLUGINS = {"genbench", "importlib", "pluggy", "torch", "torchvision"}
"""Packages in which an error may be raised that a plugin's own code causes."""


class Guard:
    """A context for a plugin's code: what it prints goes to stderr, what it raises is kept, and an interrupt passes.

    Where it changes the working folder, that is undone.

    Attributes:
        error: what was raised, or None.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._aside = _Aside()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._undo.enter_context(_in_this_folder())
        self._undo.enter_context(_descriptor_to_stderr())
        self._undo.enter_context(redirect_stdout(self._aside))
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> bool:
        self._undo.close()
        self.error = error
        return not isinstance(error, KeyboardInterrupt)

    @property
    def printed(self) -> str:
        """Return the first line that was printed, cut where it is long; empty where nothing was."""
        lines = self._aside.heard.strip().splitlines()
        return lines[0] if lines else ""


class _Aside:
    """Stands in for stdout: writes to stderr, whatever that is by then, and remembers how it began."""

    def __init__(self) -> None:
        self.heard = ""

    def write(self, text: str) -> int:
        self.heard += text[: LONGEST_HEARD - len(self.heard)] if len(self.heard) < LONGEST_HEARD else ""
        return sys.stderr.write(text) if sys.stderr is not None else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


@contextmanager
def _in_this_folder() -> Iterator[None]:
    """Return to the working folder, where it is still there: relative paths are to mean what their user meant."""
    try:
        folder = Path.cwd()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)


@contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    """Send file descriptor 1 to stderr: what C code and child processes print does not pass through `sys.stdout`."""
    try:
        kept = os.dup(1)
    except OSError:  # closed, as by `>&-`
        yield
        return
    _flush()
    try:
        os.dup2(2, 1)
    except OSError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - for its descriptor
            os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    if sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # whoever prints next is told
            sys.__stdout__.flush()


def reason(error: BaseException) -> str:
    """Say in one line what was raised and where."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}){_place(error)}"
    return f"raised {in_one_line(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return the last line of a plugin's own code that the error passed through, or nothing where there is none."""
    place = ""
    at = error.__traceback__
    while at is not None:
        file, module = at.tb_frame.f_code.co_filename, at.tb_frame.f_globals.get("__name__", "")
        if not file.startswith("<") and module.split(".")[0] not in NOT_THE_PLUGINS:
            place = f" ({file}:{at.tb_lineno})"
        at = at.tb_next
    return place
