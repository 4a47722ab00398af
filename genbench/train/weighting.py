"""The weight of a similarity, so that its scale does not decide the ranking."""

from typing import Literal

import torch
from torch import Tensor

from genbench.errors import GenbenchError
from genbench.interfaces import Batch, Model, Similarity, View


class WeightedSimilarity(Similarity):
    """A similarity times a weight that belongs to the model's state; NaN until an automatic one has been measured."""

    weight: Tensor

    def __init__(self, similarity: Similarity, weight: float | Literal["auto"]) -> None:
        super().__init__()
        self.similarity = similarity
        initial = float("nan") if weight == "auto" else float(weight)
        self.register_buffer("weight", torch.tensor(initial, dtype=torch.float32))

    @property
    def measured(self) -> bool:
        """Whether the weight is known."""
        return not bool(self.weight.isnan())

    def forward(self, real: View, fake: View) -> Tensor:
        distance: Tensor = self.weight * self.similarity(real, fake)
        return distance


def measure_weight(model: Model, similarity: Similarity, batches: list[Batch]) -> float:
    """Return the weight by which the similarity's gradient gets the norm of the Gaussian pixel likelihood's.

    Both gradients are taken at the same reconstructions of the first batches, image by image; the weight is the ratio
    of the root mean squares of their norms. That of the Gaussian, ½(x - x̃)² summed over pixels, is x̃ - x. The model's
    state is left as it was found.

    Raises:
        GenbenchError: the similarity's gradient is zero or not finite.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    pixel = torch.zeros((), dtype=torch.float64)
    own = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        real, fake = model.views(batch)
        pixel += (fake.images.detach() - real.images).cpu().double().square().sum()
        own += _gradient(similarity(real, fake).sum(), fake.images).cpu().double().square().sum()
    model.load_state_dict(state)
    weight = float((pixel / own).sqrt())
    if not 0 < weight < float("inf"):
        raise GenbenchError(
            f"{type(similarity).__name__}: no weight can be measured, the squared norm of its gradient is {float(own)}",
            "the similarity must be differentiable in the reconstruction; or give --similarity-weight a number",
            exit_code=1,
        )
    return weight


def _gradient(distance: Tensor, images: Tensor) -> Tensor:
    """Return the gradient of a distance in the images, zero where it does not depend on them."""
    if not distance.requires_grad:
        return torch.zeros_like(images)
    (gradient,) = torch.autograd.grad(distance, images, allow_unused=True, materialize_grads=True)
    return gradient
