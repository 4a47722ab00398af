"""Labeled Faces in the Wild (Huang et al., UMass Amherst TR 07-49, 2007), aligned by deep funneling (NIPS 2012).

Reads the official files: the deep-funneled images as a folder or an archive, and where they lie beside them the
development lists of people, and the attributes of Kumar et al. 2009. LFW is for research on faces in the wild; its
photographs belong to the press.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

import numpy as np
from PIL import Image

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.archives import list_members, read_members
from genbench_datasets.fetching import fetch
from genbench_datasets.lfw_lists import read_attributes, read_people
from genbench_datasets.lists import Attributes
from genbench_datasets.pictures import crop_and_resize, decode_all, first_few, innermost, resize, rgb, share
from genbench_datasets.settings import LfwSettings

OFFICIAL_IMAGES = 13_233
OFFICIAL_SIZE = (250, 250)
CROP = (50, 50, 200, 200)
"""Left, top, right, bottom in an official image: the middle 150 pixels, as in the code of Larsen et al. 2016."""

TESTED, VALIDATED = 0.7, 0.1
"""Without the official lists, people test whose hash, in [0, 1), is no less than the one, so that they are as many as
in these; with lists or without, of the others those validate whose hash is less than the other."""

_FOLDER, _ARCHIVE = "lfw-deepfunneled", "lfw-deepfunneled.tgz"
_DEV_TRAIN, _DEV_TEST, _ATTRIBUTES = "peopleDevTrain.txt", "peopleDevTest.txt", "lfw_attributes.txt"
_DEVELOPMENT = (_DEV_TRAIN, _DEV_TEST)
_OTHERWISE_ALIGNED = ("lfw.tgz", "lfw-funneled.tgz", "lfw_funneled")
_MD5 = {
    _DEV_TRAIN: "54eaac34beb6d042ed3a7d883e247a21",
    _DEV_TEST: "e4bf5be0a43b5dcd9dc5ccfcb8fb19c5",
    _ARCHIVE: "68331da3eb755a505a502b5aacb3c201",  # last: where it is, the lists are
}
_URL = "http://vis-www.cs.umass.edu/lfw/"
_GET = f"get it again from {_URL}, or from a mirror"
_IMAGE = re.compile(r"(?P<person>[^/]+)/(?P=person)_\d{4}\.jpg")
_LARGEST = 2**24
"""Bytes of an image; those of LFW have some 10,000."""


@dataclass(frozen=True)
class _Files:
    """Where the files are.

    Attributes:
        images: the folder that holds the people's, or the archive.
        people: the lists of who trains and of who tests; empty where they are missing.
        attributes: None where the list is missing.
    """

    images: Path
    people: tuple[Path, ...]
    attributes: Path | None


class Lfw(Dataset):
    """Deep-funneled LFW, in the order of its file names; nobody is in two splits.

    `source` is the folder that holds `lfw-deepfunneled` or `lfw-deepfunneled.tgz`, that folder, or its parent. Where
    `peopleDevTrain.txt` and `peopleDevTest.txt` lie beside it, the people of the latter test and a tenth of those of
    the former validate; else a hash of their names decides. Where `lfw_attributes.txt` lies beside it, images without
    a row in it are left out, as in the code of Larsen et al. 2016; else there are no attributes.
    """

    def __init__(self, settings: LfwSettings | None = None) -> None:
        self.settings = settings or LfwSettings()

    def files(self, request: DataRequest) -> Sequence[Path]:
        found = _locate(request)
        lists = [*found.people, *([found.attributes] if found.attributes else [])]
        if found.images.is_file():
            return [found.images, *lists]
        return [found.images, *(found.images / person for person in _people_in(found.images)), *lists]

    def prepare(self, request: DataRequest) -> ImageSet:
        found = _locate(request)
        present, open_picture = _pictures(found.images)
        splits, split_note = _split(found, Counter(name.partition("/")[0] for name in present))
        attributes = read_attributes(found.attributes) if found.attributes else None
        names = sorted(present if attributes is None else _with_rows(found, present, attributes))
        decoded = decode_all(found.images, names, open_picture, lambda p: self._fit(p, request.size), request)
        kept = [names[place] for place in decoded.kept]
        notes = (*_notes(len(present), decoded.sizes), split_note, *_left_out(len(present) - len(names)))
        return ImageSet(
            images=decoded.images,
            splits=np.array([splits[name.partition("/")[0]] for name in kept], np.uint8),
            attributes=attributes.table(kept) if attributes else None,
            attribute_names=attributes.names if attributes else (),
            notes=notes,
            skipped_images=decoded.skipped,
        )

    def _fit(self, picture: Image.Image, size: int) -> Image.Image:
        if picture.size == OFFICIAL_SIZE:
            return crop_and_resize(rgb(picture), CROP, size, self.settings.blur)
        across, down = picture.width / OFFICIAL_SIZE[0], picture.height / OFFICIAL_SIZE[1]
        box = (CROP[0] * across, CROP[1] * down, CROP[2] * across, CROP[3] * down)
        return resize(rgb(picture), size, box=box, blur=self.settings.blur * across)


def _locate(request: DataRequest) -> _Files:
    """Find the files; without a source, download them."""
    if request.source is not None:
        return _search(request.source) or _complain(request.source)
    there = request.downloads / "lfw"
    found = _search(there)
    if found is None:
        for name, md5 in _MD5.items():
            if not (there / name).is_file():
                fetch((_URL + name,), there / name, md5)
        found = _search(there)
    return found or _complain(there)


def _search(source: Path) -> _Files | None:
    """Find the images and the lists in the source or in its folder `lfw`, or None where there are no images."""
    folder = source.parent if source.is_file() or source.name == _FOLDER else source
    roots = (folder, folder / "lfw", folder / "LFW", folder / "lfw-py")  # the last is torchvision's
    images = next((path for root in roots for path in _images_in(root)), None)
    if images is None:
        return None
    lists = {
        name: root / name
        for root in reversed(roots)
        for name in (*_DEVELOPMENT, _ATTRIBUTES)
        if (root / name).is_file()
    }
    people = tuple(lists[name] for name in _DEVELOPMENT if name in lists)
    if len(people) == 1:
        missing = next(name for name in _DEVELOPMENT if name not in lists)
        raise GenbenchError(
            f"lfw: half of the official split: {people[0]} is there, {missing} is not",
            f"put it there too, from {_URL}; or move the other one away, and people are split by their names",
        )
    return _Files(images, people, lists.get(_ATTRIBUTES))


def _images_in(root: Path) -> list[Path]:
    """Return the archive, which is known to be whole once it is read, and the folder, which is not."""
    folder = innermost(root / _FOLDER)
    found = [folder] if folder.is_dir() and _people_in(folder) else []
    return [root / _ARCHIVE, *found] if (root / _ARCHIVE).is_file() else found


def _complain(source: Path) -> NoReturn:
    folder = source.parent if source.is_file() else source
    others = [name for name in _OTHERWISE_ALIGNED if (folder / name).exists() or (folder / "lfw" / name).exists()]
    aligned = f"; {others[0]} is there, but its faces are aligned otherwise" if others else ""
    raise GenbenchError(
        f"lfw: no {_FOLDER} in {source} or in its folder lfw: looked for the folder {_FOLDER} and for {_ARCHIVE}"
        + aligned,
        f"put {_ARCHIVE} there, from {_URL} or a mirror, and if you have them {_DEV_TRAIN}, {_DEV_TEST} and "
        f"{_ATTRIBUTES}",
    )


def _people_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
        )


def _pictures(where: Path) -> tuple[list[str], Callable[[str], Image.Image]]:
    """Return the images' names in the folder or in the archive, and what opens one."""
    if where.is_dir():
        files = [f"{person}/{file.name}" for person in _people_in(where) for file in (where / person).iterdir()]
        names = {name: name for name in files if _is_image(name)}
        _check_names(where, names)
        return list(names), lambda name: Image.open(where / name)
    sizes = {path: size for path, size in list_members(where, _GET).items() if _is_image(path)}
    paths = {path: "/".join(PurePosixPath(path).parts[-2:]) for path in sizes}
    _check_names(where, paths)
    if max(sizes.values()) > _LARGEST:
        raise GenbenchError(
            f"{where}: an image in it has {max(sizes.values()):,} bytes: not the official archive", _GET
        )
    contents = {paths[path]: content for path, content in read_members(where, frozenset(sizes), _GET)}
    return list(paths.values()), lambda name: Image.open(io.BytesIO(contents.get(name, b"")))


