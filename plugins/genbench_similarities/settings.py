"""Settings of the similarities of this package. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt


@dataclass(frozen=True)
class ElementwiseSettings:
    """How the errors of an image's elements become one number."""

    reduction: Annotated[
        Literal["sum", "mean"],
        "over an image's elements: `sum` is the log-likelihood, in nats; `mean` divides it by their number",
    ] = "sum"


@dataclass(frozen=True)
class CharbonnierSettings(ElementwiseSettings):
    """Where a square turns into an absolute value."""

    epsilon: Annotated[
        float, "error, of values in [-1, 1], about which the cost turns from square to linear", Gt(0)
    ] = 1e-3


@dataclass(frozen=True)
class StudentTSettings(ElementwiseSettings):
    """How wide the distribution of errors is, and how heavy its tails."""

    scale: Annotated[float, "of errors of values in [-1, 1]; the tails begin beyond it", Gt(0)] = 0.1
    degrees: Annotated[float, "degrees of freedom: 1 is a Cauchy distribution, infinitely many a Gaussian", Gt(0)] = 4.0


@dataclass(frozen=True)
class DisLSettings(ElementwiseSettings):
    """Where in the discriminator to compare."""

    layer: Annotated[
        str,
        "layer of the discriminator; `default` is `down3`, its third strided convolution, `first` is `down1`; "
        "of an MLP, `hidden2` and `hidden1`; `down3-act` and so on come after batch-norm and activation, `logit` is "
        "the verdict",
    ] = "default"


@dataclass(frozen=True)
class GradientSettings:
    """What counts beside the differences of gradients."""

    exponent: Annotated[float, "of each difference", Ge(1)] = 1.0
    pixels: Annotated[
        float, "weight of the differences of the pixels themselves; with 0, brightness and colour do not count", Ge(0)
    ] = 1.0


@dataclass(frozen=True)
class FourierSettings:
    """How much the frequencies that differ most count more."""

    alpha: Annotated[float, "power of a frequency's difference that weighs it; 0 is `mse`", Ge(0)] = 1.0


@dataclass(frozen=True)
class WatsonSettings:
    """Whose constants, and of which transform."""

    transform: Annotated[
        Literal["dct", "fft"],
        "`dct` with the constants of Watson 1993, `fft` with those that Czolbe et al. fitted to people's judgements",
    ] = "dct"
    weights: Annotated[
        str, "of `fft`: path of the file with its constants as the authors publish it; empty: look for it"
    ] = ""

    def __post_init__(self) -> None:
        if self.weights and self.transform != "fft":
            raise ValueError(f"`weights` are for `transform` fft; `{self.transform}` has none")


@dataclass(frozen=True)
class PerceptualSettings:
    """Whose features to compare."""

    network: Annotated[
        str,
        "any classifier of torchvision, with its weights for ImageNet; the default is a small one, vgg16 the usual",
    ] = "squeezenet1_0"
    layers: Annotated[
        str,
        "comma-separated names of its modules, as in `layer1,layer2.0`; empty: those known to serve, else the last of "
        "each resolution",
    ] = ""
    weights: Annotated[
        str, "path of its weights as torchvision publishes them; empty: look for them, else download them"
    ] = ""


@dataclass(frozen=True)
class LpipsSettings:
    """Whose features to compare."""

    net: Annotated[Literal["alex", "vgg", "squeeze"], "network whose features are compared"] = "alex"
    weights: Annotated[
        str, "path of that network's weights as torchvision publishes them; empty: look for them, else download them"
    ] = ""
