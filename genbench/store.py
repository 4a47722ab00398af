"""Run folders: where a run's files are, atomic writes, locks, and reading records back. Imports no torch.

A run's folder is `runs/<dataset>/<model>-<similarity>/s<seed>-<hash>/`; stores merge by copying.
"""

import errno
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import tomli_w
from filelock import FileLock, Timeout

from genbench.errors import GenbenchError, first_line
from genbench.reading import Source, parse_record, read_limited

if TYPE_CHECKING:
    from genbench.config import RunConfig
    from genbench.records import Record

RECORD_NAME, UNFINISHED_NAME, CONFIG_NAME = "record.json", "unfinished.json", "config.toml"

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_NOT_RUNS = {"checkpoint", "film", "images", "tables"}


class Busy(GenbenchError):
    """Another process holds the folder; what it does there may be all that was wanted."""


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run are; nothing is created by asking."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path / RECORD_NAME

    @property
    def unfinished_path(self) -> Path:
        return self.path / UNFINISHED_NAME

    @property
    def config_path(self) -> Path:
        return self.path / CONFIG_NAME

    @property
    def curve_path(self) -> Path:
        return self.path / "curve.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint" / "last.safetensors"

    @property
    def images_path(self) -> Path:
        return self.path / "images"

    @property
    def film_path(self) -> Path:
        return self.path / "film"

    @property
    def tables_path(self) -> Path:
        return self.path / "tables"


def run_folder(root: Path, dataset: str, model: str, similarity: str | None, seed: int, config_hash: str) -> RunFolder:
    """Return the folder of a run in the store at `root`; `config_hash` is `RunConfig.hash()`."""
    return RunFolder(root / dataset / f"{model}-{similarity or 'none'}" / f"s{seed}-{config_hash[:8]}")


