"""Checks of how a similarity conducts itself: it looks at each image alone, changes nothing, and draws nothing."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from genbench.interfaces import View
from genbench.testing.interface import CheckFailed
from genbench.testing.similarities import SimilaritySubject, numbers, off

ALIKE = 1e-6
"""Largest difference in float64, in shares of the largest value, that the order of a sum may make."""

KINKS = 1e-3
"""Largest difference of a gradient, in shares of its norm: rounding may move a few entries across a kink."""

APART = (
    "reduce each image by itself, over all dimensions but the first; a batch norm must take no statistics of the batch"
)


def batch(subject: SimilaritySubject) -> str:
    """Check that an image's value and gradient depend on no other image of the batch."""
    similarity = subject.build().double()
    real, fake = (images.double() for images in subject.pair(5))
    together, slope = subject.slope(similarity, real, fake)
    for size in (1, 2):
        pairs = zip(torch.split(real, size), torch.split(fake, size), strict=True)
        parts = [subject.slope(similarity, *pair) for pair in pairs]
        apart = torch.cat([value for value, _ in parts])
        if not off(apart, together) <= ALIKE:
            raise CheckFailed(
                f"in batches of {size}, its values differ from those in one of 5 by {off(apart, together):.1e} of them",
                APART,
            )
        difference = (torch.cat([gradient for _, gradient in parts]) - slope).flatten(1).norm(dim=1)
        if not bool((difference <= KINKS * slope.flatten(1).norm(dim=1)).all()):
            raise CheckFailed(f"in batches of {size}, its gradients differ from those in one of 5", APART)
    fake.requires_grad_()
    (gradient,) = torch.autograd.grad(subject.measure(similarity, real, fake)[0], fake)
    if bool(gradient[1:].any()):
        raise CheckFailed("the gradient of one image's value is not zero in another image", APART)
    return "the same in batches of 1, 2 and 5"


def order(subject: SimilaritySubject) -> str:
    """Check that values follow their images when these change places."""
    similarity = subject.build().double()
    real, fake = (images.double() for images in subject.pair(5))
    places = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        there = subject.measure(similarity, real, fake)[places]
        moved = subject.measure(similarity, real[places], fake[places])
    if not off(moved, there) <= ALIKE:
        raise CheckFailed(f"its values differ by {off(moved, there):.1e} when images change places", APART)
    return "values follow their images"


def in_place(subject: SimilaritySubject) -> str:
    """Check that images and features are the same afterwards, bit for bit, and were not written to."""
    similarity = subject.build()
    real, fake = subject.pair(3)
    # As a decoder's output is, the fake images are no leaf: those may not be written to anyway.
    views = (subject.view(real), subject.view(fake.requires_grad_() * 1))
    features = [dict(view.features.items()) for view in views]
    views = (View(views[0].images, dict(features[0])), View(views[1].images, dict(features[1])))
    tensors = {f"{side}.images": view.images for side, view in zip(("real", "fake"), views, strict=True)}
    for side, found in zip(("real", "fake"), features, strict=True):
        tensors |= {f"{side}.features[{layer!r}]": tensor for layer, tensor in found.items()}
    before = {name: (tensor.detach().clone(), tensor._version) for name, tensor in tensors.items()}
    hint = (
        "write to no tensor that you are given: no `add_`, no `x -= y`, no `nn.ReLU(inplace=True)` as the first layer"
    )
    torch.autograd.backward(numbers(similarity(*views), 3).sum())
    for name, tensor in tensors.items():
        copy, version = before[name]
        if tensor._version != version or not torch.equal(tensor.detach(), copy):
            raise CheckFailed(f"it writes to `{name}`", hint)
    for side, view, found in zip(("real", "fake"), views, features, strict=True):
        if list(view.features) != list(found) or any(view.features[layer] is not found[layer] for layer in found):
            raise CheckFailed(f"it changes the mapping `{side}.features`", hint)
    return f"{len(tensors)} tensors as they were"


def random_state(subject: SimilaritySubject) -> str:
    """Check that no global random generator is drawn from or seeded."""
    device = torch.device(subject.device)
    similarity = subject.build().to(device)
    real, fake = (images.to(device) for images in subject.pair(2))
    with _undisturbed(device) as states:
        before = states()
        subject.slope(similarity, real, fake)
        moved = [name for name, state in states().items() if state != before[name]]
    if moved:
        raise CheckFailed(
            f"it moves the random state of {' and of '.join(moved)}",
            "a similarity is no random number; where it needs some, draw them once from a torch.Generator of its own",
        )
    return f"{', '.join(before)}: as they were"


def deterministic(subject: SimilaritySubject) -> str:
    """Check that the same images always cost the same, bit for bit: again, in evaluation mode, and built anew."""
    similarity = subject.build()
    real, fake = subject.pair(3)
    with torch.no_grad():
        first = subject.measure(similarity, real, fake)
        subject.measure(similarity, *subject.pair(3, seed=1))
        again = subject.measure(similarity, real, fake)
        anew = subject.measure(subject.build(), real, fake)  # torch's random state has moved on, if any was drawn
        evaluated = subject.measure(similarity.eval(), real, fake)
    _expect_same(again, first, "measured again, after others", "keep no state, and draw no random numbers")
    _expect_same(evaluated, first, "in evaluation mode", "leave out dropout, and batch norms that learn")
    _expect_same(anew, first, "built anew", "draw what is random in it from a torch.Generator with a fixed seed")
    return "the same again, for evaluation, and built anew"


def without_gradients(subject: SimilaritySubject) -> str:
    """Check that it can be evaluated in inference mode, and still trained with afterwards."""
    similarity = subject.build()
    real, fake = subject.pair(2)
    with torch.inference_mode():
        value = subject.measure(similarity, real, fake).clone()
    try:
        trained, _ = subject.slope(similarity, real, fake)
    except RuntimeError as error:
        if "nference tensor" not in str(error):
            raise
        raise CheckFailed(
            "used in inference mode first, it has no gradient afterwards",
            "keep no tensor from one call to the next; what is constant belongs into `register_buffer`, in `__init__`",
        ) from error
    if not off(trained, value) <= ALIKE:
        raise CheckFailed(
            f"without gradients, its value differs by {off(trained, value):.1e}", "compute the same in both cases"
        )
    return "the same in inference mode, and trains after it"


def _expect_same(value: Tensor, first: Tensor, told: str, hint: str) -> None:
    if not torch.equal(value, first):
        raise CheckFailed(f"{told}, the same images differ by {off(value, first):.1e} of their value", hint)


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[Callable[[], Mapping[str, object]]]:
    """Yield what reads the states of all global random generators, which are put back afterwards."""

    def states() -> Mapping[str, object]:
        numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 (the global one is what is watched)
        found = {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": str(numpy), "random": random.getstate()}
        if device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(device).numpy().tobytes()
        return found

    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield states
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
