"""Checks of a similarity in the layouts, precisions and on the devices that a run computes on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genbench.errors import NotApplicable, first_line
from genbench.interfaces import Similarity, View
from genbench.testing.interface import CheckFailed
from genbench.testing.similarities import SimilaritySubject, off
from genbench.train.graph import CudaRecorder, Recorder, WouldWait
from genbench.train.precision import training_in
from genbench.train.weighting import WeightedSimilarity

PRECISE = 1e-3
"""Largest difference in float32 from float64, from another device's and from another layout's, in shares of a value."""

MOST = 0.9
"""Share of a gradient's entries whose errors count: where a network has a kink, a few may differ by much, rightly."""

WARM_UP = 2

META = torch.device("meta")
"""Torch's device on which tensors have shapes and no values."""


def autocast(subject: SimilaritySubject) -> str:
    """Check that it is precise as genbench calls it: in float32, also within a step that computes in bfloat16."""
    real, fake = subject.pair(3)
    truth = subject.slope(subject.build().double(), real.double(), fake.double())
    alone = subject.slope(WeightedSimilarity(subject.build(), 1.0), real, fake)
    worst = _error(alone, truth)
    if not worst <= PRECISE:
        raise CheckFailed(
            f"in float32, its value or gradient is off by {worst:.1e} of that in float64",
            "is a part of it computed in half precision, or as a difference of large sums?",
        )
    within = subject.slope(_Within(WeightedSimilarity(subject.build(), 1.0)), real, fake)
    if within[0].dtype != torch.float32:
        raise CheckFailed(f"within autocast its value is {str(within[0].dtype).removeprefix('torch.')}, not float32")
    if not _error(within, truth) <= PRECISE:
        raise CheckFailed(
            f"within autocast, its value or gradient is off by {_error(within, truth):.1e}",
            "genbench turns autocast off for it: do not turn it on again",
        )
    return f"float32 is off by {worst:.0e}, and no more within autocast"


class _Within(Similarity):
    """A similarity whose value is computed within autocast, and its gradient after it, as torch recommends."""

    def __init__(self, similarity: Similarity) -> None:
        super().__init__()
        self.similarity = similarity

    def forward(self, real: View, fake: View) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            value: Tensor = self.similarity(real, fake)
        return value


def _error(found: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> float:
    """Return the larger one of the errors of values and of most of the gradient, in shares of what is usual."""
    gradient, exact = (one[1].detach().cpu().double().flatten(1) for one in (found, truth))
    error = (gradient - exact).abs().quantile(MOST, 1)
    usual = exact.abs().quantile(MOST, 1).clamp(min=torch.finfo(torch.float64).tiny)
    return max(off(found[0], truth[0]), float((error / usual).max()))


def channels_last(subject: SimilaritySubject) -> str:
    """Check that the layout of images in memory makes no difference: genbench's networks give channels_last ones."""
    similarity = subject.build()
    real, fake = subject.pair(2)
    usual = subject.slope(similarity, real, fake)
    try:
        other = subject.slope(similarity, *(x.contiguous(memory_format=torch.channels_last) for x in (real, fake)))
    except RuntimeError as error:
        raise CheckFailed(
            f"with images in channels_last it raises {first_line(error)}", "use `reshape` or `flatten` for `view`"
        ) from error
    if not _error(other, usual) <= PRECISE:
        raise CheckFailed(
            f"with images in channels_last, its value or gradient is off by {_error(other, usual):.1e}",
            "read images by their dimensions, never by their memory (`as_strided`, `data_ptr`)",
        )
    return "the same value and gradient"


def no_values(subject: SimilaritySubject) -> str:
    """Check that its path through Python hangs on no pixel, and that its constants follow the images' device.

    On torch's meta device images have a shape and no values: what computes there makes no host wait for a GPU, and
    can be recorded in a CUDA graph.
    """
    similarity = subject.build().to(META)
    real, fake = (images.to(META) for images in subject.pair(2))
    try:
        with _OneDevice():
            subject.slope(similarity, real, fake)
    except _Elsewhere as error:
        raise CheckFailed(
            f"it computes with a constant on the CPU, wherever the images are: {error}",
            "register it as a buffer, or make it by `images.new_tensor`",
        ) from error
    except (RuntimeError, NotImplementedError, TypeError) as error:
        if "Could not run" in str(error) or "autocast" in str(error):
            raise NotApplicable(f"torch can't tell without a GPU: {first_line(error)}") from error
        raise CheckFailed(
            f"it reads the images' values in Python: {first_line(error)}",
            "use `torch.where` for `if`, `clamp` for an assertion, and no `.item()`, `.cpu()`, `.numpy()`, `x[x > 0]`",
        ) from error
    return "no value is read, no constant stays behind"


class _Elsewhere(Exception):
    """A function of torch is given tensors of two devices."""


class _OneDevice(TorchFunctionMode):
    """Refuses to compute with a tensor on the CPU beside one on the meta device, as CUDA would."""

    moving = frozenset({"to", "copy_", "type_as", "__getitem__", "__setitem__", "_has_compatible_shallow_copy_type"})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", str(func))
        given = [value for value in _tensors((args, kwargs or {})) if value.dim() > 0]
        with torch._C.DisableTorchFunctionSubclass():
            devices = {value.device.type for value in given}
        if len(devices) > 1 and name not in self.moving:
            raise _Elsewhere(f"`{name}` of tensors on {' and '.join(sorted(devices))}".replace("meta", "theirs"))
        return func(*args, **(kwargs or {}))


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in inside for tensor in _tensors(part)]


