"""Tensors of a TorchScript archive, without running it: OpenAI publishes CLIP as one.

`torch.jit.load` would run what the archive holds as code, and `torch.load` refuses it. Its `data.pkl` is a pickle of
the modules' attributes, read here by an unpickler that knows tensors and nothing that could act.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}


class _Module:
    """A module of the archive: its attributes, submodules among them, as unpickling sets them."""

    def __setstate__(self, state: dict[str, object]) -> None:
        self.parts = state


class _Unpickler(pickle.Unpickler):
    """Builds modules as bare containers, and tensors from the archive's storages; refuses all else."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self.archive = archive
        self.root = root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("torch.jit._pickle", "restore_type_tag"): _untagged,
            **{("torch.jit._pickle", f"build_{kind}list"): list for kind in ("int", "double", "bool", "tensor")},
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"the archive asks for `{module}.{name}`, which is no part of weights")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if key not in self.storages:
            content = bytearray(self.archive.read(f"{self.root}data/{key}"))
            self.storages[key] = torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0)
        return self.storages[key]


def is_torchscript(content: bytes) -> bool:
    """Tell whether a file's content is a TorchScript archive."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(content: bytes) -> Mapping[str, Tensor]:
    """Return the tensors of an archive's modules by their dotted names, as its state dict has them.

    Raises:
        UnpicklingError: it holds something other than modules and tensors.
        LookupError: a part of it is missing.
        ValueError: a tensor does not fit its storage.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        module = _Unpickler(archive, root).load()
    if not isinstance(module, _Module):
        raise pickle.UnpicklingError(f"the archive holds {type(module).__name__}, expected a module")
    return dict(_tensors(module, ""))


def _tensors(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, part in module.parts.items():
        if isinstance(part, Tensor):
            yield f"{prefix}{name}", part
        elif isinstance(part, _Module):
            yield from _tensors(part, f"{prefix}{name}.")


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    try:
        return torch.as_strided(storage, size, stride, offset)
    except RuntimeError as error:
        raise ValueError(f"a tensor of shape {size} does not fit its storage") from error


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _untagged(value: object, *_: object) -> object:
    return value
