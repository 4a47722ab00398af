"""What a model makes of given images, and how far that is from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from genbench.evaluate.context import EvaluationContext
from genbench.images import squared_errors, to_float, to_uint8
from genbench.rows import as_csv


@dataclass(frozen=True)
class Restored:
    """Images and their reconstructions.

    Attributes:
        names: what each is called.
        images: uint8 (N, C, H, W), on the CPU.
        reconstructions: likewise, decoded from the means of the images' posteriors.
        latents: (N, latent_size), these means.
        errors: (N,), mean squared error of each reconstruction before it is rounded, pixels in [0, 1].
        kl: (N,), KL(q(z|x) ‖ N(0, I)) in nats.
    """

    names: tuple[str, ...]
    images: Tensor
    reconstructions: Tensor
    latents: Tensor
    errors: Tensor
    kl: Tensor

    def csv(self) -> str:
        """Return a line for each image: its name, its error, and its KL divergence, at full precision."""
        values = zip(self.names, self.errors.tolist(), self.kl.tolist(), strict=True)
        return as_csv(("image", "mse", "kl"), values)


def restore_images(context: EvaluationContext, images: Tensor, names: Sequence[str]) -> Restored:
    """Encode images, uint8 (N, C, H, W), and decode the means of their posteriors.

    Raises:
        NotApplicable: the model has no encoder.
    """
    posterior = context.encode(images)
    decoded = context.decode(posterior.mean).cpu()
    return Restored(
        tuple(names),
        images,
        to_uint8(decoded),
        posterior.mean,
        squared_errors(to_float(images), decoded).double(),
        posterior.kl().double(),
    )
