"""Run folders: where a run's files are, atomic writes, locks, and reading records back. Imports no torch.

A run's folder is `runs/<dataset>/<model>-<similarity>/s<seed>-<hash>/`; stores merge by copying.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import tomli_w
from filelock import FileLock, Timeout
from pydantic import ValidationError

from genbench.errors import GenbenchError
from genbench.records import SCHEMA, Record

MAX_RECORD_BYTES = 16 * 2**20
RECORD_NAME = "record.json"

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_NOT_RUNS = {"checkpoint", "images", "tables"}


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
        return self.path / "unfinished.json"

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

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
    def tables_path(self) -> Path:
        return self.path / "tables"


def run_folder(root: Path, dataset: str, model: str, similarity: str | None, seed: int, config_hash: str) -> RunFolder:
    """Return the folder of a run in the store at `root`; `config_hash` is `RunConfig.hash()`."""
    return RunFolder(root / dataset / f"{model}-{similarity or 'none'}" / f"s{seed}-{config_hash[:8]}")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file such that it holds, after a crash at any time, all of the old content or all of the new.

    Missing folders are made. Text is written as UTF-8 with its line ends as they are.

    Raises:
        GenbenchError: it can't be written.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, content)
            os.replace(temporary, path)  # noqa: PTH105 - tests let exactly this call fail
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, text: str) -> None:
    """Add text at the end of a file, which a kill may cut short.

    Raises:
        GenbenchError: it can't be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


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
        raise _unwritable(folder, error) from error
    try:
        _remove_temporaries(folder)
        yield
    finally:
        held.release()


def write_record(folder: RunFolder, record: Record, *, unfinished: bool = False) -> None:
    """Write `record.json`, atomically, or the record of a run whose scoring is under way.

    Raises:
        GenbenchError: it can't be written, or its configuration holds a number that JSON has no form for.
    """
    try:
        # pydantic's own JSON would write NaN as null
        text = json.dumps(record.model_dump(), indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise GenbenchError(
            f"{folder.record_path}: the configuration holds NaN or an infinity", "give finite settings"
        ) from error
    write_atomic(folder.unfinished_path if unfinished else folder.record_path, text + "\n")


def write_config(folder: RunFolder, config: Mapping[str, object]) -> None:
    """Write `config.toml` for people to read; TOML has no null, so what is None is left out (the record has it all).

    Raises:
        GenbenchError: it can't be written, or a list in it holds None.
    """
    write_atomic(folder.config_path, tomli_w.dumps(_without_none(config, "config")))


def read_record(path: Path) -> Record:
    """Read one record, trusting nothing in the file.

    Raises:
        GenbenchError: it is missing, half-written, too large, of another schema, or invalid; says which field.
    """
    content = _read_limited(path)
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise _explain(path, content, error) from error
    if "schema_" not in record.model_fields_set:
        raise GenbenchError(f"{path}: not a genbench record: it names no schema, expected {SCHEMA!r}")
    if b"NaN" in content or b"Infinity" in content:
        _refuse_constants(path, content)
    return record


def scan(root: Path) -> tuple[list[Record], list[str]]:
    """Read every record below `root`, in the order of their paths.

    Symbolic links are not followed.

    Returns:
        The records, and a line for each that can't be read or folder that can't be entered.
    """
    records: list[Record] = []
    paths, problems = find_records(root)
    for path in paths:
        try:
            records.append(read_record(path))
        except GenbenchError as error:
            problems.append(f"{error.message} ({error.hint})" if error.hint else error.message)
    return records, problems


def find_records(root: Path) -> tuple[list[Path], list[str]]:
    """Find every record below `root`, unread; returns as `scan` does, with paths instead of records."""
    found: list[Path] = []
    problems: list[str] = []
    for folder, folders, files in os.walk(root, onerror=lambda e: problems.append(f"{e.filename}: {e.strerror}")):
        if RECORD_NAME not in files:
            continue
        folders[:] = [name for name in folders if name not in _NOT_RUNS]
        path = Path(folder, RECORD_NAME)
        if path.is_symlink():
            problems.append(f"{path}: a symbolic link, not followed")
        else:
            found.append(path)
    return sorted(found), problems


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
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


def _unwritable(path: Path, error: OSError) -> GenbenchError:
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


def _read_limited(path: Path) -> bytes:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait forever
            raise GenbenchError(f"{path}: not a regular file")
        with path.open("rb") as file:
            # Room is made for as much as is asked for; the file may have grown meanwhile.
            content = file.read(min(state.st_size, MAX_RECORD_BYTES) + 1)
    except OSError as error:
        raise GenbenchError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_RECORD_BYTES:
        raise GenbenchError(f"{path}: larger than {MAX_RECORD_BYTES // 2**20} MiB, so not a record")
    return content


def _refuse_constants(path: Path, content: bytes) -> None:
    """Look for NaN as a value: the configuration may hold any JSON, and the word may stand in any text."""

    def refuse(constant: str) -> None:
        raise GenbenchError(f"{path}: invalid record: holds {constant}, which JSON has not", "run it again")

    json.loads(content, parse_constant=refuse)


def _explain(path: Path, content: bytes, error: ValidationError) -> GenbenchError:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        half = "EOF" in first["msg"] or not content.strip()
        return GenbenchError(
            f"{path}: {'half-written' if half else 'not JSON'}: {first['msg']}",
            "put a copy of it back, or delete it: the same `genbench run` then resumes and writes it anew",
        )
    return _other_schema(path, content) or _invalid(path, error)


def _other_schema(path: Path, content: bytes) -> GenbenchError | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return GenbenchError(f"{path}: not a genbench record")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema == SCHEMA:
        return None
    name, current = SCHEMA.split("/")
    found = re.fullmatch(rf"{re.escape(name)}/(\d{{1,9}})", schema) if isinstance(schema, str) else None
    if found is None:
        return GenbenchError(f"{path}: not a genbench record: schema is {schema!r}, expected {SCHEMA!r}")
    if int(found[1]) < int(current):
        return GenbenchError(f"{path}: is stored in the old format {schema!r}", f"run `genbench upgrade {path}`")
    return GenbenchError(
        f"{path}: schema {schema!r} is newer than this genbench, which reads {SCHEMA!r}",
        "upgrade genbench: `pip install --upgrade genbench`",
    )


def _invalid(path: Path, error: ValidationError) -> GenbenchError:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "record"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return GenbenchError(
        f"{path}: invalid record: {field}: {first['msg']}{more}",
        "records are written by genbench and not meant to be edited; run it again",
    )
