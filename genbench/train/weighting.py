"""The weight of a similarity, so that its scale does not decide the ranking."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genbench.errors import GenbenchError
from genbench.interfaces import Batch, Model, Share, Similarity, View
from genbench.records import Scalar
from genbench.train.gradients import gradient_in
from genbench.train.precision import precise, training_in

LEAST_VARIANCE = torch.finfo(torch.float32).eps ** 2
"""Of a calibrated similarity, far below any that a model reaches: by one much smaller, gradients would overflow."""


class WeightedSimilarity(Similarity):
    """A similarity times a weight that belongs to the model's state; NaN until one that is not given is known.

    The similarity is computed in float32 whatever the step's precision: a sum of thousands of squares does not fit a
    half one, nor SSIM's variances, which are differences of means, TF32.

    Args:
        similarity: any; for `calibrated`, one that is least where both images are the same.
        weight: `auto` is measured once by `measure_weight`. `calibrated` is found at each step: the similarity is read
            as ½d²/σ² + D/2·log σ² of a Gaussian in the D values of an image, with the σ² that makes the batch likeliest
            (Rybkin et al. 2021, section 3.2), so that no weight is chosen by hand; d² is twice by how much the
            similarity exceeds that of the image to itself. The gradient is that of D/2·log of its mean.

    Attributes:
        share: of the batch that this process has, over all of which σ² is taken.
    """

    weight: Tensor

    def __init__(self, similarity: Similarity, weight: float | Literal["auto", "calibrated"]) -> None:
        super().__init__()
        self.similarity = similarity
        self.calibrated = weight == "calibrated"
        self.share = Share()
        initial = float("nan") if isinstance(weight, str) else float(weight)
        self.register_buffer("weight", torch.tensor(initial, dtype=torch.float32))

    @property
    def facts(self) -> Mapping[str, Scalar]:  # type: ignore[override]
        """Return the similarity's own."""
        return self.similarity.facts

    @property
    def measured(self) -> bool:
        """Whether the weight is known."""
        return not bool(self.weight.isnan())

    def forward(self, real: View, fake: View) -> Tensor:
        if not torch.backends.cuda.matmul.allow_tf32:
            return self._weigh(real, fake)
        # The way back is not taken here, but whenever a loss is differentiated: first through the value, last through
        # what it was computed from.
        return _letting_tf32(self._weigh(_leading_to_tf32(real), _leading_to_tf32(fake)), False)

    def _weigh(self, real: View, fake: View) -> Tensor:
        with torch.autocast(real.images.device.type, enabled=False), training_in("float32"):
            real, fake = _precisely(real), _precisely(fake)
            if self.calibrated:
                return self._calibrated(real, fake)
            return self.weight * _costs(self.similarity, real, fake)

    def _calibrated(self, real: View, fake: View) -> Tensor:
        with torch.no_grad():
            least = _costs(self.similarity, real, real)
        half_square = _costs(self.similarity, real, fake) - least
        values = real.images[0].numel()
        variance = (2 / values * self.share.mean(half_square.mean())).clamp(min=LEAST_VARIANCE)
        if self.training:
            self.weight.copy_(1 / variance)
        likelihood: Tensor = half_square / variance + values / 2 * variance.log()
        return likelihood


class Mixture(Similarity):
    """Several weighted similarities, each times its share: with `auto`, so much of the gradient comes from each.

    Args:
        parts: by the similarities' names.
        shares: of the parts, in their order; their sum is 1.
    """

    def __init__(self, parts: Mapping[str, WeightedSimilarity], shares: Sequence[float]) -> None:
        super().__init__()
        self.names = tuple(parts)
        self.shares = tuple(shares)
        self.parts = nn.ModuleList(parts.values())

    @property
    def facts(self) -> Mapping[str, Scalar]:  # type: ignore[override]
        """Return those of all parts, and their weights once these are known."""
        found: dict[str, Scalar] = {}
        for name, part in zip(self.names, weighted(self), strict=True):
            found |= {f"{name} {key}": value for key, value in part.facts.items()}
            if part.measured:
                found[f"{name} weight"] = float(part.weight)
        return found

    def forward(self, real: View, fake: View) -> Tensor:
        distances = [share * part(real, fake) for share, part in zip(self.shares, self.parts, strict=True)]
        return torch.stack(distances).sum(0)


