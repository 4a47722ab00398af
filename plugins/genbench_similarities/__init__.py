"""Similarities of pixels, of structure, of a discriminator's features and of a trained network's."""

from collections.abc import Iterable

import genbench

_PIXELS = "genbench_similarities.settings:ElementwiseSettings"


@genbench.hookimpl
def genbench_similarities() -> Iterable[genbench.SimilaritySpec]:
    """Declare all similarities of this package."""
    yield genbench.SimilaritySpec(
        "mse", "Gaussian likelihood of the pixels", "genbench_similarities.elementwise:Mse", _PIXELS
    )
    yield genbench.SimilaritySpec(
        "l1", "Laplace likelihood of the pixels", "genbench_similarities.elementwise:L1", _PIXELS
    )
    yield genbench.SimilaritySpec(
        "bce", "cross-entropy of the pixels read as probabilities", "genbench_similarities.elementwise:Bce", _PIXELS
    )
    yield genbench.SimilaritySpec(
        "dis-l",
        "Gaussian likelihood of a discriminator's layer (Larsen et al. 2016)",
        "genbench_similarities.elementwise:DisL",
        "genbench_similarities.settings:DisLSettings",
        genbench.Needs(discriminator=True),
    )
    yield genbench.SimilaritySpec(
        "ssim",
        "structural similarity in windows of pixels (Wang et al. 2004)",
        "genbench_similarities.structural:Ssim",
        needs=genbench.Needs(min_size=11),
    )
    yield genbench.SimilaritySpec(
        "laplacian",
        "absolute differences of Laplacian pyramids (Bojanowski et al. 2018)",
        "genbench_similarities.structural:Laplacian",
        needs=genbench.Needs(min_size=8),
    )
    yield genbench.SimilaritySpec(
        "perceptual",
        "features of a network trained to recognise objects (Zhang et al. 2018)",
        "genbench_similarities.perceptual:Perceptual",
        "genbench_similarities.settings:PerceptualSettings",
        genbench.Needs(min_size=32),
    )
