"""Plugins, cache, data and disk space. Imports no torch."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from genbench.data.sources import source_folder
from genbench.doctor.findings import Ground
from genbench.findings import Finding
from genbench.plugins import KINDS
from genbench.targets import unreachable

LEAST_FREE_BYTES = 2**30
"""A run's checkpoint may take a tenth of it, a prepared data set of 32 px all of it."""


def plugins(ground: Ground) -> Iterator[Finding]:
    """List broken plugins and names that can't be used, else count what is declared."""
    hint = "see `genbench plugins`; mend or remove it"
    found = [
        *(Finding("plugins", "failed", f"{p.title}: {p.problem}", hint) for p in ground.plugins.broken),
        *(Finding("plugins", "failed", clash.message, clash.hint) for clash in ground.plugins.clashes()),
        *(Finding("plugins", "failed", str(lost), hint) for lost in unreachable(ground.plugins)),
    ]
    yield from found
    if not found:
        count = sum(len(ground.plugins.declarations(kind)) for kind in KINDS)
        yield Finding("plugins", "ok", f"{len(ground.plugins.loaded)}, all sound; they declare {count} names")


def cache(ground: Ground) -> Iterator[Finding]:
    """Whether the cache can be written, and what its parts take."""
    there = _nearest(ground.cache)
    hint = "make it writable, or set GENBENCH_CACHE to another folder"
    if not there.is_dir():
        yield Finding("cache", "failed", f"{there} is no folder", hint)
        return
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding("cache", "failed", f"{there} can't be written: {error.strerror or error}", hint)
        return
    yield Finding("cache", "ok", f"{ground.cache}{'' if there == ground.cache else ' (not there yet)'}")
    if there == ground.cache:
        for part in sorted(path for path in ground.cache.iterdir() if path.is_dir()):
            yield Finding(f"cached {part.name}", "ok", in_words(_size(part)))


def disk(ground: Ground) -> Iterator[Finding]:
    """Whether there is room for data and for runs."""
    for name, folder in (("disk of the cache", _nearest(ground.cache)), ("disk of this folder", Path.cwd())):
        free = shutil.disk_usage(folder).free
        enough = free >= LEAST_FREE_BYTES
        hint = f"free some: less than {in_words(LEAST_FREE_BYTES)} is soon used up"
        yield Finding.of(name, enough, f"{in_words(free)} free", hint)


def data(_: Ground) -> Iterator[Finding]:
    """Tell where data is looked for."""
    folder = source_folder(None)
    told = f"GENBENCH_DATA is {folder}" if folder else "GENBENCH_DATA not set: downloaded, or from --data"
    yield Finding("data", "ok", told)


def in_words(size: float) -> str:
    """Return bytes as `12 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def _nearest(folder: Path) -> Path:
    """Return a folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _size(folder: Path) -> int:
    """Return the bytes in a folder; what vanishes meanwhile, or can't be read, counts nothing."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - of possibly very many
            except OSError:
                continue
    return total
