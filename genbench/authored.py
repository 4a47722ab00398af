"""TOML files that people write, as suites and recipes: found by name, read, and their faults told. Imports no torch."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from genbench.errors import GenbenchError, did_you_mean, unknown_name

_PACKAGED = Path(__file__).parent / "suites"
_IN_REPOSITORY = Path(__file__).parent.parent / "benchmarks"


def known_files(folder: str = "") -> dict[str, Path]:
    """Return the TOML files of a folder of `benchmarks/`, by name; an installed genbench brings a copy."""
    root = _PACKAGED if _PACKAGED.is_dir() else _IN_REPOSITORY
    return {path.stem: path for path in sorted((root / folder).glob("*.toml"), key=lambda path: path.stem)}


def find_file(kind: str, name: str, known: Mapping[str, Path]) -> Path:
    """Return a file: a path, or the name of one that comes with genbench.

    Raises:
        GenbenchError: there is neither.
    """
    path = Path(name)
    if name in known:  # whatever file of that name, without an ending, lies in the working folder
        return known[name]
    if path.is_file():
        return path
    if is_path(name):
        found = (
            "a folder, expected a TOML file"
            if path.is_dir()
            else "no regular file"
            if path.exists()
            else "no such file"
        )
        raise GenbenchError(f"{path}: {found}", f"{kind}s that come with genbench: {', '.join(known)}")
    raise unknown_name(kind, name, known)


def is_path(name: str) -> bool:
    """Whether a name can only be that of a file: it ends in .toml, or names a folder."""
    path = Path(name)
    return path.suffix == ".toml" or len(path.parts) > 1


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """Return what a file holds.

    Args:
        path: of the file.
        example: the hint where it is no TOML.

    Raises:
        GenbenchError: it can't be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors of Windows begin files by a mark
    except OSError as error:
        raise GenbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GenbenchError(f"{path}: not TOML: {error}", example) from error
    except RecursionError as error:
        raise GenbenchError(f"{path}: nested too deep", example) from error


def unknown_key(where: str, key: str, known: Iterable[str]) -> GenbenchError:
    """Build the error for a key that a table can't have."""
    names = tuple(known)
    return GenbenchError(f"{where}: unknown key `{key}`", did_you_mean(key, names) or f"known: {', '.join(names)}")


def wrong_value(where: str, name: str, found: Any, expected: str, hint: str) -> GenbenchError:
    """Build the error for a value that is not what a key takes."""
    return GenbenchError(f"{where}: {name} is {shown(found)}, expected {expected}", hint)


def split_name(key: str, found: Any) -> str | None:
    """Return the hint for a dotted setting written without quotes, which TOML reads as a table in a table."""
    if not isinstance(found, dict):
        return None
    return f'put the whole name in quotes, as in "{key}.{next(iter(found), "…")}" = …'


def at(value: Any, place: Iterable[int | str]) -> Any:
    """Return what stands at a place of nested tables and lists."""
    for part in place:
        value = value[part]
    return value


def shown(value: Any) -> str:
    """Return a value about as TOML has it, and no more of it than anybody reads."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, str | list):
        return shorten(repr(value), 80, placeholder=" …")
    return plain(value)[:80]


def plain(value: str | bool | float) -> str:
    """Return a value as the command line takes it, after KEY=."""
    return str(value).lower() if isinstance(value, bool) else str(value)
