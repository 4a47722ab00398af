"""Settings of the metrics that have a network. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class BackboneSettings:
    """Where the network's weights lie."""

    weights: Annotated[
        str, "path of VGG-16's weights as torchvision publishes them; empty: look for them, else download them"
    ] = ""


@dataclass(frozen=True)
class HeadsSettings(BackboneSettings):
    """Where the weights lie of the network, and those of the metric."""

    heads: Annotated[
        str, "path of the metric's own weights as piq publishes them; empty: look for them, else download them"
    ] = ""


@dataclass(frozen=True)
class PieappSettings:
    """Where the metric's weights lie."""

    weights: Annotated[
        str, "path of the metric's weights as piq publishes them; empty: look for them, else download them"
    ] = ""
