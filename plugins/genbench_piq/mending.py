"""What piq's formulas lack as a training loss, mended while they are computed; their values stay as they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ROOTS = {torch.sqrt, Tensor.sqrt}
_POWERS = {torch.pow, Tensor.pow, Tensor.__pow__}
_EXTREMES = {torch.min: torch.amin, torch.max: torch.amax}
_RANGES = {torch.arange, torch.linspace}


class Mended(TorchFunctionMode):
    """While it is entered, functions of torch do as a training loss needs it.

    - A root, or a power that is no whole number, has derivative 0 at 0. torch's is infinite there, and times the 0 of
      what stands in it not a number: for GMSD and MDSI where both images are equal, for all that compare gradients
      where an image is flat. 0 is a subgradient: such a point is the least of a norm.
    - What piq computes in float32 for images of any precision (parts of SR-SIM and DSS) is computed in theirs.
    - The least and the largest value of a whole batch (SR-SIM's) are those of each image.
    - Constants are put on the images' device once and not at each call, which a CUDA graph could not hold.

    Args:
        images: what is measured, (N, C, H, W).
        constants: those of earlier calls; more are added.
        reads: whether constants are read in Python (by SR-SIM how far to pad, by DSS which bands to leave out): they
            are computed on the CPU, so that nothing waits for the device.
    """

    def __init__(self, images: Tensor, constants: dict[object, Tensor], *, reads: bool = False) -> None:
        super().__init__()
        self.dtype, self.device = images.dtype, images.device
        self.constants = constants
        self.reads = reads

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _ROOTS and _is_real(args[0]):
            return _power(args[0], 0.5)
        if func in _POWERS and len(args) == 2 and _is_real(args[0]) and not _is_whole(args[1]):
            return _power(*args)
        if func in _EXTREMES and len(args) == 1 and args[0].ndim == 4:
            return _EXTREMES[func](args[0], (1, 2, 3), keepdim=True)
        if func is Tensor.float and args[0].is_floating_point():
            return args[0].to(self.dtype)
        if func is torch.zeros:
            return func(*args, **{"dtype": self.dtype, **named})
        if func in _RANGES and self.reads:
            return func(*args, **{**named, "device": "cpu"})
        if func is torch.tensor and isinstance(args[0], list | tuple):
            return self._constant((repr(args), repr(named)), lambda: func(*args, **named))
        if self.reads and len({tensor.device for tensor in _tensors(args)}) > 1:
            args = self._here(args)
        return func(*args, **named)

    def _here(self, value: Any) -> Any:
        """Return arguments with constants that lie on the CPU where the images are."""
        if isinstance(value, tuple | list):
            return type(value)(map(self._here, value))
        if not isinstance(value, Tensor) or value.device == self.device:
            return value
        return self._constant((value.dtype, value.shape, value.numpy().tobytes()), lambda: value.to(self.device))

    def _constant(self, key: object, make: Callable[[], Tensor]) -> Tensor:
        """Return a constant that nobody else writes to."""
        place = (self.device, key)
        if place not in self.constants:
            self.constants[place] = make()
        return self.constants[place].clone()


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _is_real(base: object) -> bool:
    return isinstance(base, Tensor) and base.is_floating_point()


def _is_whole(exponent: float | Tensor) -> bool:
    return not isinstance(exponent, Tensor) and float(exponent).is_integer()


def _power(base: Tensor, exponent: float | Tensor) -> Tensor:
    """Return base^exponent, and 0 with derivative 0 where the base is 0, or by rounding less."""
    inside = base > 0
    power = torch.where(inside, base, 1).pow(exponent)
    return torch.where(inside, power, 0)
