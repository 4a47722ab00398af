"""The pictures of finished runs for a report: each is opened, looked at on the same images as the others, and closed.

What is wrong with one run, its data or a plugin's code takes that run's pictures and no other's.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genbench.comparability import plural
from genbench.config import DataConfig
from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable, explained, unknown_name
from genbench.evaluate.editing import edited, mean_differences
from genbench.finished import Bench, Opened, open_data, read_run, reopen
from genbench.images import to_uint8
from genbench.interfaces import Posterior
from genbench.plugins import Plugins
from genbench.report.content import Kind, Picture
from genbench.report.describing import plain
from genbench.report.exhibits import (
    ATTRIBUTES,
    Exhibits,
    Places,
    batches_at,
    choose_exhibits,
    images_at,
    row_length,
)
from genbench.report.gathering import LOOKED_AT, Board, Run, Shown, drawn
from genbench.report.latents import draw_latents, latent_facts
from genbench.report.pictures import LOSSLESS, grid, webp

SAMPLE_ROWS, COLUMNS = 4, 2 + ATTRIBUTES
"""Samples are as many as in so many rows of test images, but as wide as edits: a phone has room for that."""
STRENGTH = 1.0
"""Of an edit, in attribute vectors."""
MOST_BYTES, LARGEST = 160_000, 96
"""Of a picture without loss, and pixels a side of its images: twenty runs are to stay under 20 MB."""
UNITS = 16
"""Latent units that have a histogram."""


@dataclass(frozen=True)
class Portraits:
    """Makes the pictures of the runs of one board.

    Attributes:
        exhibits: what they are shown on; None where the data can't be had, and `reason` says why.
        names: of all attributes of the data set.
    """

    plugins: Plugins
    bench: Bench
    exhibits: Exhibits | None = None
    reason: str = ""
    names: tuple[str, ...] = ()
    originals: Picture | None = None
    notes: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the names of those that are edited."""
        return self.exhibits.attributes if self.exhibits else ()

    def show(self, run: Run) -> Shown:
        """Return the pictures of a run, and why others can't be had."""
        if run.obstacle or run.folder is None:
            return Shown({}, dict.fromkeys(LOOKED_AT, run.obstacle or ""))
        try:
            return self._look(run)
        except (Exception, SystemExit) as error:  # a plugin may do anything
            return Shown({}, dict.fromkeys(LOOKED_AT, plain(explained(error))))
        finally:
            gc.collect()  # a context refers to itself, and the next run needs the memory

    def _look(self, run: Run) -> Shown:
        assert run.folder is not None  # noqa: S101 - for the type checker: such a run has an obstacle
        opened = reopen(self.plugins, read_run(run.folder), self.bench, images=self.exhibits is not None)
        makers: dict[Kind, Callable[[Opened, Exhibits, str], Picture]] = {
            "reconstructions": _reconstructions,
            "edits": _edits,
            "latents": _latents,
        }
        pictures: dict[Kind, Picture] = {}
        missing: dict[Kind, str] = {}
        for kind in LOOKED_AT:
            try:
                if kind == "samples":
                    pictures[kind] = _samples(opened, run.title)
                elif self.exhibits is None:
                    missing[kind] = self.reason
                else:
                    pictures[kind] = makers[kind](opened, self.exhibits, run.title)
            except (Exception, SystemExit) as error:
                missing[kind] = plain(explained(error))
        return Shown(pictures, missing)


def exhibitions(
    plugins: Plugins, bench: Bench, boards: Sequence[Board], attributes: Sequence[str] = ()
) -> list[Portraits]:
    """Return what makes the pictures of each board's runs.

    Args:
        attributes: to be edited, in order; none: those that show most.

    Raises:
        GenbenchError: none of the data sets that are there has one of these attributes.
    """
    found = [_exhibition(plugins, bench, board, attributes) for board in boards]
    known = {name for each in found for name in each.names}
    for name in attributes:
        if name not in known and any(each.exhibits for each in found):
            raise unknown_name("attribute", name, known)
    return found


def _exhibition(plugins: Plugins, bench: Bench, board: Board, attributes: Sequence[str]) -> Portraits:
    """Choose what the runs of a board are shown on, from the data of the first that has any."""
    reasons: list[str] = []
    tried: list[DataConfig] = []
    for run in board.runs:
        if run.obstacle or run.folder is None:
            continue
        try:
            finished = read_run(run.folder)
            if finished.config.dataset in tried:  # looking for it again, or downloading, would take as long again
                continue
            tried.append(finished.config.dataset)
            _, data = open_data(plugins, finished, bench)
            return _portraits(plugins, bench, data, choose_exhibits(data, attributes))
        except (Exception, SystemExit) as error:
            reasons.append(plain(explained(error)))
    if reasons:
        bench.say(f"{board.heading}: its images can't be had: {reasons[-1]}")
    return Portraits(plugins, bench, reason=reasons[-1] if reasons else "")


