"""Similarities that compare two images element by element: in pixels, or in a discriminator's features."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from genbench.errors import GenbenchError, did_you_mean
from genbench.interfaces import Similarity, View
from genbench_similarities.settings import (
    CharbonnierSettings,
    DisLSettings,
    ElementwiseSettings,
    StudentTSettings,
)

LAYERS = {"default": ("down3", "hidden2"), "first": ("down1", "hidden1")}
"""Names that fit the discriminator of any architecture: Dis_l of the paper, the third strided convolution, and the
first one; in an MLP, their nearest kin."""


class Elementwise(Similarity):
    """The base: reduces an element-wise cost to one number for each image."""

    def __init__(self, settings: ElementwiseSettings) -> None:
        super().__init__()
        self.settings = settings

    def reduce(self, cost: Tensor) -> Tensor:
        """Reduce (N, ...) to (N,)."""
        flat = cost.flatten(1)
        return flat.sum(1) if self.settings.reduction == "sum" else flat.mean(1)


class Mse(Elementwise):
    """Gaussian likelihood of the pixels with unit variance: ½(x - x̃)² (Larsen et al. 2016, section 2.1)."""

    def forward(self, real: View, fake: View) -> Tensor:
        return self.reduce(0.5 * (real.images - fake.images).square())


class L1(Elementwise):
    """Laplace likelihood of the pixels with unit scale: |x - x̃|."""

    def forward(self, real: View, fake: View) -> Tensor:
        return self.reduce((real.images - fake.images).abs())


class Bce(Elementwise):
    """Cross-entropy of the pixels read as probabilities, (1 + x)/2 (Kingma & Welling 2014, appendix C.1)."""

    def forward(self, real: View, fake: View) -> Tensor:
        # Clamped away from 0 and 1, where tanh has saturated and the logarithm's gradient would be infinite.
        probability = (0.5 * (1 + fake.images)).clamp(1e-6, 1 - 1e-6)
        return self.reduce(F.binary_cross_entropy(probability, 0.5 * (1 + real.images), reduction="none"))


class Charbonnier(Elementwise):
    """√((x - x̃)² + ε²) - ε: quadratic within ε, absolute beyond it.

    Charbonnier et al. 1994, their function of hyper-surfaces, in the form of Lai et al. 2017, section 3.2, but for the
    constant, which makes it 0 for equal images.
    """

    settings: CharbonnierSettings

    def __init__(self, settings: CharbonnierSettings) -> None:
        super().__init__(settings)

    def forward(self, real: View, fake: View) -> Tensor:
        epsilon, square = self.settings.epsilon, (real.images - fake.images).square()
        # As a quotient: the difference of nearly equal numbers would be rounded away.
        return self.reduce(square / ((square + epsilon**2).sqrt() + epsilon))


class StudentT(Elementwise):
    """Student's t likelihood of the pixels, (ν + 1)/2 · log(1 + (x - x̃)²/(νs²)) (Lange, Little & Taylor 1989).

    An error far beyond the scale s hardly pulls. With ν → ∞ it is a Gaussian's ½(x - x̃)²/s².
    """

    settings: StudentTSettings

    def __init__(self, settings: StudentTSettings) -> None:
        super().__init__(settings)

    def forward(self, real: View, fake: View) -> Tensor:
        scale, degrees = self.settings.scale, self.settings.degrees
        square = (real.images - fake.images).square()
        return self.reduce((degrees + 1) / 2 * (square / (degrees * scale**2)).log1p())


class DisL(Elementwise):
    """Gaussian likelihood, with unit variance, of a discriminator's layer (Larsen et al. 2016, section 2.3)."""

    settings: DisLSettings

    def __init__(self, settings: DisLSettings) -> None:
        super().__init__(settings)

    def forward(self, real: View, fake: View) -> Tensor:
        layer = self._layer(real.features)
        return self.reduce(0.5 * (real.features[layer] - fake.features[layer]).square())

    def _layer(self, features: Mapping[str, Tensor]) -> str:
        if self.settings.layer in features:
            return self.settings.layer
        for layer in LAYERS.get(self.settings.layer, ()):
            if layer in features:
                return layer
        guess = did_you_mean(self.settings.layer, [*features, *LAYERS])
        raise GenbenchError(
            f"dis-l: this discriminator has no layer `{self.settings.layer}`",
            f"{guess + ' ' if guess else ''}its layers: {', '.join(features)}",
        )
