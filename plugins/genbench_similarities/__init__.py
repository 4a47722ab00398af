"""The similarities of the paper: of pixels, and of a discriminator's features."""

from collections.abc import Iterable

import genbench

_PIXELS = "genbench_similarities.settings:ElementwiseSettings"


@genbench.hookimpl
def genbench_similarities() -> Iterable[genbench.SimilaritySpec]:
    """Declare `mse`, `l1`, `bce` and `dis-l`."""
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
