"""Records from stores, run folders and files of JSON lines together, and such files for others. Imports no torch.

A file of JSON lines holds one record a line. What is read may come from a stranger: see `genbench.reading`.
"""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from genbench.digest import Digest, Digester, digest_of
from genbench.errors import GenbenchError, explained, without_folders
from genbench.reading import Source, Unreadable, parse_record, read_limited, read_lines
from genbench.store import find_records

if TYPE_CHECKING:
    from genbench.records import Record

LINES_SUFFIX = ".jsonl"
MOST_NAMED = 3
"""Places that a problem names; of the others it tells how many."""

T = TypeVar("T")


class Problems:
    """Gathers what can't be read as text alone: an error would hold on to the record that it is about."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._alike: dict[tuple[str, str | None], tuple[int, list[str]]] = {}

    def add(self, error: GenbenchError) -> None:
        """Take note of what an error says."""
        if not isinstance(error, Unreadable):
            self.told.append(explained(error))
            return
        count, named = self._alike.get((error.what, error.hint), (0, []))
        self._alike[error.what, error.hint] = count + 1, [*named, str(error.where)][:MOST_NAMED]

    def lines(self) -> list[str]:
        """Return a line for each problem, once for all that have it."""
        lines = list(self.told)
        for (what, hint), (count, named) in self._alike.items():
            more = f" and {count - len(named)} more" if count > len(named) else ""
            lines.append(f"{', '.join(named)}{more}: {what}" + (f" ({hint})" if hint else ""))
        return lines


def read_all(places: Sequence[Path]) -> tuple[list[Digest], list[str]]:
    """Read every record in places: stores, run folders, record.json files and files of JSON lines (`.jsonl`).

    Returns:
        The digests, place by place, in the order of their paths and lines; and a line for each kind of problem.

    Raises:
        GenbenchError: a place is missing.
    """
    digester = Digester()
    return _read_each(places, lambda content, source: _digest(digester, content, source))


def read_located(places: Sequence[Path]) -> tuple[list[tuple[Digest, Source]], list[str]]:
    """Read every record in places, as `read_all` does, each with where it stands."""
    digester = Digester()
    return _read_each(places, lambda content, source: (_digest(digester, content, source), source))


def read_digest(digester: Digester, path: Path) -> Digest | None:
    """Return the digest of one record.json, or None where it is not there or can't be read."""
    try:
        return _digest(digester, read_limited(path), Source(path))
    except GenbenchError:
        return None


def export_lines(places: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Read every record in places, as `read_all` does, complete, and return one line of JSON for each.

    They are sorted, so that the same records give the same lines wherever they lay; identical ones are there once.
    Paths in settings are cut to their last part: the folders are nobody's business.

    Returns:
        The lines, without their ends, and a line for each kind of problem.

    Raises:
        GenbenchError: a place is missing.
    """

    def sortable(content: bytes, source: Source) -> tuple[tuple[object, ...], str]:
        record = parse_record(content, source)
        return _order(record), record_line(record)

    found, problems = _read_each(places, sortable)
    return [line for _, line in sorted(set(found))], problems


def record_line(record: "Record") -> str:
    """Return a record as one line of JSON, without its end."""
    value = record.model_dump() | {"config": _without_folders(record.config)}
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@contextmanager
def no_collecting() -> Iterator[None]:
    """Let Python not look for cycles meanwhile: many records have none, and looking takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def no_records(places: Sequence[Path], problems: Sequence[str]) -> GenbenchError:
    """Return the error for places that have nothing to show, where `problems` were told before."""
    where = ", ".join(map(str, places))
    if problems:
        return GenbenchError(f"{where}: no record that can be read", "the warnings say what is wrong with each")
    return GenbenchError(f"{where}: no finished runs", "make one with `genbench run`, or say where runs are: PATH")


def missing_place(place: Path) -> GenbenchError:
    """Return the error for a place that is not there."""
    return GenbenchError(
        f"{place}: no such file or folder",
        f"name a store, a run folder, a record.json or a {LINES_SUFFIX} file; `genbench run` makes a store",
    )


def is_lines(path: Path) -> bool:
    """Say whether that is the name of a file of JSON lines."""
    return path.suffix.lower() == LINES_SUFFIX


def _digest(digester: Digester, content: bytes, source: Source) -> Digest:
    try:
        return digester.decode(content)
    except (ValueError, RecursionError):  # a value that `Record` would turn into one of the right type
        return digest_of(parse_record(content, source))


def _read_each(places: Sequence[Path], decode: Callable[[bytes, Source], T]) -> tuple[list[T], list[str]]:
    found: list[T] = []
    problems = Problems()
    with no_collecting():
        for place in places:
            if not place.exists():
                raise missing_place(place)
            for source, content in _contents(place, problems):
                try:
                    found.append(decode(content, source))
                except Unreadable as error:
                    problems.add(error)
    return found, problems.lines()


def _contents(place: Path, problems: Problems) -> Iterator[tuple[Source, bytes]]:
    """Yield what may be a record, one at a time."""
    if place.is_dir():
        paths, told = find_records(place)
        problems.told += told
    elif is_lines(place):
        yield from _lines(place, problems)
        return
    else:
        paths = [place]
    for path in paths:
        try:
            content = read_limited(path)
        except Unreadable as error:
            problems.add(error)
        else:
            yield Source(path, place=place), content


def _lines(place: Path, problems: Problems) -> Iterator[tuple[Source, bytes]]:
    try:
        for source, content in read_lines(place):
            if isinstance(content, Unreadable):
                problems.add(content)
            else:
                yield source, content
    except Unreadable as error:
        problems.add(error)


def _order(record: "Record") -> tuple[str, str, str, int, str, str]:
    run = record.run
    return run.dataset, run.model, run.similarity or "", run.seed, record.config_hash, record.finished_utc


def _without_folders(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return without_folders(value) if isinstance(value, str) else value
