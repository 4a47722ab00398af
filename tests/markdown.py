"""The code blocks of Markdown pages, and the commands, files and changes in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"( *)(`{3,})([\w-]*)")
_INDENT = "    "
_PATH = re.compile(r"# ([\w./-]+\.(?:py|toml))")
_ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: of its first line in the page, from 1.
        language: what stands after the fence; `sh` where the block is indented instead.
    """

    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """Return the path of the file that the block is: its first line is a comment that says nothing else."""
        found = _PATH.fullmatch(self.text.partition("\n")[0])
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """A command of a block.

    Attributes:
        words: without the variables that are set before it.
        variables: set for this command.
        expected: lines that it must print, in this order; `…` stands for anything.
    """

    words: tuple[str, ...]
    variables: dict[str, str]
    expected: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([*(f"{name}={value}" for name, value in self.variables.items()), *self.words])


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    return list(_blocks(page.read_text(encoding="utf-8").splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        if fence:
            indent, ticks, language = fence.groups()
            end = next(n for n in range(number + 1, len(lines)) if lines[n] == indent + ticks)
            inside = [line.removeprefix(indent) for line in lines[number + 1 : end]]
            yield Block(number + 2, language, "\n".join(inside) + "\n")
        elif lines[number].startswith(_INDENT) and (number == 0 or not lines[number - 1].strip()):
            end = _end_of_indented(lines, number)
            inside = [line.removeprefix(_INDENT) for line in lines[number:end]]
            yield Block(number + 1, "sh", "\n".join(inside) + "\n")
            end -= 1
        else:
            end = number
        number = end + 1


def _end_of_indented(lines: list[str], start: int) -> int:
    end = start
    for number in range(start, len(lines)):
        if lines[number].startswith(_INDENT):
            end = number + 1
        elif lines[number].strip():
            break
    return end


def commands(block: Block) -> list[Command]:
    """Return the commands of a block of them, with what they print where it is a `console`."""
    if block.language == "sh":
        return [_command(part) for line in block.text.splitlines() for part in _parts(line)]
    found: list[Command] = []
    for prompt, *printed in _transcripts(block):
        parts = _parts(prompt.removeprefix("$ "))
        found += [_command(part) for part in parts[:-1]]
        found.append(_command(parts[-1], tuple(line for line in printed if line.strip())))
    return found


def _transcripts(block: Block) -> list[list[str]]:
    """Return each command of a console with the lines below it."""
    found: list[list[str]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append([line])
        else:
            found[-1].append(line)  # a console begins with a command
    return found


def _parts(line: str) -> list[str]:
    """Return what a line carries out, one after the other; a comment is none of it."""
    without_comment = re.sub(r"(^|\s)#.*", "", line)
    return [part.strip() for part in without_comment.split(" && ") if part.strip()]


def _command(text: str, expected: tuple[str, ...] = ()) -> Command:
    words = shlex.split(text)
    variables: dict[str, str] = {}
    while words and (set_ := _ASSIGNMENT.fullmatch(words[0])):
        variables[set_[1]] = set_[2]
        del words[0]
    return Command(tuple(words), variables, expected)


def changed(text: str, difference: str) -> str:
    """Return a text with a difference made: lines after `-` give way to those after `+`, others must be there.

    Raises:
        ValueError: the text has not the lines that the difference speaks of, or has them more than once.
    """
    lines = [(line[:1], line[1:]) for line in difference.splitlines()]
    before = "".join(f"{rest}\n" for sign, rest in lines if sign in ("-", " "))
    after = "".join(f"{rest}\n" for sign, rest in lines if sign in ("+", " "))
    if text.count(before) != 1:
        raise ValueError(f"{text.count(before)} times in the file, expected once:\n{before}")
    return text.replace(before, after)


def missing(printed: str, expected: tuple[str, ...]) -> str | None:
    """Return the first expected line that was not printed after the one before it, or None.

    Gaps and line breaks may be others, as in a terminal of another width; `…` stands for anything.
    """
    text, place = " ".join(printed.split()), 0
    for line in expected:
        parts = [" ".join(part.split()) for part in line.split("…")]
        found = re.compile(".*?".join(map(re.escape, parts))).search(text, place)
        if found is None:
            return line
        place = found.end()
    return None
