"""How a network is put to work on many images: a few at a time, and laid out as the device likes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Chunks:
    """How many images a network is given at a time, and how they and its weights lie in memory.

    A network's activations then stay near a CPU's caches, where it is faster, and their memory does not grow with the
    number of images. Neither moves a feature beyond rounding.

    Attributes:
        size: images at a time.
        layout: channels last on a CPU, whose convolutions are faster so; float32's on a GPU are not.
    """

    size: int
    layout: torch.memory_format

    @classmethod
    def on(cls, device: torch.device, cpu: int, gpu: int) -> "Chunks":
        """Return what suits a device: `cpu` images at a time on a CPU, `gpu` elsewhere."""
        if device.type == "cpu":
            return cls(cpu, torch.channels_last)
        return cls(gpu, torch.contiguous_format)

    def put(self, network: Network, device: torch.device) -> Network:
        """Return a network on a device, in float32, laid out so, in evaluation mode, its weights without gradients."""
        network.to(device, torch.float32).to(memory_format=self.layout)
        network.eval().requires_grad_(False)
        return network

    def apply(self, compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return `compute(images)`, computed chunk by chunk; `images` is (N, C, H, W)."""
        return torch.cat([compute(chunk) for chunk in torch.split(images, self.size)])
