"""Settings of the reconstruction evaluators; imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

Net = Literal["alex", "vgg", "squeeze"]


@dataclass(frozen=True)
class LpipsSettings:
    """Settings of `lpips`."""

    net: Annotated[Net, "network whose features are compared"] = "alex"
    weights: Annotated[
        str, "path of that network's weights as torchvision publishes them; empty: look for them, else download them"
    ] = ""
