"""Reading tar archives by their members' names; nothing of them is ever written to disk."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from genbench.errors import GenbenchError, in_one_line

# The last is what a header's nonsense becomes.
_BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
_BLOCK = 2**20


def list_members(path: Path, get: str) -> dict[str, int]:
    """Return the names and sizes in bytes of an archive's plain files, having read all of it, so that it is whole.

    Args:
        path: the archive, compressed or not.
        get: where to get it again, for the hint of errors.

    Raises:
        GenbenchError: it is cut off, damaged or no tar archive; a name stands twice, or leads out of it.
    """
    sizes: dict[str, int] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = _name(path, member, get)
                if name in sizes:
                    raise GenbenchError(f"{path}: {name} stands twice in it", get)
                if member.isfile():
                    sizes[name] = member.size
            while tar.fileobj is not None and tar.fileobj.read(_BLOCK):  # gzip's checksum comes last
                pass
    except _BROKEN as error:
        raise _broken(path, error, get) from error
    return sizes


def read_members(path: Path, names: frozenset[str], get: str, block: int = -1) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of some plain files, in the archive's order, as going back would unpack it again.

    Args:
        path: the archive.
        names: as `list_members` returns them.
        get: where to get it again, for the hint of errors.
        block: bytes to read at a time, of which the last of a file may have fewer; -1 for all.

    Raises:
        GenbenchError: it can't be read.
    """
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).as_posix()
                content = tar.extractfile(member) if name in names and member.isfile() else None
                while content is not None and (read := content.read(block)):
                    yield name, read
    except _BROKEN as error:
        raise _broken(path, error, get) from error


def _name(path: Path, member: tarfile.TarInfo, get: str) -> str:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise GenbenchError(f"{path}: a file in it, {member.name!r}, leads out of it: not the official archive", get)
    return name.as_posix()


def _broken(path: Path, error: BaseException, get: str) -> GenbenchError:
    return GenbenchError(f"{path}: not a whole archive: {in_one_line(error)}", get)
