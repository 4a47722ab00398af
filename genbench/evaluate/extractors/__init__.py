"""Feature extractors: networks with fixed weights that distances between sets of images are measured on.

A plugin declares one with the hook `genbench_extractors`; its target is called with an `ExtractorRequest` and returns
an `Extractor`. What several of them need stands in `weights` (finding, checking, downloading, reading) and `resizing`.
"""

from genbench.evaluate.extractors.attributes import AttributeFeatures
from genbench.evaluate.extractors.inception import (
    INCEPTION_FILE,
    INCEPTION_URL,
    WEIGHTS_VARIABLE,
    Inception,
    inception_weights,
)
from genbench.evaluate.extractors.interface import Extractor, ExtractorRequest
from genbench.evaluate.extractors.registry import check_variants, obtain_extractor
from genbench.evaluate.extractors.resizing import tensorflow_resize

__all__ = [
    "INCEPTION_FILE",
    "INCEPTION_URL",
    "WEIGHTS_VARIABLE",
    "AttributeFeatures",
    "Extractor",
    "ExtractorRequest",
    "Inception",
    "check_variants",
    "inception_weights",
    "obtain_extractor",
    "tensorflow_resize",
]