def _portraits(plugins: Plugins, bench: Bench, data: PackedDataset, exhibits: Exhibits) -> Portraits:
    count = len(exhibits.test)
    row = f"The first {count} test {plural('image', count)} of {data.name}"
    originals = _picture(images_at(data, exhibits.test), count, row) if count else None
    return Portraits(plugins, bench, exhibits, "", data.attribute_names, originals, tuple(_notes(data, exhibits)))


def _notes(data: PackedDataset, exhibits: Exhibits) -> list[str]:
    """Say how the pictures are made."""
    test, training, vectors = data.indices("test"), data.indices("train"), exhibits.training
    notes = [
        "samples are decoded from the prior, and are the first of those that scores are of",
        f"reconstructions, of the first {len(exhibits.test)} test images, are decoded from posterior means",
        f"latent units are looked at on {_some(len(exhibits.looked_at), len(test))} test images",
    ]
    if exhibits.attributes:
        notes.append(
            f"edits, of the first {len(exhibits.faces)} test images, add one vector of an attribute to the posterior "
            "mean: the mean latent of training images with the attribute less that of those without, over "
            f"{_some(len(vectors), len(training))} of them"
        )
        if not exhibits.asked:
            notes.append(
                f"edited are up to {ATTRIBUTES} attributes, chosen by the data: those by which its mean image differs "
                "most, each beside those before it"
            )
    if data.size > LARGEST:
        notes.append(f"images are shown at {LARGEST} of their {data.size} pixels a side")
    return [*notes, *(f"`{name}` is not edited: {why}" for name, why in exhibits.lacking.items())]


def _some(count: int, of: int) -> str:
    return f"all {of:,}" if count == of else f"{count:,} of {of:,}"


def _samples(opened: Opened, title: str) -> Picture:
    images = torch.cat(list(opened.context.samples(SAMPLE_ROWS * row_length(opened.data.size))))
    return _picture(images, COLUMNS, f"{len(images)} samples of {title}")


def _reconstructions(opened: Opened, exhibits: Exhibits, title: str) -> Picture:
    posterior = _encode(opened, exhibits.test)
    images = to_uint8(opened.context.decode(posterior.mean))
    return _picture(images, len(images), f"The test images as {title}, reconstructs them")


def _edits(opened: Opened, exhibits: Exhibits, title: str) -> Picture:
    """Draw a row for each face: itself, its reconstruction, and it with a vector of each attribute added."""
    context, data, faces = opened.context, opened.data, exhibits.faces
    if not exhibits.attributes:
        raise NotApplicable(
            "none of the attributes asked for can be edited"
            if exhibits.lacking
            else f"data set `{data.name}` has no attributes"
        )
    latents = _encode(opened, faces).mean.double()
    vectors = mean_differences(_encode(opened, exhibits.training).mean.double(), exhibits.labels)
    outcomes = [context.decode(latents.float()), *(edited(context, latents, vector, STRENGTH) for vector in vectors)]
    columns = [images_at(data, faces), *(to_uint8(outcome).cpu() for outcome in outcomes)]
    images = torch.stack(columns, 1).flatten(0, 1)
    names = ", ".join(exhibits.attributes)
    return _picture(
        images, len(columns), f"{len(faces)} test images, their reconstructions by {title}, and its edits of {names}"
    )


def _latents(opened: Opened, exhibits: Exhibits, title: str) -> Picture:
    posterior = _encode(opened, exhibits.looked_at)
    facts = latent_facts(title, posterior, opened.context.seed("latents"), UNITS)
    alt = f"Latent units of {title}: {facts.active} of {len(facts.units)} are active, {facts.kl:.3g} nats an image"
    return drawn(draw_latents(facts, "svg", compact=True), alt)


def _encode(opened: Opened, places: Places) -> Posterior:
    """Return the posteriors of images of the data set, test images or others; each part (n, latent_size) on the CPU."""
    if not len(places):
        raise NotApplicable(f"data set `{opened.data.name}` has no images in its test split")
    parts = [opened.context.encode(batch) for batch in batches_at(opened.data, places)]
    means, log_variances = zip(*parts, strict=True)
    return Posterior(torch.cat(means), torch.cat(log_variances))


def _picture(images: Tensor, columns: int, alt: str) -> Picture:
    """Return uint8 images (N, C, H, W) in rows, without loss where they are small."""
    if images.shape[2] > LARGEST:
        smaller = interpolate(images.float(), (LARGEST, LARGEST), mode="bilinear", antialias=True)
        images = smaller.round().clamp(0, 255).to(torch.uint8)
    picture = grid(images, columns)
    content = webp(picture, images.shape[2])
    if len(content) > MOST_BYTES:
        content = webp(picture, LOSSLESS + 1)
    return Picture(content, "image/webp", picture.width, picture.height, alt)
