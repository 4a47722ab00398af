"""A similarity of spectra."""

import torch
from torch import Tensor

from genbench.interfaces import Similarity, View
from genbench_similarities.settings import FourierSettings


class Fourier(Similarity):
    """Focal frequency loss: frequencies that differ most count most (Jiang et al. 2021, section 3.2).

    ½ Σ w|F(x) - F(x̃)|² over an image's frequencies, with orthonormal transforms of each channel and the weights
    w = |F(x) - F(x̃)|^α, divided by the largest of the channel. Half the sum stands for the paper's mean, so that α = 0
    is `mse`. As in the paper, the weights are taken for constants: no gradient passes through them.
    """

    def __init__(self, settings: FourierSettings) -> None:
        super().__init__()
        self.settings = settings
        if settings.alpha:
            self.surrogate = "frequencies are weighed by weights that are held fixed (Jiang et al. 2021, section 3.2)"

    def forward(self, real: View, fake: View) -> Tensor:
        # The transform is linear: that of the difference is the difference of the transforms.
        spectrum = torch.fft.fft2(real.images - fake.images, norm="ortho")
        square = spectrum.real.square() + spectrum.imag.square()
        cost: Tensor = 0.5 * (self._weights(square.detach()) * square).flatten(1).sum(1)
        return cost

    def _weights(self, square: Tensor) -> Tensor:
        """Return the weights of squared differences (N, C, H, W), at most 1."""
        largest = square.amax((2, 3), keepdim=True)
        weights: Tensor = (square / largest.clamp(min=torch.finfo(square.dtype).tiny)).pow(self.settings.alpha / 2)
        return weights
