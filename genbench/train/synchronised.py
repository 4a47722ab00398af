"""Batch-norm whose statistics are those of the whole batch, where several processes have parts of it.

Unlike torch's SyncBatchNorm it computes on CPUs as well, can be differentiated twice, and leaves the modules what they
are, so that parameters, buffers and checkpoints have the same names. Every pass, forward and backward, waits for all
processes: they must take the same way through the networks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from genbench.train.precision import precise
from genbench.train.sharing import Share

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def synchronised(model: nn.Module, share: Share, mode: str) -> Iterator[None]:
    """Let all batch-norm modules of a model take the statistics of the whole batch, for as long as it is trained.

    Args:
        mode: `synchronised`, or `local` to change nothing: then each process has running statistics of its own parts,
            and those of rank 0 are saved and evaluated.
    """
    apart = share.of > 1 and mode == "synchronised"
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and type(m) in KINDS] if apart else []
    for norm in norms:
        norm.forward = partial(_normalise, norm, share)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


class Statistics(NamedTuple):
    """Of each channel over the whole batch, (C,) in float32 at least.

    Attributes:
        number: of values.
        mean: of them.
        squares: sum of their squared distances from the mean.
    """

    number: Tensor
    mean: Tensor
    squares: Tensor


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each differentiates its own loss, so what gets back is a sum as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return share.sum(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _sum(gradients[0], ctx.share), None


def _sum(values: Tensor, share: Share) -> Tensor:
    summed: Tensor = _Sum.apply(values, share)
    return summed


class _Normalised(torch.autograd.Function):
    """γ·(x - mean)/√(variance + ε) + β, of the input's type and memory format (Ioffe & Szegedy 2015, algorithm 1)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, share: Share
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = measure(x, share)
        variance = found.squares / found.number
        ctx.save_for_backward(x, weight, *found)
        ctx.eps, ctx.share = eps, share
        ctx.mark_non_differentiable(*found)
        scale, shift = (None if p is None else precise(p) for p in (weight, bias))
        return F.batch_norm(x, found.mean, variance, scale, shift, training=False, eps=eps), *found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        # Only a gradient that is itself differentiated needs to know how the statistics depend on the input.
        found = measure(x, ctx.share) if torch.is_grad_enabled() else Statistics(*kept)
        gradient, centred = precise(gradients[0]), precise(x) - _over(x, found.mean)
        inverse = (found.squares / found.number + ctx.eps).rsqrt()
        own = torch.stack([_total(gradient), _total(gradient * centred) * inverse])
        whole = _sum(own, ctx.share) / found.number
        scale = inverse if weight is None else inverse * precise(weight)
        inner = gradient - _over(x, whole[0]) - centred * _over(x, inverse * whole[1])
        towards_x = (inner * _over(x, scale)).to(x.dtype)
        # The parameters' gradients are averaged over the processes later, with all others.
        towards = (towards_x, own[1], own[0])
        return *(g if n else None for g, n in zip(towards, ctx.needs_input_grad[:3], strict=True)), None, None


def measure(x: Tensor, share: Share) -> Statistics:
    """Return the statistics of all processes' values (N, C, ...).

    Each process measures around its own mean; they are merged without the cancellation that sums of squares suffer
    (Chan, Golub & LeVeque 1983, equation 1.5), in one exchange.
    """
    values = precise(x)
    mean = _total(values) / (x.numel() // x.shape[1])
    squares = _total((values - _over(x, mean)).square())
    own = torch.stack([torch.full_like(mean, x.numel() // x.shape[1]), mean, squares])
    rows = [own if rank == share.rank else torch.zeros_like(own) for rank in range(share.of)]
    numbers, means, parts = _sum(torch.stack(rows), share).unbind(1)
    number = numbers.sum(0)
    merged = (numbers * means).sum(0) / number
    return Statistics(number, merged, (parts + numbers * (means - merged).square()).sum(0))


def _total(values: Tensor) -> Tensor:
    """Sum (N, C, ...) to (C,)."""
    return values.sum([d for d in range(values.dim()) if d != 1])


def _over(x: Tensor, values: Tensor) -> Tensor:
    """Return (C,) such that it goes with (N, C, ...)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _normalise(norm: _BatchNorm, share: Share, x: Tensor) -> Tensor:
    """Do what the module's own `forward` would do with the whole batch."""
    if not norm.training and norm.running_mean is not None:
        return type(norm).forward(norm, x)
    norm._check_input_dim(x)  # type: ignore[no-untyped-call]
    y, *found = _Normalised.apply(x, norm.weight, norm.bias, norm.eps, share)
    if norm.training and norm.running_mean is not None:
        _update(norm, Statistics(*found))
    output: Tensor = y
    return output


@torch.no_grad()
def _update(norm: _BatchNorm, found: Statistics) -> None:
    """Move the running statistics, as torch does: by the momentum, towards the unbiased variance."""
    assert norm.running_mean is not None  # noqa: S101 (for the type checker)
    assert norm.running_var is not None  # noqa: S101
    assert norm.num_batches_tracked is not None  # noqa: S101
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked.to(norm.running_mean) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(found.mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((found.squares / (found.number - 1)).to(norm.running_var.dtype), momentum)
