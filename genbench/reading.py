"""Records as bytes from wherever, which nobody trusts: read up to a bound, checked, or refused in words.

Imports no torch. No path that stands in a record is ever opened.
"""

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from genbench.errors import GenbenchError
from genbench.schema import SCHEMA

if TYPE_CHECKING:
    from pydantic import ValidationError as InvalidRecord

    from genbench.records import Record

MAX_RECORD_BYTES = 16 * 2**20

_MIB = f"{MAX_RECORD_BYTES // 2**20} MiB"
_NOT_A_RECORD = "not a genbench record"
# Neither waits for a pipe's other end, nor hands the file to a process that is started meanwhile.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Source:
    """Where a record stands.

    Attributes:
        line: of a file of JSON lines, from 1; None where the file is one record.
        place: what the user named to have it read.
    """

    path: Path
    line: int | None = None
    place: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.line is None else f"{self.path}:{self.line}"


class Unreadable(GenbenchError):
    """A record that can't be read.

    Args:
        where: the file, and its line where it has several records.
        what: was found and expected, alike for all records of which it holds.
    """

    def __init__(self, where: Source | Path, what: str, hint: str | None = None) -> None:
        super().__init__(f"{where}: {what}", hint)
        self.where = where
        self.what = what


def read_limited(path: Path) -> bytes:
    """Return what is in a file that may be a record.

    Raises:
        Unreadable: it can't be read, is no regular file, or larger than any record.
    """
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        # Room is made for as much as is asked for.
        content = os.read(descriptor, min(size, MAX_RECORD_BYTES) + 1)
        while len(content) < min(size, MAX_RECORD_BYTES + 1) and (more := os.read(descriptor, MAX_RECORD_BYTES)):
            content += more
    if len(content) > MAX_RECORD_BYTES:
        raise Unreadable(path, f"larger than {_MIB}, so not a record")
    return content


def read_lines(path: Path) -> Iterator[tuple[Source, bytes | Unreadable]]:
    """Yield the lines of a file of JSON lines, without their ends and the empty ones, or why one can't be a record.

    No more than one line is held at a time, and no more of it than a record may have.

    Raises:
        Unreadable: it can't be read, or is no regular file.
    """
    with _opened(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        number = 0
        while line := file.readline(MAX_RECORD_BYTES + 1):
            number += 1
            source = Source(path, number)
            if len(line) > MAX_RECORD_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_RECORD_BYTES)
                yield source, Unreadable(source, f"longer than {_MIB}, so not a record")
            elif not line.isspace():
                yield source, line.rstrip(b"\r\n")  # in a text that was cut short, they would look like a part of it


def parse_record(content: bytes, source: Source) -> "Record":
    """Return the record of that JSON.

    Raises:
        Unreadable: it is half-written, of another schema, or invalid; says which field.
    """
    # Only here, for building the models takes longer than reading a hundred digests.
    from pydantic import ValidationError

    from genbench.records import Record

    check_schema(content, source)
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise _explain(error, source) from error
    if (found := _not_finite(record.config, "config")) is not None:
        raise _invalid(source, f"{found}, expected a finite number")
    return record


def check_schema(content: bytes, source: Source) -> None:
    """Raise `Unreadable` where JSON is of another schema; what is no JSON at all passes."""
    schema = schema_of(content, source)
    if schema is None or schema == SCHEMA:
        return
    version = version_of(schema, source)
    if version < version_of(SCHEMA, source):
        raise Unreadable(
            source, f"stored in the old format {schema!r}", f"run `genbench upgrade {source.place or source.path}`"
        )
    raise Unreadable(
        source,
        f"schema {schema!r} is newer than this genbench, which reads {SCHEMA!r}",
        "upgrade genbench: `pip install --upgrade genbench`",
    )


def schema_of(content: bytes, source: Source) -> str | None:
    """Return the schema that JSON names, or None where it is no JSON at all.

    Raises:
        Unreadable: it names none.
    """
    try:
        schema = Decoder(_Named).decode(content).schema
    except (ValidationError, RecursionError) as error:
        raise Unreadable(source, _NOT_A_RECORD) from error
    except (DecodeError, UnicodeDecodeError):
        return None
    if schema is None:
        raise Unreadable(source, f"{_NOT_A_RECORD}: it names no schema, expected {SCHEMA!r}")
    if not isinstance(schema, str):
        raise Unreadable(source, f"{_NOT_A_RECORD}: its schema is no text, expected {SCHEMA!r}")
    return schema


def version_of(schema: str, source: Source) -> int:
    """Return the number in the name of a record's schema.

    Raises:
        Unreadable: it is the schema of something else.
    """
    found = re.fullmatch(rf"{re.escape(SCHEMA.rpartition('/')[0])}/(0|[1-9][0-9]{{0,8}})", schema)
    if found is None:
        raise Unreadable(source, f"{_NOT_A_RECORD}: schema is {schema[:100]!r}, expected {SCHEMA!r}")
    return int(found[1])


class _Named(Struct):
    """What says of JSON what it is; all else is stepped over."""

    schema: object = None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable(path, "not a regular file")
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(path, f"can't be read: {error.strerror or error}") from error


def _explain(error: "InvalidRecord", source: Source) -> Unreadable:
    first = error.errors(include_url=False)[0]
    if first["type"] != "json_invalid":
        field = shorten(".".join(map(str, first["loc"])) or "record", 200)
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return _invalid(source, f"{field}: {first['msg']}{more}")
    half = "EOF" in first["msg"]
    what = f"{'half-written' if half else 'not JSON'}: {first['msg'].removeprefix('Invalid JSON: ')}"
    if source.line is not None:
        return Unreadable(source, what.replace(" at line 1 column", " at column"), "have the file exported anew")
    if source.path.suffix != ".json":  # anything may have been named, and is not to be deleted
        return Unreadable(source, what, "name a store, a run folder, a record.json or a .jsonl file")
    return Unreadable(
        source, what, "put a copy of it back, or delete it: the same `genbench run` then resumes and writes it anew"
    )


def _invalid(source: Source, what: str) -> Unreadable:
    hint = "records are written by genbench and not meant to be edited; run it again"
    return Unreadable(source, f"invalid record: {what}", hint)


def _not_finite(value: object, where: str) -> str | None:
    """Return where in a configuration, which may hold any JSON, there is a number that JSON has no form for."""
    if isinstance(value, Mapping):
        found = (_not_finite(item, f"{where}.{key}") for key, item in value.items())
    elif isinstance(value, list):
        found = (_not_finite(item, f"{where}.{index}") for index, item in enumerate(value))
    else:
        return f"{where}: {value}" if isinstance(value, float) and not math.isfinite(value) else None
    return next((each for each in found if each is not None), None)
