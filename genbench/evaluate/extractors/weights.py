"""Files with published weights: where they are looked for, how they are checked, downloaded and read.

Nothing is unpickled with full powers: a file gives tensors or an error.
"""

import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from urllib.error import URLError
from urllib.request import urlopen
from warnings import catch_warnings, simplefilter

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable, in_one_line
from genbench.evaluate.extractors.torchscript import is_torchscript, read_torchscript
from genbench.store import write_atomic

FOLDER_VARIABLE = "GENBENCH_WEIGHTS"
"""Names a folder with weights, under the names that they are published under."""

CONNECT_S = 10.0
"""How long a server may stay silent, in seconds, before the download is given up."""

_HASH = re.compile(r"-([0-9a-f]{8,64})\.[A-Za-z]+")
"""How a file's name ends where it carries its content's SHA-256, or the beginning of it: a habit of torch's hub."""

_UNREADABLE = (
    UnpicklingError,
    RuntimeError,
    TypeError,
    AttributeError,
    EOFError,
    ValueError,
    LookupError,
    SafetensorError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Published:
    """Weights as their makers publish them.

    Attributes:
        what: they are, for messages: `vgg16 weights of torchvision`.
        url: of the file.
        files: the names that the file goes by; a download gets the first.
        sha256: of the file, or how it begins.
        variable: the environment variable that names their file, where they have one of their own.
        setting: the one in which a user may name their file.
    """

    what: str
    url: str
    files: tuple[str, ...]
    sha256: str
    variable: str | None = None
    setting: str = "weights"


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        tensors: by name.
        sha256: of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str


def hash_in(file: str) -> str:
    """Return the hash that a file's name carries, as in `vgg16-397923af.pth`, or nothing."""
    found = _HASH.search(file)
    return found[1] if found and found.end() == len(file) else ""


def find(published: Published, setting: str = "") -> Path | None:
    """Look for weights: at `setting`, else their variable, else in GENBENCH_WEIGHTS, else in torch's hub cache.

    Raises:
        GenbenchError: what the user named is not there.
    """
    variable = published.variable or ""
    for origin, name in ((f"setting `{published.setting}`", setting), (variable, os.environ.get(variable, ""))):
        if name:
            path = Path(name).expanduser()
            if not path.is_file():
                raise GenbenchError(f"{origin}: no file at {path}", f"expected is the file from {published.url}")
            return path
    places = [folder / file for folder in (*_named_folder(), _hub()) for file in published.files]
    return next((place for place in places if place.is_file()), None)


def obtain(published: Published, setting: str = "") -> Path:
    """Find weights as `find` does, else download them to torch's hub cache.

    Raises:
        GenbenchError: what the user named is not there.
        NotApplicable: they are nowhere and can't be downloaded; says where to put them.
    """
    found = find(published, setting)
    if found is not None:
        return found
    target = _hub() / published.files[0]
    _download(published, target)
    return target


def read(path: Path, published: Published) -> Weights:
    """Read tensors from a `.safetensors` file, a TorchScript archive, or what `torch.save` wrote of a state dict.

    Those of a list are called "0", "1" and so on.

    Raises:
        GenbenchError: the file can't be read, is something else, or its name carries a hash that its content has not.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GenbenchError(f"cannot read {path}: {error.strerror or error}") from error
    digest = sha256(content).hexdigest()
    expected = hash_in(path.name)
    if not digest.startswith(expected):
        raise GenbenchError(
            f"{path}: its name promises SHA-256 {expected}, its content has {digest[: max(len(expected), 8)]}",
            f"the file is damaged or another one: get it anew from {published.url}, or rename it if that is no hash",
        )
    with fitting(path, published):
        return Weights(path, _parse(path, content), digest)


@contextmanager
def fitting(path: Path, published: Published) -> Iterator[None]:
    """Turn the errors of reading weights, or of putting them into a network, into one that names the file."""
    try:
        yield
    except _UNREADABLE as error:
        # torch says in its first line only that something is wrong, in the next what.
        said = " ".join(str(error).split("\n", 2)[:2]) if "loading state_dict" in str(error) else in_one_line(error)
        message = f"{path}: not {published.what}: {shorten(said, 200, placeholder=' …')}"
        raise GenbenchError(message, f"expected is the file from {published.url}") from error


def _parse(path: Path, content: bytes) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_safetensors(content)
    if is_torchscript(content):
        return read_torchscript(content)
    found = _unpickle(content)
    if isinstance(found, list):
        found = {str(place): tensor for place, tensor in enumerate(found)}
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise TypeError(f"it holds {type(found).__name__}, expected tensors by name")
    return found


def _unpickle(content: bytes) -> object:
    """Read what `torch.save` wrote of plain values; whatever else a pickle holds is refused, not carried out."""
    try:
        with catch_warnings():  # torch's advice on how other pickles could be read is not for a file that is refused
            simplefilter("ignore")
            return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except UnpicklingError as error:
        # What torch says begins with advice to load the file all the same, which would carry out what it holds.
        raise UnpicklingError("no file of plain tensors, or damaged; nothing else is loaded from it") from error


def _named_folder() -> tuple[Path, ...]:
    name = os.environ.get(FOLDER_VARIABLE, "")
    if not name:
        return ()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise GenbenchError(f"{FOLDER_VARIABLE}: no folder at {folder}", "name the folder that holds weights")
    return (folder,)


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(published: Published, target: Path) -> None:
    try:
        with urlopen(published.url, timeout=CONNECT_S) as source:  # noqa: S310 - a constant of ours
            content = source.read()
    except (URLError, OSError, HTTPException) as error:
        raise _missing(published, target, str(getattr(error, "reason", None) or error)) from error
    found = sha256(content).hexdigest()
    if not found.startswith(published.sha256):
        reason = f"what came has SHA-256 {found[:8]}…, expected {published.sha256[:8]}…"
        raise _missing(published, target, reason)
    write_atomic(target, content)


def _missing(published: Published, target: Path, reason: str) -> NotApplicable:
    own = f", name its place in {published.variable}" if published.variable else ""
    return NotApplicable(
        f"{published.what} are not here and can't be downloaded ({reason})",
        f"put the file from {published.url} at {target}, or into the folder that {FOLDER_VARIABLE} names{own}, "
        f"or name it in the setting `{published.setting}`",
    )
