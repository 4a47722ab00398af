"""Settings of the similarities of this package. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class ElementwiseSettings:
    """How the errors of an image's elements become one number."""

    reduction: Annotated[
        Literal["sum", "mean"],
        "over an image's elements: `sum` is the log-likelihood, in nats; `mean` divides it by their number",
    ] = "sum"


@dataclass(frozen=True)
class DisLSettings(ElementwiseSettings):
    """Where in the discriminator to compare."""

    layer: Annotated[
        str,
        "layer of the discriminator; `default` is `down3`, its third strided convolution, `first` is `down1`; "
        "of an MLP, `hidden2` and `hidden1`",
    ] = "default"


@dataclass(frozen=True)
class PerceptualSettings:
    """Whose features to compare."""

    network: Annotated[
        Literal["squeezenet1_0", "squeezenet1_1", "alexnet", "vgg16"],
        "of torchvision's, with its weights for ImageNet; the first is the smallest, the last the usual one",
    ] = "squeezenet1_0"
