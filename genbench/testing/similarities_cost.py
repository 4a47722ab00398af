"""What a similarity costs, next to the Gaussian likelihood of the pixels: told, and never a failure."""

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

from genbench.interfaces import Similarity, View
from genbench.testing.pictures import dead_leaves, reconstruction
from genbench.testing.similarities import SimilaritySubject
from genbench.train.precision import training_in

SIDE = 64
IMAGES, FEW = 64, 16
"""Of a batch, on CUDA and elsewhere."""

TURNS, LONG_S = 7, 1.0
"""How often it is timed after once, unless that takes longer, in seconds."""


class Pixels(Similarity):
    """½(x - x̃)², which is `mse`."""

    def forward(self, real: View, fake: View) -> Tensor:
        return (0.5 * (real.images - fake.images).square()).flatten(1).sum(1)


def cost(subject: SimilaritySubject) -> str:
    """Measure the time of value and gradient, given images and features, and the memory that is kept in between."""
    place = torch.device(subject.device)
    count, side = IMAGES if place.type == "cuda" else FEW, max(SIDE, subject.spec.needs.min_size)
    pictures = dead_leaves(4, subject.spec.needs.channels or 3, side).float()
    real = pictures.repeat(count // 4, 1, 1, 1).to(place)
    with torch.no_grad():
        views = [subject.view(images) for images in (real, reconstruction(real))]
        views = [View(view.images, dict(view.features.items())) for view in views]
    own, pixels = (_work(similarity.to(place), *views) for similarity in (subject.build(), Pixels()))
    with training_in("float32"):
        longer = _ratio(own, pixels, place)
        larger = _kept_bytes(own) / _kept_bytes(pixels)
    return f"{_times(longer)} the time of mse, {_times(larger)} its memory"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} x" if ratio >= 100 else f"{ratio:.2g} x"


def _work(similarity: Similarity, real: View, fake: View) -> Callable[[], None]:
    """Return what takes the value, and the gradient in images and features."""

    def work() -> None:
        images = fake.images.detach().requires_grad_()
        features = {layer: value.detach().requires_grad_() for layer, value in fake.features.items()}
        value = similarity(real, View(images, features)).sum()
        if value.requires_grad:
            torch.autograd.grad(value, (images, *features.values()), allow_unused=True)

    return work


def _ratio(work: Callable[[], None], other: Callable[[], None], place: torch.device) -> float:
    """Return how many times longer one takes, by the shortest of several turns: the rest is what others do."""
    taken: list[tuple[float, float]] = []
    while len(taken) <= TURNS and sum(map(sum, taken)) < LONG_S:
        taken.append((_seconds(work, place), _seconds(other, place)))
    own, theirs = zip(*taken, strict=True)
    ratio: float = min(own) / min(theirs)
    return ratio


def _seconds(work: Callable[[], None], place: torch.device) -> float:
    _wait(place)
    start = perf_counter()
    work()
    _wait(place)
    return perf_counter() - start


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    elif place.type == "mps":
        torch.mps.synchronize()


def _kept_bytes(work: Callable[[], None]) -> int:
    """Return the memory of what is kept for the gradient and was not there before, as images and weights are."""
    first, second = _kept(work), _kept(work)
    there = {tensor.untyped_storage().data_ptr() for tensor in first}
    new = {storage.data_ptr(): storage.nbytes() for storage in (tensor.untyped_storage() for tensor in second)}
    return sum(size for place, size in new.items() if place not in there)


def _kept(work: Callable[[], None]) -> list[Tensor]:
    """Return the tensors that work keeps for the gradient; they stay alive, so that none takes another's place."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return kept[-1]

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return kept