def folder_in(runs: Path, config: "RunConfig", config_hash: str | None = None) -> RunFolder:
    """Return the folder of a run in the store at `runs`; whoever has the configuration's hash saves computing it."""
    similarity = config.similarity.name if config.similarity else None
    key = config_hash or config.hash()
    return run_folder(runs, config.dataset.name, config.model.name, similarity, config.seed, key)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file such that it holds, after a crash at any time, all of the old content or all of the new.

    Missing folders are made. Text is written as UTF-8 with its line ends as they are.

    Raises:
        GenbenchError: it can't be written.
    """
    write_parts_atomic(path, (data.encode() if isinstance(data, str) else data,))


def write_parts_atomic(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file as `write_atomic` does, of parts that need not be held together; an error between them leaves it.

    Raises:
        GenbenchError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, parts)
            os.replace(temporary, path)  # noqa: PTH105 - tests let exactly this call fail
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def append(path: Path, text: str) -> None:
    """Add text at the end of a file, which a kill may cut short.

    Raises:
        GenbenchError: it can't be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the kernel frees it when the process dies, however it dies.

    The holder is the folder's only writer, so temporary files that a killed one left there are removed.

    Raises:
        Busy: another process holds it.
        GenbenchError: it can't be written.
    """
    held = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(blocking=False)
    except Timeout:
        raise Busy(
            f"{folder}: another run is using this folder",
            "wait until it has ended; the same command then resumes where it stopped",
        ) from None
    except NotImplementedError as error:
        raise GenbenchError(
            f"{folder}: this file system has no locks", "keep the runs on a local disk (`--runs`)"
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        _remove_temporaries(folder)
        yield
    finally:
        held.release()


def write_record(folder: RunFolder, record: "Record", *, unfinished: bool = False) -> None:
    """Write `record.json`, atomically, or the record of a run whose scoring is under way.

    Raises:
        GenbenchError: it can't be written, or its configuration holds a number that JSON has no form for.
    """
    try:
        text = record_json(record)
    except ValueError as error:
        raise GenbenchError(
            f"{folder.record_path}: the configuration holds NaN or an infinity", "give finite settings"
        ) from error
    write_atomic(folder.unfinished_path if unfinished else folder.record_path, text)


def record_json(record: "Record") -> str:
    """Return what `record.json` holds.

    Raises:
        ValueError: the configuration holds a number that JSON has no form for.
    """
    # pydantic's own JSON would write NaN as null
    return json.dumps(record.model_dump(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_config(folder: RunFolder, config: Mapping[str, object]) -> None:
    """Write `config.toml` for people to read; TOML has no null, so what is None is left out (the record has it all).

    Raises:
        GenbenchError: it can't be written, or a list in it holds None.
    """
    write_atomic(folder.config_path, tomli_w.dumps(_without_none(config, "config")))


def read_config(folder: RunFolder) -> dict[str, Any]:
    """Return the configuration of a run, ended or not, as `config.toml` has it: without what is None, and unchecked.

    Raises:
        GenbenchError: it is missing, or no TOML.
    """
    try:
        return tomllib.loads(folder.config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        told = (isinstance(error, OSError) and error.strerror) or first_line(error)
        raise GenbenchError(
            f"{folder.config_path}: {told}", "name a run's folder, as `genbench run` wrote it"
        ) from error


def read_record(path: Path) -> "Record":
    """Read one record, trusting nothing in the file.

    Raises:
        GenbenchError: it is missing, half-written, too large, of another schema, or invalid; says which field.
    """
    return parse_record(read_limited(path), Source(path))


def find_records(root: Path) -> tuple[list[Path], list[str]]:
    """Find every record below `root`, unread, as `find_files` does."""
    return find_files(root, frozenset({RECORD_NAME}))


def find_files(root: Path, names: frozenset[str]) -> tuple[list[Path], list[str]]:
    """Find every file of one of these names below `root`, in the order of their paths.

    Symbolic links are not followed; of a folder that holds such a file, what a run keeps beside its record is not
    searched.

    Returns:
        The files, and a line for each that is a link or folder that can't be entered.
    """
    found: list[str] = []
    problems: list[str] = []
    todo = [os.fspath(root)]
    while todo:
        try:
            with os.scandir(todo.pop()) as folder:
                entries = list(folder)
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
            continue
        # What an entry is was told along with its name: asking again would take most of the time.
        files = [entry for entry in entries if entry.name in names and not entry.is_dir(follow_symlinks=False)]
        problems += [f"{entry.path}: a symbolic link, not followed" for entry in files if entry.is_symlink()]
        found += [entry.path for entry in files if not entry.is_symlink()]
        left_out = _NOT_RUNS if files else ()
        todo += [e.path for e in entries if e.is_dir(follow_symlinks=False) and e.name not in left_out]
    ordered = sorted(found, key=lambda path: path.split(os.sep))  # noqa: PTH206 - as Paths sort, ten times as fast
    return list(map(Path, ordered)), sorted(problems)


def _write_synced(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder outlast a crash."""
    if os.name == "nt":  # Windows opens no folders; its renames are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_temporaries(folder: Path) -> None:
    for path in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> GenbenchError:
    """Build the error for a path that can't be written; exit code 1 where the disk is full, else 2."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space there" if full else "make its folder writable, or choose another folder"
    return GenbenchError(f"cannot write {path}: {error.strerror or error}", hint, exit_code=1 if full else 2)


def _without_none(value: object, where: str) -> dict[str, object]:
    kept = _tomlable(value, where)
    if not isinstance(kept, dict):
        raise TypeError(f"{where}: {type(value).__name__} is no table")
    return kept


def _tomlable(value: object, where: str) -> object:
    if isinstance(value, Mapping):
        return {str(key): _tomlable(item, f"{where}.{key}") for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        if None in value:
            raise GenbenchError(f"{where}: a list holds None, which TOML can't", "use another value for `nothing`")
        return [_tomlable(item, where) for item in value]
    return value
