"""The hooks that a plugin may implement, each with a whole example.

A hook that declares may raise `NotApplicable(what is missing, how to get it)`, where a library that it wraps is not
installed: whoever asks for a name that nobody has is told, and so is `genbench plugins`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, SimilaritySpec

if TYPE_CHECKING:
    from genbench.records import Record

hookspec = pluggy.HookspecMarker("genbench")
hookimpl = pluggy.HookimplMarker("genbench")


@hookspec
def genbench_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Declare generative models.

    Example:
        A package `my_plugin` with this module as its entry point in the group `genbench`::

            import genbench


            @genbench.hookimpl
            def genbench_models():
                yield genbench.ModelSpec(
                    name="my-vae",
                    summary="a VAE with my prior",
                    target="my_plugin.models:MyVae",
                    settings="my_plugin.settings:MyVaeSettings",
                    similarity="mse",
                )
    """


@hookspec
def genbench_similarities() -> Iterable[SimilaritySpec]:  # type: ignore[empty-body]
    """Declare similarities.

    Example:
        A `genbenchfile.py` in the working folder, no packaging needed::

            import genbench
            from genbench.interfaces import Similarity, View
            from torch import Tensor


            class Cauchy(Similarity):
                def forward(self, real: View, fake: View) -> Tensor:
                    return (1 + (real.images - fake.images).square()).log().flatten(1).sum(1)


            @genbench.hookimpl
            def genbench_similarities():
                yield genbench.SimilaritySpec("cauchy", "Cauchy likelihood of the pixels", "genbenchfile:Cauchy")
    """


@hookspec
def genbench_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Declare evaluators.

    Example:
        ::

            import genbench


            @genbench.hookimpl
            def genbench_evaluators():
                yield genbench.EvaluatorSpec("sharpness", "mean gradient of samples", "my_plugin.scores:Sharpness")
    """


@hookspec
def genbench_extractors() -> Iterable[ExtractorSpec]:  # type: ignore[empty-body]
    """Declare feature extractors, which distances between sets of images can then be measured on.

    Example:
        A `genbenchfile.py` in the working folder; `genbench run vae digits --evaluators fd:colours` uses it::

            import genbench
            from genbench.evaluate.extractors import ExtractorRequest
            from torch import Tensor
            from torch.nn.functional import adaptive_avg_pool2d


            class Colours:
                "Mean colours of a grid of 4 by 4 places."

                name, size, weights_hash = "colours", 48, ""

                def __init__(self, request: ExtractorRequest) -> None:
                    self.facts = {"grid": 4}

                def __call__(self, images: Tensor) -> Tensor:
                    return adaptive_avg_pool2d(images.expand(-1, 3, -1, -1).float(), 4).flatten(1)

                def warnings(self, side: int, channels: int) -> tuple[str, ...]:
                    return ("colours are all that it sees",) if channels == 1 else ()


            @genbench.hookimpl
            def genbench_extractors():
                yield genbench.ExtractorSpec("colours", "mean colours of 16 places", "genbenchfile:Colours")
    """


@hookspec
def genbench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Declare data sets.

    Example:
        ::

            import genbench


            @genbench.hookimpl
            def genbench_datasets():
                yield genbench.DatasetSpec(
                    "flowers", "Oxford flowers", "my_plugin.data:Flowers", channels=3, size=64, flip=True
                )
    """


@hookspec
def genbench_run_finished(record: "Record", folder: Path) -> None:
    """Observe a run that has just ended: `record` is what was written to `folder`, beside its curve and its pictures.

    An implementation may take `record` alone.

    Example:
        ::

            import genbench


            @genbench.hookimpl
            def genbench_run_finished(record, folder):
                print(record.run.model, record.status, {s.name: s.value for s in record.scores}, folder / "images")
    """
