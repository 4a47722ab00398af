"""genbench's own evaluators: reconstruction error, Fréchet distances, attributes."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_evaluators() -> Iterable[genbench.EvaluatorSpec]:
    """Declare the evaluators."""
    yield genbench.EvaluatorSpec(
        name="mse",
        summary="mean squared error of a pixel of the test images' reconstructions",
        target="genbench_evaluators.reconstruction:ReconstructionError",
    )
    yield genbench.EvaluatorSpec(
        name="fid",
        summary="Fréchet Inception distance between samples and real images",
        target="genbench_evaluators.frechet:FrechetInceptionDistance",
        settings="genbench_evaluators.settings:FidSettings",
    )
    yield genbench.EvaluatorSpec(
        name="fd-attributes",
        summary="Fréchet distance on the attribute classifier's features, of samples and of reconstructions",
        target="genbench_evaluators.frechet:AttributeFrechetDistance",
    )
    yield genbench.EvaluatorSpec(
        name="attributes",
        summary="whether moving a latent along an attribute's vector changes that attribute and no other",
        target="genbench_evaluators.attributes:AttributeArithmetic",
        settings="genbench_evaluators.settings:AttributeSettings",
    )
