"""The data set's own attribute classifier as a feature extractor."""

from collections.abc import Mapping

from torch import Tensor

from genbench.evaluate.classifier import FEATURES, AttributeClassifier
from genbench.records import Scalar


class AttributeFeatures:
    """The layer of the attribute classifier before its logits: 128 features, learned on the data set itself."""

    name = "attributes"
    size = FEATURES

    def __init__(self, classifier: AttributeClassifier) -> None:
        self.classifier = classifier
        self.weights_hash = classifier.weights_hash

    @property
    def facts(self) -> Mapping[str, Scalar]:
        return self.classifier.facts

    def __call__(self, images: Tensor) -> Tensor:
        return self.classifier.features(images)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        """Return nothing: it was made for these very images."""
        return ()
