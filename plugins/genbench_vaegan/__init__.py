"""VAE/GAN in its variants, and the VAE on a fixed discriminator's features: the models of Larsen et al. 2016."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_models() -> Iterable[genbench.ModelSpec]:
    """Declare `vaegan`, `vaegan-pixel` and `vae-dis-l`."""
    yield genbench.ModelSpec(
        "vaegan",
        "VAE/GAN: reconstructions compared in the discriminator's features (Larsen et al. 2016)",
        "genbench_vaegan.model:VaeGan",
        "genbench_vaegan.settings:VaeGanSettings",
        similarity="dis-l",
        discriminator=True,
    )
    yield genbench.ModelSpec(
        "vaegan-pixel",
        "VAE/GAN with reconstructions compared in pixels (Larsen et al. 2015, first version)",
        "genbench_vaegan.model:VaeGan",
        "genbench_vaegan.settings:VaeGanPixelSettings",
        similarity="mse",
        discriminator=True,
    )
    yield genbench.ModelSpec(
        "vae-dis-l",
        "VAE on the features of a discriminator trained beforehand (Larsen et al. 2016)",
        "genbench_vaegan.vae_dis_l:VaeDisL",
        "genbench_vaegan.settings:VaeDisLSettings",
        similarity="dis-l",
        # A narrow discriminator's deeper layers have fewer values than the image, so noise can match them.
        similarity_settings=(("layer", "first"),),
        discriminator=True,
    )
