"""The networks that all models of a comparison share, one module for each architecture.

What they return is float32 (a discriminator's inner layers aside), also where they compute in a lower precision. Every
model of a run builds its networks from a `Blueprint`, each under a seed of its own, so that two models of one seed
start from the same weights wherever they have the same network.
"""

from genbench.networks.blueprint import Blueprint, seeded
from genbench.networks.conv import ConvDecoder, ConvDiscriminator, ConvEncoder
from genbench.networks.conv4 import Conv4Decoder, Conv4Discriminator, Conv4Encoder
from genbench.networks.conv_leaky import ConvLeakyDecoder, ConvLeakyDiscriminator, ConvLeakyEncoder
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder, Features, parted
from genbench.networks.kinds import KINDS, Architecture
from genbench.networks.mlp import MLP_HIDDEN, MlpDecoder, MlpDiscriminator, MlpEncoder
from genbench.networks.mlp_leaky import MlpLeakyDecoder, MlpLeakyDiscriminator, MlpLeakyEncoder

__all__ = [
    "KINDS",
    "MLP_HIDDEN",
    "Architecture",
    "Blueprint",
    "Conv4Decoder",
    "Conv4Discriminator",
    "Conv4Encoder",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvLeakyDecoder",
    "ConvLeakyDiscriminator",
    "ConvLeakyEncoder",
    "Decoder",
    "Discrimination",
    "Discriminator",
    "Encoder",
    "Features",
    "MlpDecoder",
    "MlpDiscriminator",
    "MlpEncoder",
    "MlpLeakyDecoder",
    "MlpLeakyDiscriminator",
    "MlpLeakyEncoder",
    "parted",
    "seeded",
]