def _is_image(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return path.endswith(".jpg") and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _check_names(where: Path, names: Mapping[str, str]) -> None:
    """Refuse names, by path, of which one does not tell who it is, or stands twice."""
    strange = sorted(path for path, name in names.items() if not _IMAGE.fullmatch(name))
    twice = sorted(name for name, count in Counter(names.values()).items() if count > 1)
    if strange:
        raise GenbenchError(
            f"{where}: {len(strange):,} images are not named like Aaron_Eckhart/Aaron_Eckhart_0001.jpg: "
            f"{first_few(strange)}",
            "move them out of the way; LFW's names tell who is who",
        )
    if twice:
        raise GenbenchError(f"{where}: {len(twice):,} images stand twice in it: {first_few(twice)}", _GET)
    if not names:
        raise GenbenchError(f"{where}: no images in it", _GET)


def _split(found: _Files, people: Mapping[str, int]) -> tuple[dict[str, int], str]:
    """Return each person's split, and a note on how it was made.

    Args:
        found: where the files are.
        people: the number of images of each person.
    """
    if found.people:
        test = _official_test(found, people)
        note = f"the official split: the people of {_DEV_TEST} test, a tenth of those of {_DEV_TRAIN} validates"
    else:
        test = {person for person in people if share(person) >= TESTED}
        note = (
            f"people are split by a hash of their names, without LFW's {_DEV_TRAIN} and {_DEV_TEST}; "
            "not comparable with scores on the official split"
        )
    return {person: 2 if person in test else int(share(person) < VALIDATED) for person in people}, note


def _official_test(found: _Files, people: Mapping[str, int]) -> set[str]:
    """Return who tests, having checked that the lists and the images are of the same people."""
    train, test = (read_people(path) for path in found.people)
    listed = sorted((train | test).items())
    lacking = [f"{who} ({people.get(who, 0)} of {count})" for who, count in listed if people.get(who) != count]
    lists = " and ".join(map(str, found.people))
    for wrong, complaint in (
        (sorted(train.keys() & test.keys()), f"people stand in both {lists}"),
        (lacking, f"people of {lists} have other images in {found.images} than these say"),
        (
            sorted(people.keys() - train.keys() - test.keys()),
            f"people with images in {found.images} stand in none of {lists}",
        ),
    ):
        if wrong:
            raise GenbenchError(
                f"lfw: {len(wrong):,} {complaint}: {first_few(wrong)}",
                "copy or unpack the data set again; a subset needs lists of its own, or none",
            )
    return set(test)


def _with_rows(found: _Files, present: Sequence[str], attributes: Attributes) -> set[str]:
    """Return the images that have attributes, having checked that all that have are there."""
    missing = sorted(attributes.rows.keys() - set(present))
    if missing:
        raise GenbenchError(
            f"lfw: {len(missing):,} images named in {found.attributes} are missing from {found.images}: "
            f"{first_few(missing)}",
            f"copy or unpack the data set again; a subset needs an {_ATTRIBUTES} of its own, or none",
        )
    return set(present) & attributes.rows.keys()


def _notes(count: int, sizes: frozenset[tuple[int, int]]) -> list[str]:
    notes = []
    if count != OFFICIAL_IMAGES:
        notes.append(
            f"a subset of LFW: {count:,} of {OFFICIAL_IMAGES:,} images; not comparable with scores on all of it"
        )
    others = sorted(sizes - {OFFICIAL_SIZE})
    if others:
        listed = first_few([f"{width}×{height}" for width, height in others], 3)
        notes.append(
            f"LFW images of {listed} instead of 250×250 pixels; not comparable with scores on the official ones"
        )
    return notes


def _left_out(count: int) -> list[str]:
    return [f"{count:,} images without a row in {_ATTRIBUTES} are left out"] if count else []