def device(subject: SimilaritySubject) -> str:
    """Check that the device gives the value and the gradient that the CPU gives."""
    place = _other_device(subject)
    real, fake = subject.pair(4)
    expected = subject.slope(subject.build(), real, fake)
    with training_in("float32"):
        found = subject.slope(subject.build().to(place), real.to(place), fake.to(place))
    if not _error(found, expected) <= PRECISE:
        raise CheckFailed(
            f"on {place} its value or gradient is off by {_error(found, expected):.1e} from the CPU's",
            "does it change the precision of torch's backends, or compute in half precision there?",
        )
    return f"{place}: off by {_error(found, expected):.0e} from the CPU"


def graph(subject: SimilaritySubject) -> str:
    """Check that it can be recorded in a CUDA graph, whose replay computes what it computes."""
    place = _other_device(subject)
    if place.type != "cuda":
        raise NotApplicable("only CUDA has graphs")
    return record(subject, place, CudaRecorder(place))


def record(subject: SimilaritySubject, place: torch.device, recorder: Recorder) -> str:
    """Record value and gradient for some images, and replay them for others."""
    similarity = subject.build().to(place)
    first, second = ([images.to(place) for images in subject.pair(4, seed)] for seed in (0, 1))
    held, found = [images.clone() for images in first], (torch.zeros(4, device=place), torch.zeros_like(first[1]))

    def work() -> None:
        for there, new in zip(found, subject.slope(similarity, *held), strict=True):
            there.copy_(new)

    hint = "read no tensor's value in Python, and make no tensor on the CPU"
    try:
        with training_in("float32"):
            for _ in range(WARM_UP):
                recorder.aside(work)
            recorder.aside_without_waiting(work)
            replay = recorder.record(work)
    except WouldWait as error:
        raise CheckFailed(f"the host would wait for the device: {error}", hint) from error
    except RuntimeError as error:
        raise CheckFailed(f"it can't be recorded: {first_line(error)}", hint) from error
    for there, new in zip(held, second, strict=True):
        there.copy_(new)
    replay()
    worst = _error(found, subject.slope(similarity, *second))
    if not worst <= PRECISE:
        raise CheckFailed(
            f"replayed for other images, it is off by {worst:.1e}", "keep nothing from one call to the next"
        )
    return "recorded, and replayed for other images"


def _other_device(subject: SimilaritySubject) -> torch.device:
    if subject.device == "cpu":
        raise NotApplicable("there is no other device than the CPU here")
    return torch.device(subject.device)
