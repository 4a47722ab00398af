"""The precision of a training step: what `auto` means on a device, and how the others are set and put back."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from genbench.errors import GenbenchError

Precision = Literal["float32", "tf32", "bfloat16"]


def choose_precision(asked: str, device: torch.device) -> Precision:
    """Return the precision that a device trains in.

    `auto` is bfloat16 where the hardware computes in it: CUDA from compute capability 8.0, and processors with AVX-512
    BF16 or AMX, on which it was measured faster (docs/performance.md). Elsewhere a processor only emulates it.

    Raises:
        GenbenchError: the device has no such precision.
    """
    if asked == "auto":
        return "bfloat16" if _computes_bfloat16(device) else "float32"
    if asked == "tf32" and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)):
        raise GenbenchError(
            f"--precision tf32 can't be used on {device}: only CUDA devices of compute capability 8.0 and up have TF32",
            "--precision auto, float32 or bfloat16",
        )
    if asked == "bfloat16" and device.type == "mps":
        raise GenbenchError("--precision bfloat16 is not supported on mps", "--precision auto or float32")
    return asked  # type: ignore[return-value]


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (_cpu_has("_is_avx512_bf16_supported") or _cpu_has("_is_amx_tile_supported"))


def _cpu_has(feature: str) -> bool:
    """Ask torch what the processor has; not every version knows every question."""
    question = getattr(torch.cpu, feature, None)
    return bool(question is not None and question())


@contextmanager
def training_in(precision: Precision) -> Iterator[None]:
    """Compute convolutions and matrix products of CUDA in a precision, by the fastest kernels for the shapes that come.

    Parameters and their optimisers stay in float32. torch lets cuDNN use TF32 where nobody says otherwise; here
    float32 means float32.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    cudnn.benchmark = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def autocast(precision: Precision, device: torch.device) -> "torch.autocast | nullcontext[None]":
    """Return the context of one step's forward pass."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def precise(values: Tensor) -> Tensor:
    """Return values in float32 at least, in which statistics, losses and likelihoods are computed."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
