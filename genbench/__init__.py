"""genbench: what should a generative model use to measure similarity?

Nothing here imports torch: what does (interfaces, networks, training, evaluation) is imported from its own module.
"""

from genbench.errors import GenbenchError, NotApplicable
from genbench.hookspecs import hookimpl
from genbench.specs import DatasetSpec, EvaluatorSpec, ExtractorSpec, ModelSpec, Needs, SimilaritySpec

__version__ = "0.1.0"

__all__ = [
    "DatasetSpec",
    "EvaluatorSpec",
    "ExtractorSpec",
    "GenbenchError",
    "ModelSpec",
    "Needs",
    "NotApplicable",
    "SimilaritySpec",
    "__version__",
    "hookimpl",
]
