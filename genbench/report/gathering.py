"""Records and run folders become a report: what is read, in which order it stands, and what can't be shown.

Imports no torch: whatever opens runs to look at what they learned is handed in, and is `genbench.report.portraits`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple, Protocol

from genbench.comparability import grouped, groups_of, plural, without_duplicates
from genbench.errors import GenbenchError, explained
from genbench.exchange import no_collecting, read_located
from genbench.matrix import RATE
from genbench.report.content import Figure, Group, Kind, Picture, Report, RunContent
from genbench.report.curves import RunCurve, draw_curves, gate_of
from genbench.report.describing import described, plain
from genbench.store import RECORD_NAME, RunFolder
from genbench.tables import clean
from genbench.train.curve import read_curve

if TYPE_CHECKING:
    from genbench.digest import Digest
    from genbench.reading import Source
    from genbench.selection import Condition

LOOKED_AT: tuple[Kind, ...] = ("samples", "reconstructions", "edits", "latents")
"""Pictures that take a run's weights."""

ONLY_RECORD = "only the run's record is here, not its folder"
LONGEST_REASON = 100
"""Characters of a reason on the terminal; the page has all of it."""
MOST_BYTES = 500_000
"""Of curves, which have a panel for whatever a model logs: twenty runs are to stay under 20 MB."""
DISTORTION = "mse"
"""What the figure of each data set draws against the rate."""

_SIZE = re.compile(rb'<svg [^>]*?\bwidth="([0-9.]+)pt" height="([0-9.]+)pt"')
_HEAD = 4096
_PLACES = re.compile(rb' (?:d|x|y)="[^"]*"')
_FINER = re.compile(rb"(\.\d\d)\d+")
_PIXELS = 96 / 72
"""In a point."""


@dataclass(frozen=True)
class Run:
    """One run of a board.

    Attributes:
        label: as on the leaderboard; shared by runs that differ in seed alone.
        folder: with its files, or None where its record came without.
    """

    label: str
    digest: "Digest"
    folder: RunFolder | None

    @property
    def title(self) -> str:
        """Return what tells it from all others of its board."""
        return f"{self.label}, seed {self.digest.run.seed}"

    @property
    def obstacle(self) -> str | None:
        """Return why it can't be opened, as far as can be told without trying."""
        if self.folder is None:
            return ONLY_RECORD
        if self.digest.status != "ok":
            return f"{self.digest.status}: {plain(self.digest.reason or 'no reason is known')}"
        return None if self.folder.checkpoint_path.is_file() else "its checkpoint is gone"


@dataclass(frozen=True)
class Board:
    """The runs on one data set with one content.

    Attributes:
        runs: in the leaderboard's order, seeds side by side, each once.
        digests: of all that was read, for the leaderboard to say what it leaves out.
    """

    heading: str
    runs: tuple[Run, ...]
    digests: "tuple[Digest, ...]"


@dataclass(frozen=True)
class Cover:
    """What a page begins with.

    Attributes:
        made: when and by what, without a stop.
        problems: what could not be read.
    """

    title: str
    made: str
    problems: tuple[str, ...] = ()


class Shown(NamedTuple):
    """What of a run can be seen, and why the rest can't."""

    pictures: Mapping[Kind, Picture]
    missing: Mapping[Kind, str]


