"""Data sets that break one promise each, for the tests of the kit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import genbench
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet

COUNTS = (60, 10, 20)
TOTAL = sum(COUNTS)
Pixels = npt.NDArray[np.uint8]


class Sound(Dataset):
    """Grey discs on black, large and bright ones among them; breaks no promise."""

    def prepare(self, request: DataRequest) -> ImageSet:
        large, bright = self.factors()
        images = self.draw(np.arange(TOTAL), large, bright, request.size)
        splits = np.repeat([0, 1, 2], COUNTS).astype(np.uint8)
        return ImageSet(images, splits, np.stack([large, bright], 1).astype(np.uint8), ("large", "bright"))

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        large, bright = (factor[indices] for factor in self.factors())
        if attribute not in ("large", "bright"):
            raise GenbenchError(f"no attribute `{attribute}`", "large or bright")
        large, bright = large ^ (attribute == "large"), bright ^ (attribute == "bright")
        return self.draw(indices, large, bright, size)

    def factors(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        rng = np.random.default_rng(0)
        return rng.random(TOTAL) < 0.5, rng.random(TOTAL) < 0.5

    def draw(
        self, indices: npt.NDArray[np.int64], large: npt.NDArray[np.bool_], bright: npt.NDArray[np.bool_], size: int
    ) -> Pixels:
        centre = np.random.default_rng(1).uniform(0.2, 0.8, (TOTAL, 2))[indices]
        shade = np.random.default_rng(2).integers(60, 100, TOTAL)[indices]
        y, x = (np.mgrid[:size, :size] + 0.5) / size
        off = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
        inside = off < np.where(large, 0.1, 0.03)[:, None, None]
        value = np.where(bright, shade + 120, shade)[:, None, None]
        return np.where(inside, value, 10).astype(np.uint8)[..., None]


class Shares(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        found = super().prepare(request)
        return replace(found, images=found.images // 128)


class Signed(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        found = super().prepare(request)
        return replace(found, images=found.images.astype(np.int64))  # type: ignore[arg-type]


class Untested(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        found = super().prepare(request)
        return replace(found, splits=np.minimum(found.splits, 1))


class Admitting(Untested):
    """Has no test images either, but says so."""

    def prepare(self, request: DataRequest) -> ImageSet:
        return replace(super().prepare(request), notes=("there is no test split",))


class Leaking(Sound):
    def draw(self, indices: npt.NDArray[np.int64], *others: object) -> Pixels:
        return super().draw(np.where(indices == TOTAL - 1, 0, indices), *others)  # type: ignore[arg-type]

    def factors(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        large, bright = super().factors()
        large[-1], bright[-1] = large[0], bright[0]
        return large, bright


class Unnamed(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        return replace(super().prepare(request), attribute_names=("large ", "bright"))

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(indices, attribute.strip(), size)


class Alike(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        return replace(super().prepare(request), attribute_names=("Large", "large"))

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(indices, "bright" if attribute == "Large" else attribute, size)


class Talkative(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        return replace(super().prepare(request), notes=("and so on " * 20_000,))


class FixedSize(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        return super().prepare(replace(request, size=32))


class Shuffling(Sound):
    """Puts its images into another order at another size."""

    def draw(self, indices: npt.NDArray[np.int64], *others: object) -> Pixels:
        moved = (indices + (7 if others[-1] == 16 else 0)) % TOTAL
        return super().draw(moved, *others)  # type: ignore[arg-type]


class Fresh(Sound):
    """Has grain that is drawn from nowhere."""

    def prepare(self, request: DataRequest) -> ImageSet:
        found = super().prepare(request)
        grain = np.random.default_rng().integers(0, 3, found.images.shape, dtype=np.uint8)
        return replace(found, images=found.images + grain, attributes=None, attribute_names=())


class Seeding(Sound):
    def prepare(self, request: DataRequest) -> ImageSet:
        np.random.seed(0)  # noqa: NPY002
        return super().prepare(request)


class Misshapen(Sound):
    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(indices, attribute, size)[..., 0]


class Keyed(Sound):
    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(indices, {"large": "large", "bright": "bright"}[attribute], size)


class Anything(Sound):
    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(indices, "large" if attribute == "large" else "bright", size)


class Still(Sound):
    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        super().counterfactuals(indices, attribute, size)
        return self.draw(indices, *(factor[indices] for factor in self.factors()), size)


class Redrawn(Sound):
    """Changes every pixel along with the attribute."""

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        super().counterfactuals(indices, attribute, size)
        return self.draw(indices, *(factor[indices] for factor in self.factors()), size) + np.uint8(1)


class Placed(Sound):
    """Gives images by their place in the question."""

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> Pixels:
        return super().counterfactuals(np.sort(indices), attribute, size)


class Listed(Dataset):
    """Reads the pictures of a folder, in the order of their names; breaks no promise."""

    def files(self, request: DataRequest) -> Sequence[Path]:
        if request.source is None:
            raise GenbenchError("no folder of pictures named", "name one with `--data FOLDER`")
        found = sorted(request.source.glob("*.bytes"))
        if not found:
            raise GenbenchError(f"no pictures in {request.source}", "put files that end in .bytes there")
        return found

    def prepare(self, request: DataRequest) -> ImageSet:
        contents = [np.frombuffer(path.read_bytes(), np.uint8).reshape(32, 32, 1) for path in self.files(request)]
        images = np.stack(contents)[:, :: 32 // request.size, :: 32 // request.size]
        return ImageSet(np.ascontiguousarray(images), np.repeat([0, 1, 2], len(images) // 3).astype(np.uint8))


class ByTime(Listed):
    def files(self, request: DataRequest) -> Sequence[Path]:
        return sorted(super().files(request), key=lambda path: path.stat().st_mtime_ns)


class Secret(Listed):
    """Names no files, but reads some."""

    def files(self, request: DataRequest) -> Sequence[Path]:
        return ()

    def prepare(self, request: DataRequest) -> ImageSet:
        named = Listed()
        images = [np.frombuffer(path.read_bytes(), np.uint8).reshape(32, 32, 1) for path in named.files(request)]
        small = np.stack(images)[:, :: 32 // request.size, :: 32 // request.size]
        return ImageSet(np.ascontiguousarray(small), np.repeat([0, 1, 2], len(small) // 3).astype(np.uint8))


class Crashing(Listed):
    def files(self, request: DataRequest) -> Sequence[Path]:
        if request.source is None:
            raise KeyError("source")
        return super().files(request)


class Vague(Listed):
    def files(self, request: DataRequest) -> Sequence[Path]:
        try:
            return super().files(request)
        except GenbenchError as error:
            raise GenbenchError("the data is missing", "find it") from error


class Hintless(Listed):
    def files(self, request: DataRequest) -> Sequence[Path]:
        try:
            return super().files(request)
        except GenbenchError as error:
            raise GenbenchError(error.message) from error


class Making(Listed):
    """Makes something up where its files are missing."""

    def files(self, request: DataRequest) -> Sequence[Path]:
        return [Path(__file__)] if request.source is None else super().files(request)

    def prepare(self, request: DataRequest) -> ImageSet:
        return super().prepare(request) if request.source else Sound().prepare(request)


class Other:
    """No data set."""


class Plugin:
    """Declares all of them, by the names of their classes."""

    @genbench.hookimpl
    def genbench_datasets(self) -> Iterator[genbench.DatasetSpec]:
        for name, cls in globals().items():
            if isinstance(cls, type) and (issubclass(cls, Dataset) or cls is Other) and cls is not Dataset:
                yield genbench.DatasetSpec(name.lower(), "", f"{__name__}:{name}", channels=1, size=32, images=100)
        sound = f"{__name__}:Sound"
        yield genbench.DatasetSpec("little", "", sound, channels=1, size=8, images=100)
        yield genbench.DatasetSpec("untrained", "", sound, channels=1, size=32, images=0)
        yield genbench.DatasetSpec("colourless", "", sound, channels=3, size=32, images=100)
