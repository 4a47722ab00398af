"""What the documentation takes from the code. `python tests/generated.py` writes it into the pages."""

import io
import os
import re
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

from genbench.cli import COMMANDS, main
from genbench.testing.checks import BUILDS, CHECKS

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLUMNS = "80"

COMMANDS_PAGE = """# Commands

What each command says of itself. `python tests/generated.py` writes this page, and a test holds it to the code.
"""

_TABLE = re.compile(r"(<!-- checks: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Return the whole text of each page that has something from the code in it, as it should be."""
    hooks = sorted((DOCS / "hooks").glob("*.md"))
    return {DOCS / "commands.md": commands_page(), **{page: with_tables(page.read_text()) for page in hooks}}


def commands_page() -> str:
    """Return the page of all commands."""
    named: list[tuple[str, ...]] = [(), *((name,) for name in COMMANDS), ("figure", "rate-distortion")]
    return COMMANDS_PAGE + "".join(_section(" ".join(["genbench", *words]), help_of(words)) for words in named)


def _section(command: str, text: str) -> str:
    return f"\n## {command}\n\n```console\n$ {command} --help\n{text}```\n"


def help_of(words: tuple[str, ...]) -> str:
    """Return what a command says of itself, in 80 columns."""
    printed, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with redirect_stdout(printed):
            status = main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        os.environ.update({} if before is None else {"COLUMNS": before})
    if status:
        raise RuntimeError(f"{words} --help ended with {status}")
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def with_tables(text: str) -> str:
    """Return a page with its tables of checks as the kit has them."""
    return _TABLE.sub(lambda found: found[1] + checks_table(found[2]) + found[3], text)


def checks_table(kind: str) -> str:
    """Return a row for each check of a kind: its name, and the first sentence that its function says of itself."""
    rows = [(BUILDS, "It can be built, with its settings or the defaults.")]
    rows += [(name, _sentence(place)) for name, place in CHECKS[kind]]
    return "".join(f"{row}\n" for row in ["| check | what must hold |", "|---|---|", *map(_row, rows)])


def _row(cells: tuple[str, str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _sentence(place: str) -> str:
    module, _, name = place.partition(":")
    said = getattr(import_module(module), name).__doc__ or ""
    sentence = " ".join(said.split("\n\n")[0].split())
    if sentence.startswith("Check that "):
        sentence = sentence.removeprefix("Check that ").replace(", and that ", ", and ")
    return sentence[:1].upper() + sentence[1:]


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
