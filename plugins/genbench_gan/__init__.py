"""The generative adversarial network."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_models() -> Iterable[genbench.ModelSpec]:
    """Declare `gan`."""
    yield genbench.ModelSpec(
        "gan",
        "generative adversarial network (Goodfellow et al. 2014)",
        "genbench_gan.model:Gan",
        "genbench_gan.settings:GanSettings",
        discriminator=True,
    )
