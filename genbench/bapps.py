"""Do people agree? Two-alternative forced choices of the Berkeley-Adobe Perceptual Patch Similarity data set.

People were shown a patch and two distorted ones, and asked which of the two is more like it (Zhang et al. 2018,
section 2.2). A similarity that chooses as most of them did agrees with them.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from os import scandir
from pathlib import Path
from struct import error as StructError

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genbench.errors import GenbenchError, first_line
from genbench.images import to_float
from genbench.sensitivity import Floats, Mean, Measure, costs_of, mean
from genbench.train.precision import training_in

SETS = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp")
"""Kinds of distortion: two made for the purpose, then four that algorithms leave behind."""

PATCH = 64
"""Side in pixels at which patches are compared; their files are larger, and the authors' loader resizes them."""

AT_A_TIME = 32
"""Triplets that are read, and that a similarity is given, at once."""

_ENDINGS = {"ref": ".png", "p0": ".png", "p1": ".png", "judge": ".npy"}

_UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, StructError, zlib.error),
    *(MemoryError, Image.DecompressionBombError),
)
"""What Pillow and NumPy raise for broken files, and for those that claim to be huge."""

_ANEW = "unpack the data set anew"
_WHERE = "name the folder that holds `2afc/val`, as https://github.com/richzhang/PerceptualSimilarity downloads it"


@dataclass(frozen=True)
class Triplets:
    """One kind of distortion: a folder with patches `ref`, `p0` and `p1` and judgements `judge`.

    Attributes:
        stems: names of the files, without their endings.
        preferring: (N,), the share of people to whom p1 was more like ref.
    """

    name: str
    folder: Path
    stems: tuple[str, ...]
    preferring: Floats


@dataclass(frozen=True)
class Agreement:
    """How many people agree with a similarity, or with one another, on average over triplets.

    Attributes:
        sets: by kind of distortion, the share with its standard error over triplets.
        all: mean of the sets.
        triplets: how many, by kind of distortion.
    """

    sets: dict[str, Mean]
    all: Mean
    triplets: dict[str, int]


def find(folder: Path) -> tuple[Triplets, ...]:
    """Return the triplets of the validation part, set by set.

    Raises:
        GenbenchError: a set or a file is missing, or a judgement is not a share.
    """
    root = folder.expanduser() / "2afc" / "val"
    if not root.is_dir():
        raise GenbenchError(f"--bapps {folder}: there is no folder {root}", _WHERE)
    missing = [name for name in SETS if not (root / name).is_dir()]
    if missing:
        raise GenbenchError(f"{root}: {', '.join(missing)} not there, of {', '.join(SETS)}", _ANEW)
    return tuple(_triplets(root / name) for name in SETS)


def agreement(
    similarities: Mapping[str, Measure], sets: Sequence[Triplets], device: torch.device
) -> dict[str, Agreement]:
    """Return how many people agree with each similarity's choices: the 2AFC score (Zhang et al. 2018, section 4).

    Raises:
        GenbenchError: a patch can't be read, or a cost is not a finite number.
    """
    shares = {triplets.name: agreements(similarities, triplets, device) for triplets in sets}
    return {name: _over({of: values[name] for of, values in shares.items()}) for name in similarities}


def people(sets: Sequence[Triplets]) -> Agreement:
    """Return how many people agree with one of them, p² + (1 - p)², on average."""
    return _over({s.name: s.preferring**2 + (1 - s.preferring) ** 2 for s in sets})


def protocol() -> dict[str, object]:
    """Return what of the asking can move a number, beside the patches and the similarity."""
    return {"part": "2afc/val", "patch": PATCH, "resize": "Pillow, bilinear", "all": "mean of the sets"}


