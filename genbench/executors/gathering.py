"""One store for runs on many machines: the same on shared storage, or records that are brought home. Imports no torch.

A store is recognised by a mark in it that only this suite can have left there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from time import sleep

from genbench.config import RunConfig
from genbench.data.sources import cache_folder
from genbench.errors import GenbenchError, explained, on_one_line
from genbench.executors.interface import Ended, Job, Terms
from genbench.reading import MAX_RECORD_BYTES, Source, parse_record
from genbench.records import Record
from genbench.store import Busy, RunFolder, folder_in, lock, read_record, write_atomic, write_config, write_record

SLOW_S = (0.1, 0.9, 4.0)
"""Pauses after which a mark is looked for again: a network file system may show a new file late."""


@contextmanager
def marked(runs: Path) -> Iterator[Path]:
    """Leave a mark in a store while its runs are carried out.

    Raises:
        GenbenchError: the store can't be written.
    """
    mark = runs / f".mark-{token_hex(16)}"
    write_atomic(mark, "another machine that sees this file shares the store; it can be deleted\n")
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def sees(mark: Path) -> bool:
    """Say whether this machine sees a mark; a random name is nowhere else by chance."""
    for pause in (*SLOW_S, 0.0):
        if mark.exists():
            return True
        # Where not even the store is there, this is another disk; else its list of files may be old.
        if not mark.parent.exists():
            return False
        sleep(pause)
    return False


def apart(terms: Terms) -> Terms:
    """Return the terms of a machine that does not share the store: it has one of its own, beside its cache."""
    cache = cache_folder().absolute()
    return replace(terms, runs=cache / "apart", cache=cache)


def has_ended(runs: Path, config: RunConfig) -> bool:
    """Say whether a store has a record of a run that did not fail."""
    path = folder_in(runs, config).record_path
    try:
        return path.exists() and read_record(path).status != "failed"
    except GenbenchError:  # a record that can't be read is for the run itself to explain
        return True


def is_free(runs: Path, config: RunConfig) -> bool:
    """Say whether no process is at a run."""
    try:
        with lock(folder_in(runs, config).path):
            return True
    except Busy:
        return False
    except GenbenchError:  # what is wrong there is for the run itself to explain
        return True


def bring_home(runs: Path, job: Job, content: bytes) -> Ended | None:
    """Put a record that another machine sent into the store, trusting nothing in it; say why not where it can't be.

    A record that is there already and did not fail stays, and is added to where both are of the same weights.
    """
    folder = folder_in(runs, job.config)
    try:
        if len(content) > MAX_RECORD_BYTES:
            raise GenbenchError(f"what was sent is larger than {MAX_RECORD_BYTES // 2**20} MiB, so not a record")
        record = parse_record(content, Source(folder.record_path))
        if (record.config_hash, record.run.seed) != (job.config.hash(), job.config.seed):
            raise GenbenchError(f"the record that was sent is of another configuration ({record.config_hash[:8]})")
        with lock(folder.path):
            together = _together(folder, record)
            write_config(folder, together.config)
            write_record(folder, together)
    except Busy as error:
        return Ended("busy", error.message)
    except GenbenchError as error:
        return Ended("failed", on_one_line(explained(error)))
    return None


def _together(folder: RunFolder, record: Record) -> Record:
    from genbench.evaluate.merging import merge

    if not folder.record_path.exists():
        return record
    earlier = read_record(folder.record_path)
    if earlier.status == "failed":
        return record
    if record.status != "ok" or None in (earlier.weights_sha256, record.weights_sha256):
        raise GenbenchError(
            f"{folder.record_path}: the run has ended {earlier.status} before, now {record.status}; the first is kept",
            "move the run's folder away to carry it out anew",
        )
    return merge(earlier, record)
