"""A similarity of edges for genbench. Imports no torch: `genbench list` reads only this."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_similarities() -> Iterable[genbench.SimilaritySpec]:
    """Declare `sobel`."""
    yield genbench.SimilaritySpec(
        name="sobel",
        summary="squared differences of Sobel gradients, and a little of the pixels",
        target="genbench_sobel.similarity:Sobel",
        settings="genbench_sobel.settings:SobelSettings",
        needs=genbench.Needs(min_size=2),
    )