def agreements(similarities: Mapping[str, Measure], triplets: Triplets, device: torch.device) -> dict[str, Floats]:
    """Return the share of people who agree with each similarity, (N,); half of them where it can't choose."""
    advantages: dict[str, list[Floats]] = {name: [] for name in similarities}
    with torch.no_grad(), training_in("float32"):
        for reference, first, second in _read(triplets, device):
            for name, similarity in similarities.items():
                what = f"a patch of BAPPS, {triplets.name}, under `{name}`"
                to_first, to_second = (costs_of(similarity, reference, patch, what) for patch in (first, second))
                advantages[name].append(to_second - to_first)
    return {name: _agreeing(np.concatenate(parts), triplets.preferring) for name, parts in advantages.items()}


def _agreeing(of_first: Floats, preferring: Floats) -> Floats:
    """Return the share of people who chose alike, given by how much less the first costs than the second."""
    return np.select([of_first > 0, of_first < 0], [1 - preferring, preferring], 0.5)


def _over(values: Mapping[str, Floats]) -> Agreement:
    """Return means of each set's values, (N,), and the mean of all."""
    sets = {name: mean(own) for name, own in values.items()}
    error = sqrt(sum(share.error**2 for share in sets.values())) / len(sets)
    whole = Mean(sum(share.value for share in sets.values()) / len(sets), error)
    return Agreement(sets, whole, {name: len(own) for name, own in values.items()})


def _triplets(folder: Path) -> Triplets:
    stems = {part: _stems(folder / part, ending) for part, ending in _ENDINGS.items()}
    known = sorted(set().union(*stems.values()))
    for stem in known:
        for part, ending in _ENDINGS.items():
            if stem not in stems[part]:
                raise GenbenchError(f"{folder / part / f'{stem}{ending}'} is not there", _ANEW)
    if len(known) < 2:
        raise GenbenchError(f"{folder}: {len(known)} triplets, expected two or more", _WHERE)
    shares = np.array([_share(folder / "judge" / f"{stem}.npy") for stem in known])
    return Triplets(folder.name, folder, tuple(known), shares)


def _stems(folder: Path, ending: str) -> set[str]:
    if not folder.is_dir():
        raise GenbenchError(f"{folder} is not there", _ANEW)
    with scandir(folder) as entries:  # which know what is a file without asking for each
        return {
            Path(e.name).stem for e in entries if Path(e.name).suffix == ending and e.name[0] != "." and e.is_file()
        }


def _share(path: Path) -> float:
    """Read one judgement: an array with one number, never a pickle."""
    try:
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except _UNREADABLE as error:
        raise GenbenchError(f"{path}: not a .npy file that can be read: {first_line(error)}", _ANEW) from error
    single = values.size == 1 and values.dtype.kind in "fiu"
    if not single or not 0 <= values.item() <= 1:
        found = f"{values.item():g}" if single else f"{values.dtype} of the shape {values.shape}"
        raise GenbenchError(f"{path}: holds {found}, expected one number from 0 to 1", _ANEW)
    return float(values.item())


def _read(triplets: Triplets, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield batches of references, first and second patches, each (n, 3, PATCH, PATCH) in [-1, 1]."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(triplets.stems), AT_A_TIME):
            stems = triplets.stems[start : start + AT_A_TIME]
            paths = [triplets.folder / part / f"{stem}.png" for part in ("ref", "p0", "p1") for stem in stems]
            patches = torch.from_numpy(np.stack(list(pool.map(_patch, paths)))).permute(0, 3, 1, 2)
            reference, first, second = torch.split(to_float(patches.to(device)), len(stems))
            yield reference, first, second


def _patch(path: Path) -> NDArray[np.uint8]:
    """Read a patch as the authors' loader does: bilinear, every pixel of the file weighed."""
    try:
        with Image.open(path) as picture:
            patch = picture.convert("RGB").resize((PATCH, PATCH), Image.Resampling.BILINEAR)
    except _UNREADABLE as error:
        raise GenbenchError(f"{path}: not a picture that can be read: {first_line(error)}", _ANEW) from error
    return np.asarray(patch)
