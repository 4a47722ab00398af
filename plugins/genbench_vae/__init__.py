"""The variational autoencoder, with any similarity as its likelihood."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_models() -> Iterable[genbench.ModelSpec]:
    """Declare `vae`."""
    yield genbench.ModelSpec(
        "vae",
        "variational autoencoder (Kingma & Welling 2014)",
        "genbench_vae.model:Vae",
        "genbench_vae.settings:VaeSettings",
        similarity="mse",
    )
