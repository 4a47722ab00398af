"""One self-contained page of a report: HTML with its style, its script and its pictures inside. Imports no torch.

Whatever a stranger's record brings is text: Jinja escapes all of it, control characters are dropped, ids are counted
rather than made of names, and the page's own policy (CSP) lets nothing but its one style and its one script count.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from genbench.comparability import grouped, plural
from genbench.report.boards import Board, leaderboards, similarity_matrices
from genbench.report.content import Group, Kind, Picture, Report, RunContent
from genbench.tables import clean

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = "templates"

_MEDIA = frozenset({"image/webp", "image/png", "image/svg+xml"})

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
    "base-uri 'none'; form-action 'none'"
)

_HEADINGS: Mapping[Kind, str] = {
    "samples": "Samples",
    "reconstructions": "Reconstructions",
    "edits": "Attribute edits",
    "curves": "Training curves",
    "latents": "Latent units",
}
"""The sections of pictures, in their order."""

_SHOWN: Mapping[Kind, int] = {"samples": 512, "reconstructions": 1024, "edits": 512, "curves": 0, "latents": 0}
"""Pixels of the page up to which pictures are enlarged, by whole factors; 0 for drawings, which are not."""


_LETTER = 7
"""Pixels of the page that a letter of a column's name takes about."""


@dataclass(frozen=True)
class ImageView:
    """An image as the page embeds it; width and height in pixels of the page."""

    src: "Markup"
    width: int
    height: int
    alt: str
    enlarged: bool


@dataclass(frozen=True)
class RunView:
    """A run with its place on the page."""

    id: str
    content: RunContent


@dataclass(frozen=True)
class Tile:
    """A picture of a run."""

    run: RunView
    image: ImageView


@dataclass(frozen=True)
class Gallery:
    """The pictures of one kind, side by side.

    Attributes:
        first: what all are of, above them.
        columns: names of each picture's columns, as far as they have any.
        upright: whether those are too long to stand side by side.
        missing: reasons why others are not there, with the names of their runs.
    """

    id: str
    kind: Kind
    heading: str
    first: ImageView | None
    columns: tuple[str, ...]
    upright: bool
    tiles: tuple[Tile, ...]
    missing: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class FigureView:
    """A figure of many runs with its place on the page."""

    id: str
    heading: str
    image: ImageView


@dataclass(frozen=True)
class GroupView:
    """A group with all that its section shows.

    Attributes:
        no_matrix: why there is no similarity matrix although similarities judge some of the runs.
    """

    id: str
    heading: str
    boards: tuple[Board, ...]
    matrices: tuple[Board, ...]
    no_matrix: str
    galleries: tuple[Gallery, ...]
    notes: tuple[str, ...]
    figures: tuple[FigureView, ...]
    runs: tuple[RunView, ...]


def render(report: Report) -> str:
    """Return a report as HTML that needs nothing beside it.

    Raises:
        ValueError: a picture is of a media type that no page embeds.
    """
    from markupsafe import Markup

    style, script = _text("style.css"), _text("page.js")
    policy = _POLICY.format(style=_digest(style), script=_digest(script))
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=report.title,
            made=report.made,
            problems=report.problems,
            groups=[_group(group, f"g{number}") for number, group in enumerate(report.groups, 1)],
            policy=policy,
            style=Markup(style),  # noqa: S704 - ours, and as hashed
            script=Markup(script),  # noqa: S704
        )
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = plural
    return environment


def _finalised(value: object) -> object:
    """Clean every text on its way to the page, so that none can be forgotten; what is markup is ours."""
    return clean(value) if type(value) is str else value


def _text(name: str) -> str:
    return (files(__package__) / _TEMPLATES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _group(group: Group, name: str) -> GroupView:
    runs = tuple(RunView(f"{name}-r{number}", run) for number, run in enumerate(group.runs, 1))
    tables, no_matrix = similarity_matrices(group.digests)
    galleries = (_gallery(group, runs, kind, f"{name}-{kind}") for kind in _HEADINGS)
    return GroupView(
        id=name,
        heading=group.heading,
        boards=leaderboards(group.digests),
        matrices=tables,
        no_matrix=no_matrix,
        galleries=tuple(gallery for gallery in galleries if gallery.tiles or gallery.missing),
        notes=group.notes,
        figures=tuple(
            FigureView(f"{name}-figure{number}", figure.heading, _image(figure.picture, 1))
            for number, figure in enumerate(group.figures, 1)
        ),
        runs=runs,
    )


def _gallery(group: Group, runs: Sequence[RunView], kind: Kind, name: str) -> Gallery:
    pictures = [(run, run.content.pictures[kind]) for run in runs if kind in run.content.pictures]
    originals = group.originals if kind == "reconstructions" and pictures else None
    widest = max((picture.width for _, picture in pictures), default=1)
    view = partial(_image, factor=max(1, _SHOWN[kind] // widest))
    columns = ("input", "output", *group.attributes) if kind == "edits" and group.attributes else ()
    tiles = tuple(Tile(run, view(picture)) for run, picture in pictures)
    reasons = [(run.content.missing[kind], named(run.content)) for run in runs if kind in run.content.missing]
    return Gallery(
        id=name,
        kind=kind,
        heading=_HEADINGS[kind],
        first=view(originals) if originals else None,
        columns=columns,
        upright=any(len(name) * _LETTER * len(columns) > tile.image.width for name in columns for tile in tiles),
        tiles=tiles,
        missing=tuple(
            (reason, tuple(label for _, label in alike))
            for reason, alike in grouped(reasons, lambda pair: pair[0]).items()
        ),
    )


def named(run: RunContent) -> str:
    """Return a run's name inside a sentence."""
    return f"{run.label}, seed {run.seed}"


def _image(picture: Picture, factor: int) -> ImageView:
    from markupsafe import Markup

    if picture.media not in _MEDIA:
        raise ValueError(f"no page embeds {picture.media}")
    src = Markup(f"data:{picture.media};base64,{b64encode(picture.content).decode()}")  # noqa: S704 - letters of base 64
    return ImageView(src, picture.width * factor, picture.height * factor, picture.alt, factor > 1)
