"""A data set on trial: where its files are, and what it prepares of them."""

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genbench.config import DataConfig
from genbench.data.packed import PackedDataset
from genbench.data.preparation import MEND, prepare
from genbench.data.sources import cache_folder, source_folder
from genbench.errors import GenbenchError, NotApplicable
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench.networks import seeded
from genbench.resolution import build_part, build_settings, by_section, resolve_settings
from genbench.specs import DatasetSpec
from genbench.testing.interface import CheckFailed, Subject
from genbench.testing.offline import offline

SMALL, OTHER = 16, 24
"""Sides in pixels at which a data set is prepared again; the second where the first is its own."""

MANY = 100_000
"""Images from which on none is prepared again, which would take minutes."""


@dataclass(frozen=True)
class DatasetSubject(Subject):
    """A data set, with the files in the folder that GENBENCH_DATA names, or those that were downloaded before."""

    @property
    def spec(self) -> DatasetSpec:
        return self.plugins.dataset(self.name)

    def check_settings(self) -> None:
        build_settings(self.plugins, self.spec, by_section(self.settings)["dataset"])

    def build(self) -> Dataset:
        part = build_part(self.plugins, self.spec, by_section(self.settings)["dataset"])
        if not isinstance(part, Dataset):
            raise CheckFailed(
                f"`{self.spec.target}` gives a {type(part).__name__}, expected a genbench Dataset",
                "subclass `genbench.interfaces.Dataset`",
            )
        return part

    @property
    def small(self) -> int:
        """Return the side in pixels at which it is prepared again."""
        return OTHER if self.spec.size == SMALL else SMALL

    @property
    def request(self) -> DataRequest:
        """Return what it is asked for at the small size, of the files that are here."""
        return DataRequest(source_folder(None), cache_folder() / "downloads", self.small)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Return the files that it reads.

        Raises:
            NotApplicable: they are not here.
        """
        try:
            with offline():
                return tuple(self.build().files(self.request))
        except GenbenchError as error:
            raise NotApplicable(f"its files are not here: {error.message}", error.hint) from error

    @cached_property
    def packed(self) -> PackedDataset:
        """Return it at its own size, as a run has it, from the cache or put there.

        Raises:
            NotApplicable: its files are not here, or can't be read.
            CheckFailed: what it prepares is not what it should be.
        """
        spec, files = self.spec, self.files
        settings = resolve_settings(self.plugins, spec, by_section(self.settings)["dataset"])
        config = DataConfig(name=spec.name, settings=settings, size=spec.size)
        request = self.request
        try:
            with offline():
                return prepare(spec, self.build(), config, request.source, cache_folder(), request.progress)
        except GenbenchError as error:
            if files and error.hint != MEND:
                raise NotApplicable(f"its files can't be read: {error.message}", error.hint) from error
            raise CheckFailed(error.message, error.hint) from error

    @cached_property
    def again(self) -> ImageSet:
        """Return it at the small size.

        Raises:
            NotApplicable: that would take too long, or `packed` says so.
        """
        count = len(self.packed.images)
        if count > MANY:
            raise NotApplicable(f"preparing {count:,} images again takes too long")
        return self.prepare(self.request)

    def prepare(self, request: DataRequest, seed: int = 0) -> ImageSet:
        """Prepare anew, in memory, whatever the global random generators are at."""
        with otherwise_seeded(seed), offline():
            return self.build().prepare(request)


@contextmanager
def nothing_there() -> Iterator[tuple[DataRequest, DataRequest]]:
    """Yield requests where no files are: with an empty folder as the source, and without one and without a network."""
    with TemporaryDirectory(prefix="genbench-check-") as name, offline():
        source, downloads = Path(name) / "empty", Path(name) / "downloads"
        source.mkdir()
        yield DataRequest(source, downloads, SMALL), DataRequest(None, downloads, SMALL)


def elsewhere(request: DataRequest, files: Sequence[Path], folder: Path) -> DataRequest:
    """Copy files to a folder, last ones first, with other times, and return the request that finds them there.

    Raises:
        NotApplicable: they lie neither in the source nor among the downloads.
    """
    for name, root in (("source", request.source), ("downloads", request.downloads)):
        if root is None or not all(file.is_relative_to(root) for file in files):
            continue
        target = folder / name
        for file in sorted(_plain(files), reverse=True):
            copy = target / file.relative_to(root) if root.is_dir() else target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # without its times
        return replace(request, source=target) if name == "source" else replace(request, downloads=target)
    raise NotApplicable("its files do not lie in one folder")


def size_of(files: Sequence[Path]) -> int:
    """Return the bytes of files, and of those in folders among them."""
    return sum(file.stat().st_size for file in _plain(files))


def _plain(files: Sequence[Path]) -> list[Path]:
    """Return files, and in place of a folder those in it, as `Dataset.files` means it."""
    folders = [file for file in files if file.is_dir()]
    inside = [file for folder in folders for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    return [*(file for file in files if not file.is_dir()), *inside]


@contextmanager
def otherwise_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators for a while, so that what is drawn from them shows."""
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002 - what somebody else's code may draw from
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        with seeded(seed, "prepare"):
            yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
