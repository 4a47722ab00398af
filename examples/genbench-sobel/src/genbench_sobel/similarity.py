"""A similarity of edges, by Sobel's operator."""

import torch
from genbench.interfaces import Similarity, View
from torch import Tensor
from torch.nn.functional import conv2d, pad

from genbench_sobel.settings import SobelSettings


class Sobel(Similarity):
    """½ Σ (G_h d)² + ½ Σ (G_v d)² + ½ w Σ d² of the difference d, with Sobel's gradients G and the weight w of pixels.

    A Gaussian likelihood whose errors are correlated: those that make no edge are the likelier ones.
    """

    def __init__(self, settings: SobelSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, real: View, fake: View) -> Tensor:
        # The operator is linear: the gradient of the difference is the difference of the gradients.
        difference = real.images - fake.images
        edges = gradients(difference).square().flatten(1).sum(1)
        pixels = difference.square().flatten(1).sum(1)
        return 0.5 * edges + 0.5 * self.settings.pixels * pixels


def gradients(images: Tensor) -> Tensor:
    """Return the horizontal and the vertical Sobel gradient of each channel of images (N, C, H, W), as (N, C, 2, H, W).

    In units of the images a pixel; beyond its borders an image goes on as its mirror image.
    """
    smooth, slope = images.new_tensor([[0.25, 0.5, 0.25], [-0.5, 0.0, 0.5]])
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
    channels = images.flatten(0, 1)[:, None]
    found = conv2d(pad(channels, (1, 1, 1, 1), mode="reflect"), kernels)
    return found.reshape(*images.shape[:2], 2, *images.shape[2:])