class Exhibition(Protocol):
    """Makes the pictures of the runs of one board; see `Group` for what it has."""

    @property
    def originals(self) -> Picture | None: ...

    @property
    def attributes(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def show(self, run: Run) -> Shown:
        """Return those of `LOOKED_AT`, and raise nothing that is wrong with one run alone."""
        ...


@dataclass(frozen=True)
class NoPictures:
    """Stands in for an exhibition where no run is to be opened, or can be."""

    reason: str = ""
    originals: None = None
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def show(self, run: Run) -> Shown:
        """Return nothing but the reason."""
        return Shown({}, dict.fromkeys(LOOKED_AT, run.obstacle or self.reason))


def read_boards(places: Sequence[Path], conditions: "Sequence[Condition]" = ()) -> tuple[list[Board], list[str]]:
    """Read every run in places, as `genbench compare` does, and put those of one data set together.

    Returns:
        The boards in the leaderboard's order, none where nothing can be read, and a line for each problem.

    Raises:
        GenbenchError: a place is missing, or no run fulfils the conditions.
    """
    from genbench.compare import leaderboard
    from genbench.selection import narrowed

    with no_collecting():
        located, problems = read_located(places)
        kept, missing = narrowed([digest for digest, _ in located], conditions)
        folders = _folders(located)
        headings = {(t.dataset, t.size, t.channels, t.fingerprint): t.heading for t in leaderboard(kept)}
        by_data = grouped(kept, lambda d: (d.data.name, d.data.size, d.data.channels, d.data.fingerprint))
        boards = [
            Board(clean(text), _runs(by_data[data], folders), tuple(by_data[data])) for data, text in headings.items()
        ]
    return boards, [*problems, *missing]


def gather(
    boards: Sequence[Board], exhibitions: Sequence[Exhibition], cover: Cover, say: Callable[[str], None]
) -> Report:
    """Return the report of runs that were read, with a line told of each.

    Args:
        exhibitions: of each board.
        cover: of the page.
        say: is told of each run and of what of it can't be shown.
    """
    total = sum(len(board.runs) for board in boards)
    groups: list[Group] = []
    done = 0
    for board, exhibition in zip(boards, exhibitions, strict=True):
        runs = []
        for run in board.runs:
            done += 1
            runs.append(_content(run, exhibition))
            say(f"{done} of {total}: {run.title}{_lacking(runs[-1])}")
        groups.append(_group(board, exhibition, runs))
    made = f"{cover.made}, of {total} {plural('run', total)}"
    return Report(cover.title, made, tuple(groups), tuple(map(plain, cover.problems)))


def drawn(content: bytes, alt: str) -> Picture:
    """Return an SVG of Matplotlib's as a picture."""
    found = _SIZE.search(content, 0, _HEAD)
    assert found is not None  # noqa: S101 - Matplotlib writes it so
    width, height = (round(float(points) * _PIXELS) for points in found.groups())
    return Picture(_thinned(content), "image/svg+xml", width, height, alt)


def _thinned(content: bytes) -> bytes:
    """Return an SVG without indentation, and with places to a hundredth of a point: a quarter less of it."""
    exact = _PLACES.sub(lambda found: _FINER.sub(rb"\1", found[0]), content)
    return re.sub(rb"\s*\n\s*", b"\n", exact)


def _folders(located: "Sequence[tuple[Digest, Source]]") -> "dict[tuple[int, int], list[tuple[Digest, RunFolder]]]":
    """Return the folders that records lie in, by configuration and seed, those with weights first."""
    own = [(digest, source.path) for digest, source in located if source.path.name == RECORD_NAME]
    whole = [(digest, RunFolder(path.parent)) for digest, path in own]
    whole.sort(key=lambda pair: not pair[1].checkpoint_path.is_file())
    return grouped(whole, lambda pair: (pair[0].row_key, pair[0].run.seed))


def _runs(
    digests: "Sequence[Digest]", folders: "Mapping[tuple[int, int], Sequence[tuple[Digest, RunFolder]]]"
) -> tuple[Run, ...]:
    """Return the runs, each with the folder of that very record, should a copy of it have come without."""

    def folder(digest: "Digest") -> RunFolder | None:
        alike = folders.get((digest.row_key, digest.run.seed), ())
        return next((folder for other, folder in alike if other == digest), None)

    groups = groups_of(without_duplicates(digests)[0])
    return tuple(Run(clean(group.label), digest, folder(digest)) for group in groups for digest in group.digests)


def _content(run: Run, exhibition: Exhibition) -> RunContent:
    shown = exhibition.show(run)
    pictures, missing = dict(shown.pictures), dict(shown.missing)
    try:
        pictures["curves"] = _curves(run)
    except GenbenchError as error:
        missing["curves"] = plain(explained(error))
    return described(run.label, run.digest, pictures, missing)


def _curves(run: Run) -> Picture:
    if run.folder is None:
        raise GenbenchError(ONLY_RECORD)
    rows = read_curve(run.folder)
    if not rows:
        raise GenbenchError(f"its {run.folder.curve_path.name} is gone or empty")
    curve = RunCurve(run.label, run.digest.run.seed, rows, gate_of(run.digest.config))
    picture = drawn(draw_curves([curve], "svg", compact=True), f"Costs over the training of {run.title}")
    if len(picture.content) > MOST_BYTES:
        raise GenbenchError(f"{len(rows[-1])} quantities are too many for this page", "see `genbench curves`")
    return picture


def _lacking(run: RunContent) -> str:
    """Say which pictures a run has not, those with one reason together, and the reason in short."""
    reasons = grouped(run.missing, lambda kind: shorten(run.missing[kind], LONGEST_REASON, placeholder=" …"))
    return "".join(f"; no {', '.join(kinds)}: {reason}" for reason, kinds in reasons.items())


def _group(board: Board, exhibition: Exhibition, runs: Sequence[RunContent]) -> Group:
    shown = exhibition.originals, exhibition.attributes, exhibition.notes
    group = Group(board.heading, board.digests, tuple(runs), *shown)
    try:
        return replace(group, figures=tuple(_figures(board.digests)))
    except GenbenchError as error:
        return replace(group, notes=(*group.notes, f"no figure of rate and distortion: {plain(explained(error))}"))


def _figures(digests: "Sequence[Digest]") -> Iterator[Figure]:
    """Draw rate against distortion, where runs at several weights make a curve of it."""
    from genbench.report.rate_distortion import diagrams, draw

    if not any({RATE, DISTORTION} <= {score.name for score in d.scores} for d in digests if d.status == "ok"):
        return
    for diagram in diagrams(digests, DISTORTION):
        if any(len(curve.points) > 1 for curve in diagram.curves):
            alt = f"{DISTORTION} against the rate, a curve for each of {len(diagram.curves)} kinds of runs"
            yield Figure("Rate and distortion", drawn(draw(diagram, "svg", compact=True), alt))
