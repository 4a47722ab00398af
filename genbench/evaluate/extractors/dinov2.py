"""DINOv2's weights in torchvision's vision transformer, so that no code of the hub's is run.

The two networks differ in three things: the names of the weights; DINOv2's LayerScale (Touvron et al. 2021, eq. 10),
which is folded into the layer before it; and the position embeddings, learned for 37×37 patches (518 px) and resized
to the 16×16 of 224 px as DINOv2's code does it for such images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genbench.evaluate.extractors.weights import Published

SIDE = 224
PATCH = 14
HEAD = 64
"""Features of one attention head, in every variant."""

OFFSET = 0.1
"""Added to the number of patches where the factor of resizing is computed (`interpolate_offset` in DINOv2's code)."""


@dataclass(frozen=True)
class Variant:
    """A size of DINOv2's network; the largest, ViT-g, has other layers and is left out."""

    width: int
    published: Published


def _variant(name: str, width: int, sha256: str) -> Variant:
    file = f"dinov2_{name}_pretrain.pth"
    url = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{name}/{file}"
    files = (file, f"dinov2_{name}_pretrain.safetensors")
    return Variant(width, Published(f"dinov2_{name} weights of Meta", url, files, sha256))


DINOV2: Mapping[str, Variant] = {
    "vits14": _variant("vits14", 384, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "vitb14": _variant("vitb14", 768, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    "vitl14": _variant("vitl14", 1024, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
}


def vision_transformer(tensors: Mapping[str, Tensor], width: int) -> nn.Module:
    """Build the network that turns normalised images (N, 3, 224, 224) into class tokens (N, width).

    Args:
        tensors: by the names that DINOv2's state dict has.

    Raises:
        LookupError: a tensor is missing.
        ValueError: they are of another width.
        RuntimeError: a shape is another.
    """
    from torchvision.models import VisionTransformer

    found = tensors["norm.weight"].shape[0]
    if found != width:
        raise ValueError(f"the network's width is {found}, expected {width}")
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    with torch.device("meta"):
        network: nn.Module = VisionTransformer(SIDE, PATCH, depth, width // HEAD, width, 4 * width)
    network.heads = nn.Identity()
    network.load_state_dict(_renamed(tensors, depth), assign=True)
    return network


def _renamed(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return the tensors as torchvision names them, LayerScale folded in and the positions resized."""
    renamed = {
        "class_token": tensors["cls_token"],
        "encoder.pos_embedding": _positions(tensors["pos_embed"].float()),
        **_pair(tensors, "patch_embed.proj", "conv_proj."),
        **_pair(tensors, "norm", "encoder.ln."),
    }
    for k in range(depth):
        old, new = f"blocks.{k}", f"encoder.layers.encoder_layer_{k}"
        renamed |= _pair(tensors, f"{old}.norm1", f"{new}.ln_1.")
        renamed |= _pair(tensors, f"{old}.attn.qkv", f"{new}.self_attention.in_proj_")
        renamed |= _pair(tensors, f"{old}.attn.proj", f"{new}.self_attention.out_proj.", f"{old}.ls1.gamma")
        renamed |= _pair(tensors, f"{old}.norm2", f"{new}.ln_2.")
        renamed |= _pair(tensors, f"{old}.mlp.fc1", f"{new}.mlp.0.")
        renamed |= _pair(tensors, f"{old}.mlp.fc2", f"{new}.mlp.3.", f"{old}.ls2.gamma")
    return renamed


def _pair(tensors: Mapping[str, Tensor], old: str, new: str, scale: str | None = None) -> dict[str, Tensor]:
    """Rename a layer's weight and bias; where `scale` names a tensor, its outputs are multiplied by that."""
    weight, bias = tensors[f"{old}.weight"].float(), tensors[f"{old}.bias"].float()
    if scale is not None:
        factor = tensors[scale].float()
        weight, bias = factor[:, None] * weight, factor * bias
    return {f"{new}weight": weight, f"{new}bias": bias}


def _positions(learned: Tensor) -> Tensor:
    """Resize embeddings (1, 1 + n², width) of the class and n×n patches to those of 224 px, bicubically."""
    wanted = SIDE // PATCH
    old = round((learned.shape[1] - 1) ** 0.5)
    if old == wanted:
        return learned
    patches = learned[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    factor = (wanted + OFFSET) / old
    resized = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([learned[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
