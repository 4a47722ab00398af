"""Checks of a feature extractor: what distances between sets of images rely on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.evaluate.extractors import AttributeFeatures, Extractor, obtain_extractor
from genbench.images import to_uint8
from genbench.specs import ExtractorSpec
from genbench.testing.evaluators_context import EvaluatorSubject
from genbench.testing.evaluators_oracle import SIDE
from genbench.testing.generators import other_states
from genbench.testing.interface import CheckFailed, Subject
from genbench.testing.offline import offline
from genbench.testing.pictures import dead_leaves

CPU = torch.device("cpu")
COUNT = 6
SIZES = (16, 32, 64, 100)
"""Of images in pixels; the data set's own classifier is made for one size alone."""

ROUNDING = 1e-4
"""Largest difference that a batch's size, or the order of its images, may make, in shares of the largest feature."""

ON_DEVICE = 1e-2
"""As `ROUNDING`, of another device, whose kernels sum in another order."""


@dataclass(frozen=True)
class ExtractorSubject(Subject):
    """A feature extractor, with the variant that follows a colon where it has several."""

    @property
    def spec(self) -> ExtractorSpec:
        if ":" not in self.name:
            alone = [spec for spec in self.plugins.specs("extractors") if spec.name == self.name]
            if len(alone) == 1:
                return alone[0]
        return self.plugins.extractor(self.name)[0]

    def check_settings(self) -> None:
        """Return; `make_subject` has refused all settings."""

    def build(self) -> Extractor:
        return self.built_on(CPU)

    def built_on(self, device: torch.device) -> Extractor:
        """Return the extractor, built anew on a device; raises as `build` does."""
        if self.name == AttributeFeatures.name:
            return self._evaluator.context().extractor(self.name)
        if self.spec.variants and not self.spec.variant and ":" not in self.name:
            raise NotApplicable(
                f"`{self.name}` alone names no network", f"name one of its variants: `{self.name}:VARIANT`"
            )
        with offline():
            return obtain_extractor(self.plugins, self.name, "", device)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the sides of the images that it is tried on."""
        return (SIDE,) if self.name == AttributeFeatures.name else SIZES

    @cached_property
    def _evaluator(self) -> EvaluatorSubject:
        """Return what knows a data set, so that its classifier is trained once."""
        return EvaluatorSubject(self.plugins, self.name)


def pictures(count: int = COUNT, channels: int = 3, side: int = SIDE) -> Tensor:
    """Return images, uint8 (count, channels, side, side)."""
    return to_uint8(dead_leaves(count, channels, side))


def features(subject: ExtractorSubject) -> str:
    """Check that features are (N, size), float32 and finite, for images of any size."""
    extractor = subject.build()
    for side in subject.sizes:
        _checked(extractor, pictures(2, 3, side), f"images of {side} px")
    return f"(N, {extractor.size}) of images of {', '.join(map(str, subject.sizes))} px"


def grey(subject: ExtractorSubject) -> str:
    """Check that grey images have features too."""
    if subject.name == AttributeFeatures.name:
        raise NotApplicable("the data set's classifier takes images as they are there, here in colour")
    extractor = subject.build()
    _checked(extractor, pictures(2, 1), "grey images")
    return f"(N, {extractor.size}) of one channel"


def tells_apart(subject: ExtractorSubject) -> str:
    """Check that other images have other features."""
    found = _shown(subject.build(), pictures())
    alive = int((found.std(0) > 0).sum())
    if not alive:
        raise CheckFailed("all images have the same features", "does it look at its input, and are its weights loaded?")
    return f"{alive} of {found.shape[1]} features differ between {COUNT} images"


def batch(subject: ExtractorSubject) -> str:
    """Check that an image's features depend neither on the others of its batch nor on their order."""
    extractor, images = subject.build(), pictures()
    together = _shown(extractor, images)
    single = torch.cat([_shown(extractor, image) for image in torch.split(images, 1)])
    reversed_ = _shown(extractor, images.flip(0)).flip(0)
    off = max(_off(single, together), _off(reversed_, together))
    if not off <= ROUNDING:
        raise CheckFailed(
            f"an image's features change by {off:.1e} with those that it is in a batch with",
            "put the network into evaluation mode",
        )
    return f"off by {off:.0e} at most"


def deterministic(subject: ExtractorSubject) -> str:
    """Check that the same images have the same features, bit for bit: again, and from an extractor built anew."""
    extractor, images = subject.build(), pictures()
    first = _shown(extractor, images)
    for words, other in (("asked again", extractor), ("built anew", subject.build())):
        if not torch.equal(_shown(other, images), first):
            raise CheckFailed(
                f"{words}, it gives other features", "fixed weights, evaluation mode, and nothing drawn at random"
            )
    return "the same again, and built anew"


