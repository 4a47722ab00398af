"""The architectures by name: a new one is a module of three classes, a line here, and its name in `NetworkKind`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from genbench.config import NetworkKind
from genbench.networks.conv import ConvDecoder, ConvDiscriminator, ConvEncoder
from genbench.networks.conv4 import Conv4Decoder, Conv4Discriminator, Conv4Encoder
from genbench.networks.conv_leaky import ConvLeakyDecoder, ConvLeakyDiscriminator, ConvLeakyEncoder
from genbench.networks.interface import Decoder, Discriminator, Encoder
from genbench.networks.mlp import MlpDecoder, MlpDiscriminator, MlpEncoder
from genbench.networks.mlp_leaky import MlpLeakyDecoder, MlpLeakyDiscriminator, MlpLeakyEncoder

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint


class Architecture(NamedTuple):
    """What builds each network of a kind."""

    encoder: "Callable[[Blueprint], Encoder]"
    decoder: "Callable[[Blueprint], Decoder]"
    discriminator: "Callable[[Blueprint], Discriminator]"


KINDS: Mapping[NetworkKind, Architecture] = MappingProxyType(
    {
        "conv": Architecture(ConvEncoder, ConvDecoder, ConvDiscriminator),
        "mlp": Architecture(MlpEncoder, MlpDecoder, MlpDiscriminator),
        "conv-leaky": Architecture(ConvLeakyEncoder, ConvLeakyDecoder, ConvLeakyDiscriminator),
        "mlp-leaky": Architecture(MlpLeakyEncoder, MlpLeakyDecoder, MlpLeakyDiscriminator),
        "conv4": Architecture(Conv4Encoder, Conv4Decoder, Conv4Discriminator),
    }
)
