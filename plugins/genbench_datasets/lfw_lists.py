"""The text files of Labeled Faces in the Wild."""

import math
import re
from pathlib import Path

from genbench.errors import GenbenchError
from genbench_datasets.lists import Attributes, lines_of, malformed


def image_name(person: str, number: int) -> str:
    """Return the path of an image below the folder of all: `Aaron_Eckhart/Aaron_Eckhart_0001.jpg`."""
    return f"{person}/{person}_{number:04}.jpg"


def read_people(path: Path) -> dict[str, int]:
    """Read `peopleDevTrain.txt` or `peopleDevTest.txt`: the number of people, then a line for each with their images.

    Returns:
        The number of images of each person.

    Raises:
        GenbenchError: it is not of this form, or ends early.
    """
    lines = lines_of(path)
    if not lines or not lines[0].strip().isdecimal():
        raise malformed(path, 1, "expected the number of people")
    people: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        person, *counts = line.split() or [""]
        if len(counts) != 1 or not counts[0].isdecimal():
            raise malformed(path, number, "expected a person's name and the number of images")
        if person in people:
            raise malformed(path, number, f"{person} stands twice")
        people[person] = int(counts[0])
    if len(people) != int(lines[0]):
        raise GenbenchError(
            f"{path}: announces {int(lines[0]):,} people and lists {len(people):,}", "copy or download it again"
        )
    return people


def read_attributes(path: Path) -> Attributes:
    """Read `lfw_attributes.txt` (Kumar et al., "Attribute and Simile Classifiers for Face Verification", ICCV 2009).

    Lines that begin with `#` come first; the last of them is `person`, `imagenum` and the attributes' names. Then comes
    a line for each image with the outputs of classifiers, of which a positive one counts as 1. Fields are set apart by
    tabs. Names get underscores for their spaces and lose apostrophes, as CelebA writes them: `5_o_Clock_Shadow`.

    Raises:
        GenbenchError: it is not of this form.
    """
    lines = lines_of(path)
    above = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = [field.strip() for field in lines[above - 1].lstrip("#").strip().split("\t")] if above else []
    if header[:2] != ["person", "imagenum"] or len(header) < 3:
        raise malformed(
            path, max(above, 1), "expected # and, set apart by tabs, person, imagenum and attributes' names"
        )
    names = tuple(_command_line_name(name) for name in header[2:])
    if len(set(names)) != len(names):
        raise malformed(path, above, "a name stands twice")
    rows: dict[str, bytes] = {}
    for number, line in enumerate(lines[above:], above + 1):
        name, row = _read_row(path, number, line, len(names))
        if name in rows:
            raise malformed(path, number, f"{name} stands twice")
        rows[name] = row
    return Attributes(names, rows)


def _read_row(path: Path, number: int, line: str, count: int) -> tuple[str, bytes]:
    person, image, *texts = line.rstrip().split("\t") if "\t" in line else ("", "")
    try:
        scores = [float(text) for text in texts]
    except ValueError:
        scores = []
    if len(scores) != count or not image.isdecimal() or not all(map(math.isfinite, scores)):
        raise malformed(path, number, f"expected a person's name, the image's number and {count} numbers")
    return image_name(person.strip().replace(" ", "_"), int(image)), bytes(score > 0 for score in scores)


def _command_line_name(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name.replace("'", "")).strip("_")
