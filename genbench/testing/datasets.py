"""Checks of a data set: what training and scores rely on.

Nothing is downloaded by way of trial; a data set whose files are not here is skipped, with the reason.
"""

from collections import Counter
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from genbench.composing import describe_data
from genbench.config import DataConfig, NetworkConfig, TrainingConfig
from genbench.data.packed import Bytes, Split, fingerprint
from genbench.errors import GenbenchError, NotApplicable, in_one_line
from genbench.interfaces import ImageSet
from genbench.schema import LONGEST_NAME
from genbench.testing.datasets_trial import DatasetSubject, elsewhere, nothing_there, otherwise_seeded, size_of
from genbench.testing.generators import other_states
from genbench.testing.interface import CheckFailed

__all__ = ["DatasetSubject"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

SHARED = 1e-3
"""Share of the validation and test images that may stand in the training split too. Collections of photographs have a
few images twice, which moves no score by more than its error; a wrong split shares far more."""

COPIED_BYTES = 2**27
"""Files of up to so many bytes are copied to try whether their order and times matter."""

COMPARED = 64
"""Images that are compared at two sizes, and whose attributes are flipped one by one."""


def missing(subject: DatasetSubject) -> str:
    """Check that without its files it says which are missing, and where they belong."""
    with nothing_there() as requests:
        for request in requests:
            try:
                files = subject.build().files(request)
                if not files:
                    return "needs no files"
                subject.build().prepare(request)
            except GenbenchError as error:
                _expect_telling(error, request.source)
            except Exception as error:
                where = "an empty folder" if request.source else "neither a folder nor a network"
                raise CheckFailed(
                    f"with {where} it raises {in_one_line(error)}",
                    "raise a GenbenchError that says which files are missing, and where to put them",
                ) from error
            else:
                raise CheckFailed(
                    "it prepares images though its files are not there", "return what it reads by `files`"
                )
    return "says what is missing, and where it belongs"


def images(subject: DatasetSubject) -> str:
    """Check that images are uint8 of the declared size and channels, and use their range."""
    data = subject.packed
    least, most = int(data.images.min()), int(data.images.max())
    if most <= 1:
        raise CheckFailed(f"pixels are {least} to {most}", "give bytes from 0 to 255, not shares")
    if least == most:
        raise CheckFailed(f"all pixels are {most}")
    return f"{len(data.images):,} of {data.size} px, {'grey' if data.channels == 1 else 'in colour'}, {least} to {most}"


def splits(subject: DatasetSubject) -> str:
    """Check that no split is empty, unless a note says so."""
    data = subject.packed
    counts = {split: len(data.indices(split)) for split in SPLITS}
    empty = [split for split, count in counts.items() if not count]
    unsaid = [split for split in empty if not any(split in note for note in data.notes)]
    if unsaid:
        raise CheckFailed(
            f"there are no {unsaid[0]} images",
            "leave some aside, since scores and the classifier need them; or say so in `notes`",
        )
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def disjoint(subject: DatasetSubject) -> str:
    """Check that images of the training split do not stand in another one too."""
    data = subject.packed
    known = {_digest(data.images[place]) for place in data.indices("train")}
    others = [place for split in SPLITS[1:] for place in data.indices(split)]
    if not others:
        raise NotApplicable("there is but one split")
    shared = sum(_digest(data.images[place]) in known for place in others)
    told = f"{shared:,} of {len(others):,} validation and test images stand in the training split too"
    if shared > SHARED * len(others):
        raise CheckFailed(told, "split so that no image is in two splits, before any is repeated or resized")
    return told if shared else "no image stands in two splits"


def attributes(subject: DatasetSubject) -> str:
    """Check that attributes are 0 or 1 and have names, each its own."""
    data = subject.packed
    if data.attributes is None:
        raise NotApplicable("it has none")
    bad = [name for name in data.attribute_names if name != name.strip() or not 0 < len(name) <= LONGEST_NAME]
    if bad:
        raise CheckFailed(f"an attribute is called {bad[0][:100]!r}", "name it by a word or two")
    alike = [name for name, count in Counter(name.lower() for name in data.attribute_names).items() if count > 1]
    if alike:
        raise CheckFailed(f"two attributes differ only in how `{alike[0]}` is written")
    shares = data.attributes[data.indices("train")].mean(0)
    constant = [name for name, share in zip(data.attribute_names, shares, strict=True) if share in (0, 1)]
    left = f"; none differs in {', '.join(constant)}" if constant else ""
    return f"{len(shares)}, had by {shares.min():.0%} to {shares.max():.0%} of the training images{left}"


def stable(subject: DatasetSubject) -> str:
    """Check that preparing it again gives the same bytes, and draws from no global generator."""
    first = subject.again
    with otherwise_seeded(1):
        before = other_states()
        second = subject.build().prepare(subject.request) if subject.files else _without_files(subject)
        moved = other_states() != before
    if fingerprint(first) != fingerprint(second):
        raise CheckFailed(
            "prepared again, it has another fingerprint",
            "draw from a generator of its own with a fixed seed, and put names in order",
        )
    if moved:
        raise CheckFailed("it moves a global random state", "draw from a generator of its own, with a fixed seed")
    return f"{fingerprint(first)[:12]} at {subject.small} px, twice"


def order_of_files(subject: DatasetSubject) -> str:
    """Check that neither the order nor the times of its files matter."""
    if not subject.files:
        raise NotApplicable("it reads no files")
    size = size_of(subject.files)
    if size > COPIED_BYTES:
        raise NotApplicable(f"its files are too large to be copied for a trial, {size / 2**20:,.0f} MiB")
    first = subject.again
    with TemporaryDirectory(prefix="genbench-check-") as folder:
        second = subject.prepare(elsewhere(subject.request, subject.files, Path(folder)))
    if fingerprint(first) != fingerprint(second):
        raise CheckFailed(
            "a copy of its files, written in another order, has another fingerprint",
            "put names in order: a folder lists them as it likes",
        )
    return f"a copy of {size / 2**20:,.1f} MiB has the same fingerprint"


def sizes(subject: DatasetSubject) -> str:
    """Check that at another size the same images, splits and attributes come in the same order."""
    data, other = subject.packed, subject.again
    size = subject.small
    shape = (len(data.images), size, size, data.channels)
    if other.images.shape != shape:
        raise CheckFailed(
            f"asked for {size} px, it gives images of the shape {other.images.shape}, expected {shape}",
            "resize to `request.size`",
        )
    if not (np.array_equal(other.splits, data.splits) and _same(other.attributes, data.attributes)):
        raise CheckFailed(f"at {size} px it has other splits or attributes than at {data.size} px")
    places = np.linspace(0, len(data.images) - 1, COMPARED).astype(int)
    large = _averaged(data.images[places], size)
    small = _averaged(other.images[places], size)
    own, others = (large - small).abs().mean().item(), (large - small.roll(1, 0)).abs().mean().item()
    if own > 0.5 * others:
        raise CheckFailed(
            f"its images at {size} px are not those at {data.size} px", "resize, and keep order and content as they are"
        )
    return f"the same images at {size} and {data.size} px"


def defaults(subject: DatasetSubject) -> str:
    """Check that a run with the declared defaults can begin."""
    spec = subject.spec
    try:
        DataConfig(name=spec.name, size=spec.size)
        NetworkConfig(width=spec.width).check_size(spec.size)
        TrainingConfig(images=spec.images)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckFailed(f"its default `{first['loc'][-1]}` is {first['input']!r}: {first['msg']}") from error
    except GenbenchError as error:
        raise CheckFailed(f"its default size is {spec.size}: {error.message}") from error
    if spec.channels not in (1, 3):
        raise CheckFailed(f"it declares {spec.channels} channels, expected 1 or 3")
    return f"{spec.size} px, width {spec.width:g}, {spec.images:,} images"


def facts(subject: DatasetSubject) -> str:
    """Check that notes and names fit into a record."""
    data = subject.packed
    try:
        describe_data(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckFailed(f"`{'.'.join(map(str, first['loc']))}` does not fit into a record: {first['msg']}") from error
    return f"{len(data.notes)} notes" if data.notes else "no notes"


def counterfactuals(subject: DatasetSubject) -> str:
    """Check that changed images are of the images asked for, and change something, but not everything."""
    data = subject.packed
    if not data.attribute_names:
        raise NotApplicable("it has no attributes")
    dataset, places = subject.build(), np.linspace(0, len(data.images) - 1, COMPARED).astype(np.int64)
    unchanged, changed = 0, []
    for name in data.attribute_names:
        found = dataset.counterfactuals(places, name, data.size)
        if found.dtype != np.uint8 or found.shape != data.images[places].shape:
            raise CheckFailed(
                f"`{name}` flipped gives {found.dtype} {found.shape}, expected uint8 {data.images[places].shape}"
            )
        same = found == data.images[places]
        unchanged += int(same.sum())
        changed += [name] if not same.all() else []
        if not np.array_equal(dataset.counterfactuals(places[::-1], name, data.size), found[::-1]):
            raise CheckFailed(f"`{name}` flipped gives other images in another order", "each image has one truth")
    _expect_unknown_refused(subject, places)
    if not changed:
        raise CheckFailed("no flip shows in any image", "flip the attribute, and draw the scene again")
    if not unchanged:
        raise CheckFailed("no pixel stays as it is, whatever is flipped", "keep all else equal, noise included")
    silent = len(data.attribute_names) - len(changed)
    return f"{len(changed)} attributes flip" + (f"; {silent} never show" if silent else "")


def _without_files(subject: DatasetSubject) -> ImageSet:
    """Prepare what names no files where there are none: else no run would notice that they have changed."""
    with nothing_there() as (request, _):
        try:
            return subject.build().prepare(replace(request, size=subject.small))
        except GenbenchError as error:
            raise CheckFailed(
                f"it names no files, but reads some: {error.message}",
                "return them by `files`, so that changes are seen",
            ) from error


def _expect_telling(error: GenbenchError, source: Path | None) -> None:
    said = f"{error.message} {error.hint or ''}"
    if source is not None and str(source) not in said:
        raise CheckFailed(f"with an empty folder it says: {error.message}", "name the folder where it looked")
    if error.hint is None:
        raise CheckFailed(f"without its files it says: {error.message}", "add a hint: which files to put where")


def _expect_unknown_refused(subject: DatasetSubject, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    try:
        subject.build().counterfactuals(places[:1], "no attribute of this name", subject.packed.size)
    except GenbenchError:
        return
    except Exception as error:
        raise CheckFailed(f"an unknown attribute raises {in_one_line(error)}", "raise a GenbenchError") from error
    raise CheckFailed("an unknown attribute is flipped like any other", "raise a GenbenchError")


def _digest(image: Bytes) -> bytes:
    return blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _same(first: Bytes | None, second: Bytes | None) -> bool:
    return first is second if first is None or second is None else np.array_equal(first, second)


def _averaged(images: Bytes, size: int) -> torch.Tensor:
    """Return images (N, C, size, size) as floats, averaged down to a size, or drawn up to it."""
    pixels = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float()
    return F.interpolate(pixels, size=(size, size), mode="area")