def weighted(similarity: Similarity | None) -> tuple[WeightedSimilarity, ...]:
    """Return the weighted similarities that a run's is made of: none where it has none, several of a mixture."""
    if isinstance(similarity, WeightedSimilarity):
        return (similarity,)
    if isinstance(similarity, Mixture):
        return tuple(part for part in similarity.parts if isinstance(part, WeightedSimilarity))
    return ()


class _LettingTf32(torch.autograd.Function):
    """Changes no value; from there on, the way back may compute in TF32, or may not."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, allowed: bool) -> Tensor:
        ctx.allowed = allowed
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        matmul.allow_tf32 = cudnn.allow_tf32 = ctx.allowed
        return gradient, None


def _leading_to_tf32(view: View) -> View:
    """Return a view behind which the way back may compute in TF32 again: what its features were computed from."""
    features = {layer: _letting_tf32(values, True) for layer, values in view.features.items()}
    return View(_letting_tf32(view.images, True), features)


def _letting_tf32(values: Tensor, allowed: bool) -> Tensor:
    found: Tensor = _LettingTf32.apply(values, allowed)
    return found


class _Precise(Mapping[str, Tensor]):
    """Features, each in float32 once it is asked for."""

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        self.features = features

    def __getitem__(self, layer: str) -> Tensor:
        return precise(self.features[layer])

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)


def _precisely(view: View) -> View:
    return View(precise(view.images), _Precise(view.features))


def _costs(similarity: Similarity, real: View, fake: View) -> Tensor:
    """Return what a similarity gives, or raise a GenbenchError where that is not one number for each image."""
    value: object = similarity(real, fake)
    name, count = type(similarity).__name__, len(real.images)
    if not isinstance(value, Tensor):
        raise GenbenchError(
            f"{name}: it gives a {type(value).__name__}, expected a tensor",
            "return a tensor of shape (N,); see `genbench check`",
            exit_code=1,
        )
    if value.shape != (count,):  # a mean over the batch would train as well, and be another measure
        raise GenbenchError(
            f"{name}: its value has the shape {tuple(value.shape)} for {count} images, expected ({count},)",
            "reduce each image by itself, such as by `.flatten(1).sum(1)`; see `genbench check`",
            exit_code=1,
        )
    return value


def measure_weight(model: Model, similarity: Similarity, batches: list[Batch]) -> float:
    """Return the weight by which the similarity's gradient gets the norm of the Gaussian pixel likelihood's.

    Both gradients are taken at the same reconstructions of the first batches, image by image, in all processes; the
    weight is the ratio of the root mean squares of their norms. That of the Gaussian, ½(x - x̃)² summed over pixels, is
    x̃ - x. The model's state is left as it was found.

    Raises:
        GenbenchError: the similarity gives no number for each image, or its gradient is zero or not finite.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    pixel = torch.zeros((), dtype=torch.float64)
    own = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        real, fake = model.views(batch)
        pixel += (fake.images.detach() - real.images).cpu().double().square().sum()
        own += gradient_in(_costs(similarity, real, fake).sum(), fake.images).cpu().double().square().sum()
    model.load_state_dict(state)
    pixel, own = batches[0].share.sum(torch.stack([pixel, own]))
    weight = float((pixel / own).sqrt())
    if not 0 < weight < float("inf"):
        raise GenbenchError(
            f"{type(similarity).__name__}: no weight can be measured, the squared norm of its gradient is {float(own)}",
            "the similarity must be differentiable in the reconstruction; or give --similarity-weight a number",
            exit_code=1,
        )
    return weight
