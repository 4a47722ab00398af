"""The device, and whether it computes what it should."""

import os
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from genbench.doctor.findings import Ground
from genbench.doctor.installed import in_words
from genbench.evaluate.evaluation import exact
from genbench.execution import How, choose_device, describe_execution
from genbench.findings import Finding
from genbench.train.precision import Precision, autocast, choose_precision, training_in

BOUNDS: dict[Precision, float] = {"float32": 1e-5, "tf32": 3e-3, "bfloat16": 2e-2}
"""Largest difference to float64, relative to the largest value. That of float32 is a hundred units of rounding, so that
TF32, whose unit is 5e-4, does not pass for it; those of TF32 and bfloat16 are five of their own."""


def device(_: Ground) -> Iterator[Finding]:
    """Tell what `--device auto` chooses."""
    chosen = choose_device("auto")
    threads = f"{torch.get_num_threads()} threads, " if chosen.type == "cpu" else ""
    name = describe_execution(chosen, How()).device_name
    yield Finding("device", "ok", f"{chosen}: {threads}{in_words(_memory_bytes(chosen))}, {name}")


def convolutions(_: Ground) -> Iterator[Finding]:
    """Compare convolutions and their gradients on the device with those of the CPU in float64."""
    chosen = choose_device("auto")
    everywhere: Precision = "float32"
    for precision in dict.fromkeys((everywhere, choose_precision("auto", chosen))):
        error, bound = convolution_error(chosen, precision), BOUNDS[precision]
        yield Finding.of(
            f"{precision} convolution",
            error <= bound,
            f"differs from float64 by {error:.0e}, the bound is {bound:.0e}",
            "update torch and the device's driver; until then --device cpu, or --precision float32",
        )


def precision(_: Ground) -> Iterator[Finding]:
    """Tell what `--precision auto` chooses."""
    chosen = choose_device("auto")
    yield Finding("precision", "ok", f"auto trains in {choose_precision('auto', chosen)} on {chosen}")


def evaluation_mode(_: Ground) -> Iterator[Finding]:
    """Whether scores are computed in full float32 and by deterministic kernels, and what held before holds again."""
    before = _modes()
    with exact():
        inside = _modes()
    wrong = {name: value for name, value in inside.items() if value != EXACT[name]}
    told = ", ".join(f"{name} is {value}" for name, value in wrong.items()) or "full float32, deterministic, no TF32"
    hint = "reinstall torch; a version newer than genbench knows may have renamed its switches"
    if not wrong and _modes() != before:
        wrong, told = before, "what held before does not hold again after it"
    yield Finding.of("evaluation mode", not wrong, told, hint)


EXACT = {"TF32 in convolutions": False, "deterministic": True, "benchmarked": False, "matrix products": "highest"}
"""What every score's protocol promises."""


def convolution_error(device: torch.device, precision: Precision) -> float:
    """Return the largest difference of a strided convolution and its two gradients to the same in float64 on the CPU.

    Relative to the largest value of each.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 32, 16, 16, generator=generator)
    kernel = torch.randn(64, 32, 5, 5, generator=generator)
    toward = torch.randn(8, 64, 8, 8, generator=generator)
    expected = _convolve(images.double(), kernel.double(), toward.double())
    with training_in(precision):
        with autocast(precision, device):
            outcome = _forward(images.to(device), kernel.to(device))
        found = _backward(*outcome, toward.to(device))
    return max(float((a.cpu().double() - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


def _convolve(images: Tensor, kernel: Tensor, toward: Tensor) -> tuple[Tensor, ...]:
    return _backward(*_forward(images, kernel), toward)


def _forward(images: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    images, kernel = images.requires_grad_(), kernel.requires_grad_()
    return F.conv2d(images, kernel, stride=2, padding=2), images, kernel


def _backward(output: Tensor, images: Tensor, kernel: Tensor, toward: Tensor) -> tuple[Tensor, ...]:
    gradients = torch.autograd.grad(output, (images, kernel), toward.to(output.dtype))
    return output.detach(), *gradients


def _modes() -> dict[str, bool | str]:
    cudnn = torch.backends.cudnn
    values = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.get_float32_matmul_precision())
    return dict(zip(EXACT, values, strict=True))


def _memory_bytes(device: torch.device) -> int:
    """Return the memory of the device, or of the machine where it has none of its own."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
