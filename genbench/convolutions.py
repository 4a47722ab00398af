"""The networks' 5×5 convolutions, and the same ones on 2×2 blocks, faster on a CPU where channels are few.

A CPU computes 8 or 16 channels at a time, so that a convolution of 3 channels wastes most of what it does. With the
four pixels of each 2×2 block laid side by side as channels (space-to-depth), a 5×5 convolution of C channels is a 3×3
one of 4C channels whose weights are the same ones, padded with zeros. In exact arithmetic it is the same function;
parameters keep their names and shapes. Going from pixels to blocks and back costs more than one layer gains, so that
a network stays in blocks from one layer at full resolution to the next (`benchmarks/speed/parts.py` measures it).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 5
FEW_CHANNELS = 8
"""Channels at full resolution up to which blocks are faster."""


def in_blocks(images: Tensor, side: int, channels: int) -> bool:
    """Say whether layers at full resolution, of that side and so many channels, are best computed on blocks."""
    return images.device.type == "cpu" and side % 2 == 0 and channels <= FEW_CHANNELS


def to_blocks(images: Tensor) -> Tensor:
    """Turn (N, C, H, W) into (N, 4C, H/2, W/2), ordered by row, column, channel; channels last in memory."""
    n, c, h, w = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2 * c)
    return rows.transpose(2, 3).reshape(n, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)


def from_blocks(blocks: Tensor) -> Tensor:
    """Turn (N, 4C, H/2, W/2) back into (N, C, H, W)."""
    n, c, h, w = blocks.shape
    rows = blocks.permute(0, 2, 3, 1).reshape(n, h, w, 2, c // 2)
    return rows.transpose(2, 3).reshape(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def normalise_blocks(norm: nn.BatchNorm2d, blocks: Tensor) -> Tensor:
    """Apply batch-norm to the pixels of blocks: the four of a block share their channels' statistics."""
    n, c, h, w = blocks.shape
    pixels = blocks.permute(0, 2, 3, 1).reshape(n, h, 4 * w, c // 4).permute(0, 3, 1, 2)
    normalised: Tensor = norm(pixels)
    return normalised.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Convolution(nn.Conv2d):
    """A 5×5 convolution that keeps the resolution."""

    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL, padding=KERNEL // 2)

    def on_blocks(self, blocks: Tensor) -> Tensor:
        """Convolve blocks (N, 4·inputs, H/2, W/2) to blocks."""
        phases = [_cut(F.pad(self.weight, (x, 1 - x, y, 1 - y))) for y in (0, 1) for x in (0, 1)]
        return F.conv2d(blocks, torch.cat(phases), self.bias.repeat(4), padding=1)


class Halving(nn.Conv2d):
    """A 5×5 convolution of stride 2, without bias: batch-norm follows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2, bias=False)

    def from_blocks(self, blocks: Tensor) -> Tensor:
        """Convolve blocks (N, 4·inputs, H/2, W/2) to (N, outputs, H/2, W/2)."""
        return F.conv2d(blocks, _upper_left(self.weight), padding=1)


class Doubling(nn.ConvTranspose2d):
    """A transposed 5×5 convolution of stride 2, without bias, to twice the side or, where that is odd, one less."""

    def __init__(self, inputs: int, outputs: int, odd: bool = False) -> None:
        super().__init__(inputs, outputs, KERNEL, 2, KERNEL // 2, output_padding=int(not odd), bias=False)

    def to_blocks(self, images: Tensor) -> Tensor:
        """Convolve (N, inputs, H, W) to blocks (N, 4·outputs, H, W) of the doubled, even side."""
        return F.conv2d(images, _upper_left(self.weight).transpose(0, 1).flip(2, 3), padding=1)


def _upper_left(weight: Tensor) -> Tensor:
    """Return the weights on blocks that compute the upper left pixel of each."""
    return _cut(F.pad(weight, (0, 1, 0, 1)))


def _cut(padded: Tensor) -> Tensor:
    """Turn 6×6 weights (O, I, 6, 6) into the 3×3 ones (O, 4I, 3, 3) that act on blocks."""
    o, i = padded.shape[:2]
    return padded.reshape(o, i, 3, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(o, 4 * i, 3, 3)