def random_state(subject: ExtractorSubject) -> str:
    """Check that no global random generator is moved."""
    with torch.random.fork_rng(devices=[]):
        extractor = subject.build()
        before, torchs = other_states(), torch.get_rng_state()
        _shown(extractor, pictures(2))
        moved = [name for name, state in other_states().items() if state != before[name]]
        moved += [] if torch.equal(torchs, torch.get_rng_state()) else ["torch"]
    if moved:
        raise CheckFailed(f"it moves the random state of {' and of '.join(moved)}", "draw nothing")
    return "as it was"


def in_place(subject: ExtractorSubject) -> str:
    """Check that images are left as they were."""
    extractor, images = subject.build(), pictures(2)
    before = images.clone()
    _shown(extractor, images)
    if not torch.equal(images, before):
        raise CheckFailed("it changes the images that it is given", "use no operation in place on them")
    return "images as they were"


def facts(subject: ExtractorSubject) -> str:
    """Check what protocols say of it: a name, a size, a hash, and plain facts."""
    extractor = subject.build()
    if not isinstance(extractor.size, int) or extractor.size < 1:
        raise CheckFailed(f"its `size` is {extractor.size!r}, expected how many features there are")
    if not isinstance(extractor.weights_hash, str):
        raise CheckFailed(
            f"its `weights_hash` is {extractor.weights_hash!r}, expected text", "it is empty where there are no weights"
        )
    if not isinstance(extractor.facts, Mapping):
        raise CheckFailed(f"its `facts` are {type(extractor.facts).__name__}, expected a mapping")
    strange = [key for key, value in extractor.facts.items() if not isinstance(key, str) or not _is_plain(value)]
    if strange:
        raise CheckFailed(
            f"its fact {strange[0]!r} is {type(extractor.facts[strange[0]]).__name__}, expected text or a number",
            "protocols are written as JSON",
        )
    if extractor.facts != subject.build().facts:
        raise CheckFailed("built anew, it has other facts", "leave out what changes from time to time")
    return f"`{extractor.name}`, {extractor.size} features, {len(extractor.facts)} facts"


def warnings(subject: ExtractorSubject) -> str:
    """Check that warnings are sentences, for images of any kind."""
    extractor, count = subject.build(), 0
    for side in SIZES:
        for channels in (1, 3):
            found: object = extractor.warnings(side, channels)
            if not isinstance(found, tuple) or not all(isinstance(each, str) and each.strip() for each in found):
                raise CheckFailed(f"`warnings({side}, {channels})` returned {found!r}, expected a tuple of sentences")
            count = max(count, len(found))
    return f"{count} at most" if count else "none"


def device(subject: ExtractorSubject) -> str:
    """Check that features are the same on the device."""
    if subject.device == "cpu":
        raise NotApplicable("there is no other device than the CPU here")
    if subject.name == AttributeFeatures.name:
        raise NotApplicable("the data set's classifier is another one on another device")
    there, images = torch.device(subject.device), pictures()
    found = _shown(subject.built_on(there), images.to(there)).cpu()
    off = _off(found, _shown(subject.build(), images))
    if not off <= ON_DEVICE:
        raise CheckFailed(f"on {there} features are off by {off:.1e}", "compute in full float32")
    return f"{there}: off by {off:.0e} at most"


def _shown(extractor: Extractor, images: Tensor) -> Tensor:
    """Return features as they come, but without a gradient."""
    return extractor(images).detach()


def _checked(extractor: Extractor, images: Tensor, words: str) -> Tensor:
    """Return features, having checked that they are what they should be."""
    found: object = extractor(images)
    expected = (len(images), extractor.size)
    if not isinstance(found, Tensor) or tuple(found.shape) != expected:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise CheckFailed(f"features of {words} are {shape}, expected {expected}")
    if found.dtype != torch.float32:
        raise CheckFailed(f"features of {words} are {found.dtype}, expected torch.float32")
    if found.requires_grad:
        raise CheckFailed("features carry a gradient, and with it all memory of how they came", "use `torch.no_grad()`")
    if not found.isfinite().all():
        raise CheckFailed(f"features of {words} are not finite")
    return found


def _off(found: Tensor, expected: Tensor) -> float:
    return (found - expected).abs().max().item() / (expected.abs().max().item() or 1.0)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
