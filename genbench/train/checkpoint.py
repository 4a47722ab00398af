"""Checkpoints: one safetensors file of tensors, progress and configuration in its header; nothing is unpickled."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from genbench.errors import GenbenchError
from genbench.interfaces import Model
from genbench.store import write_atomic
from genbench.train.ledger import Window
from genbench.train.optimisers import Optimisers, dump_optimisers, restore_optimisers

FORMAT = "genbench.checkpoint/2"
_MODEL, _OPTIMISER = "model/", "optimiser/"


@dataclass
class Progress:
    """How far a run has come, and what it has spent.

    Attributes:
        images_seen: training images, repeats counted.
        train_s: wall-clock seconds of training, over all parts of a resumed run.
        energy_j: that the device used meanwhile, in joules; None where it does not tell, or did not in some part.
        window: the ledger since the last row of the training curve.
        window_steps: steps in that window.
        precision: that the steps were computed in; a resumed run keeps to it.
    """

    images_seen: int = 0
    train_s: float = 0.0
    energy_j: float | None = None
    window: Window = field(default_factory=list)
    window_steps: int = 0
    precision: str = "auto"


def save_checkpoint(path: Path, model: Model, optimisers: Optimisers, progress: Progress, config_hash: str) -> None:
    """Write the whole state of a run; a crash leaves the checkpoint before it."""
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    tensors |= {_OPTIMISER + name: value for name, value in dump_optimisers(optimisers).items()}
    header = {"format": FORMAT, "config_hash": config_hash, "progress": json.dumps(asdict(progress), allow_nan=False)}
    # A checkpoint must not share memory between tensors, nor depend on their memory format.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomic(path, save(plain, header))


def load_checkpoint(path: Path, model: Model, optimisers: Optimisers, config_hash: str) -> Progress | None:
    """Put a run's state back and return its progress, or None where there is no checkpoint.

    Raises:
        GenbenchError: the file can't be read, or is of another configuration.
    """
    if not path.exists():
        return None
    header, tensors = _read(path)
    _check_header(path, header, config_hash)
    try:
        progress = _progress(header)
        model.load_state_dict(_under(_MODEL, tensors))
        restore_optimisers(optimisers, _under(_OPTIMISER, tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GenbenchError(f"{path}: does not fit this model: {error}", _START_AGAIN) from error
    return progress


def load_weights(path: Path, model: Model, config_hash: str) -> Progress:
    """Put a trained model's state back, without its optimisers', and return its progress.

    Raises:
        GenbenchError: as `load_checkpoint`, and where there is no checkpoint.
    """
    header, tensors = _read(path)
    _check_header(path, header, config_hash)
    try:
        model.load_state_dict(_under(_MODEL, tensors))
        return _progress(header)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GenbenchError(f"{path}: does not fit this model: {error}", _START_AGAIN) from error


def inspect_checkpoint(path: Path, config_hash: str) -> tuple[Progress, str]:
    """Return a checkpoint's progress and the SHA-256 of its weights, as `weights_sha256` has it, without a model.

    Raises:
        GenbenchError: as `load_checkpoint`.
    """
    header, tensors = _read(path)
    _check_header(path, header, config_hash)
    try:
        return _progress(header), _digest(_under(_MODEL, tensors))
    except (KeyError, TypeError, ValueError) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", _START_AGAIN) from error


def read_progress(path: Path) -> Progress | None:
    """Return a checkpoint's progress alone, or None where there is no readable checkpoint."""
    try:
        return _progress(_read_header(path))
    except (GenbenchError, KeyError, TypeError, ValueError):
        return None


_START_AGAIN = "delete the checkpoint to start this run again from the beginning"


def weights_sha256(model: nn.Module) -> str:
    """Return the SHA-256 of all that a model, or a part of it, has learned: names and values of its state."""
    return _digest(model.state_dict())


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = sha256()
    for name, value in sorted(state.items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_header(path: Path, header: Mapping[str, str], config_hash: str) -> None:
    if header.get("format") != FORMAT:
        raise GenbenchError(f"{path}: format {header.get('format')!r}, expected {FORMAT!r}", _START_AGAIN)
    if header.get("config_hash") != config_hash:
        raise GenbenchError(
            f"{path}: of another configuration ({str(header.get('config_hash'))[:8]}, this run's is {config_hash[:8]})",
            "a run's folder belongs to one configuration; move the checkpoint back to where it came from, or delete it",
        )


def _progress(header: dict[str, str]) -> Progress:
    progress = Progress(**json.loads(header["progress"]))
    progress.window = [(names, networks, sums) for names, networks, sums in progress.window]
    return progress


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    header = _read_header(path)
    try:
        return header, load(path.read_bytes())
    except (safetensors.SafetensorError, OSError) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", _START_AGAIN) from error


def _read_header(path: Path) -> dict[str, str]:
    """Read what is said of the tensors; of a file that was cut off, this is an error too."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", _START_AGAIN) from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
