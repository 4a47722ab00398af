"""Similarities that break one promise each, and a plugin that declares them."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.request import urlopen

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

import genbench
from genbench.interfaces import Similarity, View


def pixels(real: View, fake: View) -> Tensor:
    return (real.images - fake.images).square().flatten(1).sum(1)


class Sound(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake)


class Squeezes(Similarity):
    """One image gives a number without dimensions."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake).squeeze()


class Scalar(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake).mean()


class NoTensor(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake).tolist()  # type: ignore[no-any-return]


class Single(Similarity):
    """Casts its value to float32."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake).float()


class Fixed(Similarity):
    """Its constant has a precision of its own, which nothing changes."""

    def forward(self, real: View, fake: View) -> Tensor:
        kernel = torch.ones(1, 1, 1, 1, device=fake.images.device)
        return pixels(*(View(F.conv2d(view.images[:, :1], kernel)) for view in (real, fake))) + pixels(real, fake)


class Relative(Similarity):
    """Divides by the contrast of the real image, which a flat one does not have."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) / real.images.flatten(1).var(1)


class Enhancing(Similarity):
    """Wants more contrast than the image has."""

    def forward(self, real: View, fake: View) -> Tensor:
        means = real.images.mean((1, 2, 3), keepdim=True)
        return pixels(View(real.images + 0.15 * (real.images - means)), fake)


class Reversed(Similarity):
    """How alike two images are, and not how unlike."""

    def forward(self, real: View, fake: View) -> Tensor:
        return -pixels(real, fake)


class Beside(Similarity):
    """Is least for an image that is a little brighter."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(View(real.images + 0.02), fake)


class Cancelling(Similarity):
    """Adds up errors before their signs are lost."""

    def forward(self, real: View, fake: View) -> Tensor:
        return (real.images - fake.images).flatten(1).sum(1).abs()


class Forgiving(Similarity):
    """Forgives what has lost most of its contrast."""

    def forward(self, real: View, fake: View) -> Tensor:
        kept = fake.images.flatten(1).std(1) / real.images.flatten(1).std(1).clamp(min=1e-3)
        return pixels(real, fake) * (40 * (kept - 0.4)).sigmoid()


class Blind(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return torch.zeros(len(real.images))


class Quantised(Similarity):
    """Rounds to 8 bits, which has no gradient."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, View((fake.images * 127.5).round() / 127.5))


class Straight(Similarity):
    """Rounds to 3 bits, and lets the gradient pass as though it had not."""

    def forward(self, real: View, fake: View) -> Tensor:
        rounded = fake.images + ((fake.images * 3.5).round() / 3.5 - fake.images).detach()
        return pixels(real, View(rounded)) + 2 * pixels(real, fake)


class Root(Similarity):
    """The root of 0 has an infinite slope."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake).sqrt()


class Deviating(Similarity):
    """Compares the contrast, too, as a root that a flat image makes infinite."""

    def forward(self, real: View, fake: View) -> Tensor:
        first, second = (view.images.flatten(1).var(1).sqrt() for view in (real, fake))
        return pixels(real, fake) + (first - second).square()


class Detached(Similarity):
    """Leaves a factor out of its gradient."""

    def forward(self, real: View, fake: View) -> Tensor:
        weight = 1 + (real.images - fake.images).detach().abs()
        return (weight * (real.images - fake.images).square()).flatten(1).sum(1)


class Normalised(Similarity):
    """Divides by the mean of the batch."""

    def forward(self, real: View, fake: View) -> Tensor:
        value = pixels(real, fake)
        return value / (value.mean() + 1)


class Crossed(Similarity):
    """The gradient of an image's value is not zero in the next image, though the value does not change."""

    def forward(self, real: View, fake: View) -> Tensor:
        moved = fake.images.roll(1, 0)
        return pixels(real, fake) + (moved - moved.detach()).flatten(1).sum(1)


class Stops(Similarity):
    """Gives no gradient to the fifth image of a batch and to those after it."""

    def forward(self, real: View, fake: View) -> Tensor:
        return torch.cat([pixels(real, fake)[:4], pixels(real, View(fake.images.detach()))[4:]])


class Placed(Similarity):
    """Counts later images for more."""

    def forward(self, real: View, fake: View) -> Tensor:
        value = pixels(real, fake)
        return value * (1 + torch.arange(len(value), device=value.device))


class InPlace(Similarity):
    """Writes to the real images, what they were."""

    def forward(self, real: View, fake: View) -> Tensor:
        real.images.add_(0)
        return pixels(real, fake)


class Clears(Similarity):
    """Empties the mapping of features."""

    def forward(self, real: View, fake: View) -> Tensor:
        value = pixels(View(real.features["hidden"]), View(fake.features["hidden"])) + pixels(real, fake)
        if isinstance(fake.features, dict):
            fake.features.clear()
        return value


