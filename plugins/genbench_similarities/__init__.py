"""Similarities of pixels, of structure, of spectra, of a discriminator's features and of a trained network's."""

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
        "charbonnier",
        "smoothed absolute differences of the pixels (Charbonnier et al. 1994)",
        "genbench_similarities.elementwise:Charbonnier",
        "genbench_similarities.settings:CharbonnierSettings",
    )
    yield genbench.SimilaritySpec(
        "student-t",
        "Student's t likelihood of the pixels, robust against outliers (Lange et al. 1989)",
        "genbench_similarities.elementwise:StudentT",
        "genbench_similarities.settings:StudentTSettings",
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
        "ms-ssim",
        "structural similarity on all scales that fit (Wang et al. 2003)",
        "genbench_similarities.structural:MsSsim",
        needs=genbench.Needs(min_size=21),
    )
    yield genbench.SimilaritySpec(
        "gradient",
        "differences of the images' gradients, and of pixels (Mathieu et al. 2016)",
        "genbench_similarities.structural:Gradient",
        "genbench_similarities.settings:GradientSettings",
    )
    yield genbench.SimilaritySpec(
        "laplacian-pyramid",
        "absolute differences of Laplacian pyramids (Bojanowski et al. 2018)",
        "genbench_similarities.structural:LaplacianPyramid",
        needs=genbench.Needs(min_size=8),
    )
    yield genbench.SimilaritySpec(
        "fourier",
        "focal frequency loss (Jiang et al. 2021)",
        "genbench_similarities.fourier:Fourier",
        "genbench_similarities.settings:FourierSettings",
    )
    yield genbench.SimilaritySpec(
        "watson",
        "Watson's perceptual model of blocks of frequencies (Watson 1993; Czolbe et al. 2020)",
        "genbench_similarities.watson:Watson",
        "genbench_similarities.settings:WatsonSettings",
        genbench.Needs(min_size=8),
    )
    yield genbench.SimilaritySpec(
        "perceptual",
        "features of a network trained to recognise objects (Zhang et al. 2018)",
        "genbench_similarities.perceptual:Perceptual",
        "genbench_similarities.settings:PerceptualSettings",
        genbench.Needs(min_size=21),
    )
    yield genbench.SimilaritySpec(
        "lpips",
        "features of a trained network, weighed as people judge (Zhang et al. 2018)",
        "genbench_similarities.perceptual:Lpips",
        "genbench_similarities.settings:LpipsSettings",
        genbench.Needs(min_size=31),
    )
