"""What a report shows, as plain data: the page is a pure function of it. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from genbench.digest import Digest

Kind = Literal["samples", "reconstructions", "edits", "curves", "latents"]
"""The pictures of a run; each is there or has a reason why it is not."""


@dataclass(frozen=True)
class Picture:
    """An image to embed.

    Attributes:
        media: `image/webp`, `image/png` or `image/svg+xml`.
        width: in pixels of the picture itself.
        height: likewise.
        alt: what it shows, for those who can't see it.
    """

    content: bytes
    media: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Figure:
    """A figure of many runs together, such as rate against distortion."""

    heading: str
    picture: Picture


@dataclass(frozen=True)
class RunContent:
    """One run.

    Attributes:
        label: model and similarity, with what tells it from the others of its data set; runs that differ in seed alone
            share it and stand side by side.
        seed: of the run.
        flags: signs of ill health, a sentence each.
        config: every setting, dotted, with its value as text.
        cost: what it cost and where it ran, as pairs of words and text.
        protocols: for each score its name, its value ± its standard error over images, and its protocol, as text.
        pictures: that there are.
        missing: why the others are not there.
    """

    label: str
    seed: int
    status: str
    flags: tuple[str, ...]
    config: tuple[tuple[str, str], ...]
    cost: tuple[tuple[str, str], ...]
    protocols: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    pictures: Mapping[Kind, Picture] = field(default_factory=dict)
    missing: Mapping[Kind, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The runs on one data set at one size, whose pictures are of the same images.

    Attributes:
        heading: data set, size, and what a reader of its scores must know.
        digests: of its runs, for the leaderboard and the similarity matrix.
        runs: in the leaderboard's order.
        originals: the test images that all runs reconstruct, in one row; None where no run has pictures.
        attributes: names of the attributes that all runs edit, in the order of the pictures' columns: after the input
            and its reconstruction, a column for each.
        notes: how the pictures were made, a sentence each.
        figures: of all runs together.
    """

    heading: str
    digests: tuple[Digest, ...]
    runs: tuple[RunContent, ...]
    originals: Picture | None = None
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that a page shows.

    Attributes:
        title: its heading.
        made: when, by which genbench, of how many runs; a sentence.
        problems: what could not be read, a line each.
    """

    title: str
    made: str
    groups: tuple[Group, ...]
    problems: tuple[str, ...] = ()