class Draws(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        torch.rand(1)
        return pixels(real, fake)


class DrawsElsewhere(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        np.random.rand()  # noqa: NPY002
        random.random()
        return pixels(real, fake)


class Noisy(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        value = pixels(real, fake)
        return value * (1 + 0.01 * torch.rand_like(value))


class Projected(Similarity):
    """Is another measure each time that it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", 1 + torch.rand(()))

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) * self.factor


class Learning(Similarity):
    """Is another measure in evaluation."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) * (2 if self.training else 1)


class Keeps(Similarity):
    """Keeps what it made in its first call."""

    window: Tensor | None = None

    def forward(self, real: View, fake: View) -> Tensor:
        if self.window is None or self.window.shape != fake.images.shape[2:] or self.window.dtype != fake.images.dtype:
            self.window = fake.images.new_ones(fake.images.shape[2:]) * 2
        return pixels(View(real.images * self.window), View(fake.images * self.window))


class Large(Similarity):
    """Pools windows of 16 pixels, and does not say that it needs as many."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) + pixels(*(View(F.avg_pool2d(view.images, 16)) for view in (real, fake)))


class Colours(Similarity):
    """Convolves three channels, and does not say that it needs as many."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.ones(1, 3, 1, 1))

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) + pixels(*(View(F.conv2d(view.images, self.kernel)) for view in (real, fake)))


class Peeks(Similarity):
    """Uses features where there are any, and does not say so."""

    def forward(self, real: View, fake: View) -> Tensor:
        value = pixels(real, fake)
        return value + 1 if "down1" in fake.features else value


@dataclass(frozen=True)
class WrongDefault:
    """Its default breaks its own rule."""

    scale: Annotated[float, Gt(0)] = 0.0


@dataclass
class Thawed:
    scale: float = 1.0


@dataclass(frozen=True)
class Unwritable:
    """A default that no record can hold."""

    scale: Any = 1j


class Set(Sound):
    def __init__(self, settings: object) -> None:
        super().__init__()


class Facts(Sound):
    facts: Mapping[str, Any] = {"network": torch.zeros(3)}


class Trains(Similarity):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) * self.factor


class Tiny(Similarity):
    """Its scale is at the edge of what float32 can hold, its weight beyond that."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) * 1e-39


class Half(Similarity):
    """Turns autocast on for a product of matrices."""

    def forward(self, real: View, fake: View) -> Tensor:
        difference = real.images - fake.images
        with torch.autocast(difference.device.type, torch.bfloat16):
            turned = difference @ torch.eye(difference.shape[-1], dtype=difference.dtype, device=difference.device)
        return turned.to(difference.dtype).square().flatten(1).sum(1)


class Viewed(Similarity):
    """Demands that images lie in memory row by row."""

    def forward(self, real: View, fake: View) -> Tensor:
        return (real.images.view(len(real.images), -1) - fake.images.view(len(fake.images), -1)).square().sum(1)


class Branches(Similarity):
    """Looks at pixels to choose its way."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) if fake.images.max() < 2 else pixels(fake, real)


class ThroughNumpy(Similarity):
    """Takes the real images through numpy."""

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(View(torch.from_numpy(real.images.detach().numpy())), fake)


class OnTheCpu(Similarity):
    """Its constant is no buffer, and stays where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.tensor([2.0])

    def forward(self, real: View, fake: View) -> Tensor:
        return pixels(real, fake) * self.weights.to(real.images.dtype)


class Raises(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        raise ZeroDivisionError("nothing to divide")


class Downloads(Sound):
    """Fetches its weights while it is built."""

    def __init__(self) -> None:
        super().__init__()
        urlopen("http://127.0.0.1:9/weights", timeout=1)


class NotOne:
    """No similarity."""


class Absent(Similarity):
    """Its weights are nowhere."""

    def __init__(self) -> None:
        super().__init__()
        raise genbench.NotApplicable("the weights of `absent` are not here", "put them into GENBENCH_WEIGHTS")

    def forward(self, real: View, fake: View) -> Tensor:
        raise NotImplementedError


NEEDS = {"Clears": genbench.Needs(discriminator=True, min_size=16), "Unused": genbench.Needs(discriminator=True)}
SETTINGS = {"WrongDefault", "Thawed", "Unwritable"}
TARGETS = {"Unused": "Sound", **dict.fromkeys(SETTINGS, "Set")}


class Plugin:
    """Declares each class under its name in lower case."""

    @genbench.hookimpl
    def genbench_similarities(self) -> Iterator[genbench.SimilaritySpec]:
        own = [name for name, value in globals().items() if isinstance(value, type) and issubclass(value, Similarity)]
        names = [name for name in own if name not in ("Similarity", "Set")]
        for name in [*names, "NotOne", "Unused", *SETTINGS]:
            target = f"{__name__}:{TARGETS.get(name, name)}"
            settings = f"{__name__}:{name}" if name in SETTINGS else None
            yield genbench.SimilaritySpec(name.lower(), "", target, settings, NEEDS.get(name, genbench.Needs()))
