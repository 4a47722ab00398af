"""LPIPS (Zhang et al. 2018, eq. 1, version 0.1): a network of torchvision's and the heads that were fitted to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from genbench.errors import NotApplicable
from genbench.evaluate.extractors.interface import GREY
from genbench.evaluate.extractors.torchvision import published_classifier
from genbench.evaluate.extractors.weights import fitting, obtain, read
from genbench.records import Scalar

Net = Literal["alex", "vgg", "squeeze"]

_SLICE = re.compile(r"(slice\d+|slices\.\d+)\.")
"""How torchmetrics' names of a backbone's weights begin, where torchvision's begin with `features.`."""


@dataclass(frozen=True)
class Backbone:
    """A network of torchvision's whose features LPIPS compares.

    Attributes:
        name: torchvision's.
        least: side in pixels of the smallest image that all its layers take.
    """

    name: str
    least: int


BACKBONES: Mapping[Net, Backbone] = {
    "alex": Backbone("alexnet", 31),
    "vgg": Backbone("vgg16", 16),
    "squeeze": Backbone("squeezenet1_1", 17),
}


@dataclass(frozen=True)
class Lpips:
    """LPIPS as torchmetrics has it.

    Attributes:
        network: takes two batches of images (N, 3, H, W) in [-1, 1] and returns their distances, (N, 1, 1, 1); in eval
            mode, on the CPU; none of its parameters requires grad.
        facts: what of it can move a number.
    """

    network: nn.Module
    facts: Mapping[str, Scalar]


def load_lpips(net: Net, weights: str = "") -> Lpips:
    """Load the backbone `alex`, `vgg` or `squeeze` with weights of torchvision's, and its heads.

    Args:
        net: as the authors call it.
        weights: path of the backbone's weights; empty: look for them, else download them.

    Raises:
        NotApplicable: the weights can't be had.
        GenbenchError: a file that the user named is not there, or is something else.
    """
    # The metric's public class always loads what torchvision downloads, and unpickles it.
    from torchmetrics.functional.image import lpips

    published = published_classifier(BACKBONES[net].name)
    backbone = read(obtain(published, weights), published)
    heads = Path(lpips.__file__).parent / "lpips_models" / f"{net}.pth"
    with torch.random.fork_rng(devices=[]):  # it draws weights that will be overwritten
        network = lpips._LPIPS(net=net, pnet_rand=True, model_path=str(heads))
    with fitting(backbone.path, published):
        named = {name: backbone.tensors[_SLICE.sub("features.", name, count=1)] for name in network.net.state_dict()}
        network.net.load_state_dict(named)
    facts: dict[str, Scalar] = {
        "net": BACKBONES[net].name,
        "net_weights": backbone.sha256,
        "heads": "LPIPS 0.1",
        "heads_weights": sha256(heads.read_bytes()).hexdigest(),
        "library": f"torchmetrics {version('torchmetrics')}",
        "grey_images": GREY,
    }
    return Lpips(network, facts)


def check_size(side: int, net: Net) -> None:
    """Raise NotApplicable where a backbone's pooling leaves nothing of images of so many pixels."""
    backbone = BACKBONES[net]
    if side >= backbone.least:
        return
    fit = [other for other, b in BACKBONES.items() if b.least <= side]
    hint = f"set `net` to {' or '.join(f'`{other}`' for other in fit)}" if fit else "ask for other scores"
    raise NotApplicable(
        f"LPIPS on {backbone.name} needs images of at least {backbone.least} px, these are {side} px", hint
    )
