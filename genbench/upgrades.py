"""Records of older schemas made into those of the present one, step by step. Imports no torch.

A new schema adds its number to `genbench.records.SCHEMA` and one function here, from the schema before to it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_core import from_json

from genbench.errors import GenbenchError, recordable
from genbench.exchange import Problems, is_lines, missing_place, record_line
from genbench.reading import (
    Source,
    Unreadable,
    parse_record,
    read_limited,
    read_lines,
    schema_of,
    version_of,
)
from genbench.records import Record
from genbench.schema import SCHEMA
from genbench.store import (
    RECORD_NAME,
    UNFINISHED_NAME,
    find_files,
    lock,
    record_json,
    write_atomic,
    write_parts_atomic,
)

Value = dict[str, object]


@dataclass(frozen=True)
class Upgraded:
    """What became of records.

    Attributes:
        found: how many there were of each schema; those of older ones are of the present one now.
        problems: why others stay as they are.
    """

    found: Counter[str] = field(default_factory=Counter)
    problems: Problems = field(default_factory=Problems)


def upgrade(value: Mapping[str, object]) -> Value:
    """Return a record's JSON, of any schema that genbench ever wrote, as the present schema has it.

    Raises:
        KeyError: it is of no such schema.
    """
    upgraded = dict(value)
    while upgraded["schema"] != SCHEMA:
        upgraded = _steps()[str(upgraded["schema"])](upgraded)
    return upgraded


def upgrade_place(place: Path, done: Upgraded) -> None:
    """Rewrite the older records of a store, run folder, record.json or file of JSON lines, each file all or nothing.

    What can't be upgraded stays as it is, as do records of the present schema.

    Args:
        done: is added to.

    Raises:
        GenbenchError: the place is missing.
    """
    if not place.exists():
        raise missing_place(place)
    if place.is_dir():
        paths, told = find_files(place, frozenset({RECORD_NAME, UNFINISHED_NAME}))
        done.problems.told += told
    else:
        beside = place.with_name(UNFINISHED_NAME)
        paths = [place, beside] if place.name == RECORD_NAME and beside.exists() else [place]
    for path in paths:
        try:
            done.found.update(_upgrade_lines(path, done.problems) if is_lines(path) else [_upgrade_file(path)])
        except GenbenchError as error:
            done.problems.add(error)


def _steps() -> Mapping[str, Callable[[Value], Value]]:
    """Return what leads from each older schema to the next."""
    return {"genbench.record/1": _from_1}


def _from_1(value: Value) -> Value:
    """Cut reasons, which had no greatest length; what has been added since has a default."""
    lists = {
        key: [_with_short_reason(item) if isinstance(item, dict) else item for item in items]
        for key in ("skipped", "failures")
        if isinstance(items := value.get(key), list)
    }
    return {**_with_short_reason(value), **lists, "schema": "genbench.record/2"}


def _with_short_reason(value: Value) -> Value:
    reason = value.get("reason")
    return {**value, "reason": recordable(reason)} if isinstance(reason, str) else value


def _upgraded(content: bytes, source: Source) -> tuple[str, Record]:
    """Return the schema that a record is of, and the record as one of the present schema.

    Raises:
        Unreadable: it is broken, or newer, or of no schema that genbench ever wrote.
    """
    if not _is_older(content, source):
        return SCHEMA, parse_record(content, source)
    try:
        value = from_json(content, allow_inf_nan=False)
        schema = value["schema"]
        if schema not in _steps():
            raise Unreadable(source, f"schema is {schema!r}, which no genbench has written")
        upgraded = json.dumps(upgrade(value), allow_nan=False)
    except ValueError as error:
        raise Unreadable(source, f"invalid record: {error}") from error
    return schema, parse_record(upgraded.encode(), source)


def _is_older(content: bytes, source: Source) -> bool:
    schema = schema_of(content, source)
    return schema is not None and version_of(schema, source) < version_of(SCHEMA, source)


def _upgrade_file(path: Path) -> str:
    """Rewrite a file of one record where it is older; return the schema that it was of."""
    content, source = read_limited(path), Source(path)
    # Where there is nothing to do, no more is asked of a folder: it may be read-only.
    if path.name not in (RECORD_NAME, UNFINISHED_NAME) or not _is_older(content, source):
        return _rewrite(path, content)
    with lock(path.parent):
        return _rewrite(path, read_limited(path))


def _rewrite(path: Path, content: bytes) -> str:
    schema, record = _upgraded(content, Source(path))
    if schema != SCHEMA:
        write_atomic(path.resolve(), record_json(record))
    return schema


def _upgrade_lines(path: Path, problems: Problems) -> Counter[str]:
    """Rewrite a file of JSON lines where any is older; return how many there were of each schema."""
    found: Counter[str] = Counter()
    lines = _lines(path, found, problems)
    if any(_may_be_older(content, source) for source, content in read_lines(path)):
        write_parts_atomic(path.resolve(), lines)
    else:
        for _ in lines:
            pass
    return found


def _may_be_older(content: bytes | Unreadable, source: Source) -> bool:
    try:
        return not isinstance(content, Unreadable) and _is_older(content, source)
    except Unreadable:
        return False


def _lines(path: Path, found: Counter[str], problems: Problems) -> Iterator[bytes]:
    """Yield the lines of a file, those of older records anew; what can't be upgraded stays as it is.

    Raises:
        Unreadable: a line is too long to be held, and so to be kept.
    """
    for source, content in read_lines(path):
        if isinstance(content, Unreadable):
            raise Unreadable(source, f"{content.what}; the file stays as it is", "take that line out of it")
        line = content
        try:
            schema, record = _upgraded(content, source)
        except Unreadable as error:
            problems.add(error)
        else:
            found[schema] += 1
            line = content if schema == SCHEMA else record_line(record).encode()
        yield line + b"\n"
