"""`genbench edit`: images with an attribute more, or less."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, opened, output_option, run_argument
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.showing import (
    FORMS,
    Split,
    check_own,
    count_option,
    images_argument,
    naming,
    refuse_beside_images,
    scale_option,
    shown_images,
    split_option,
    told_apart,
)
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.finished import Opened

COUNT, MOST = 8, 512
MOST_DRAWN = 4096
STRONGEST = 100.0


@dataclass(frozen=True)
class Edit:
    """An attribute, as it was typed, and how much of it; None where a row of strengths says so."""

    name: str
    strength: float | None


@dataclass(frozen=True)
class Drawn:
    """Images row by row, uint8 (N, C, H, W), the names of columns and rows, and the vectors behind them."""

    images: "Tensor"
    captions: tuple[str, ...]
    rows: tuple[str, ...]
    vectors: "Mapping[str, Tensor]"


@click.command("edit")
@run_argument
@images_argument
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME[=STRENGTH]",
    help="What to add, as `Smiling=+1` or `Male=-1`; 1 where no strength is said. Again for further ones.",
)
@click.option(
    "--strengths", metavar="LIST", help="A row of strengths for each attribute, as -2,-1,0,1,2, instead of one each."
)
@count_option(MOST, COUNT, "How many of the data's images, the first of them.")
@split_option
@scale_option()
@output_option("edits.png")
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
def command(
    run: str | None,
    images: tuple[Path, ...],
    attributes: tuple[str, ...],
    strengths: str | None,
    count: int | None,
    split: Split | None,
    scale: int | None,
    output: Path,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw IMAGES, what RUN makes of them, and what it makes of them with each attribute added to their latents.

    Without IMAGES they are the data's first test images; your own are treated as `genbench reconstruct` does. What is
    added, times its strength, is the mean latent of the training images with the attribute minus that of those without
    it (Larsen et al. 2016). Of a name its beginning is enough. RUN may be left out where there is one run alone.

    The norms of these vectors, and the numbers of images that they are of, are written beside the picture, as JSON.
    """
    run, images = told_apart(run, images)
    form_of(output, FORMS)
    facts = output.with_suffix(".json")
    for path in (output, facts):
        claim(path, force=force)
    refuse_beside_images(images, count=count, split=split)
    row = _numbers(strengths) if strengths is not None else ()
    edits = [_parsed(text, alone=not row) for text in attributes]
    _check_room((len(images) or count or COUNT) * len(edits) * max(len(row), 1))
    check_own(images)
    with opened(run, runs, source=source, device=device, threads=threads) as it, naming(it):
        drawn = _drawn(it, edits, row, *shown_images(it, images, split or "test", count or COUNT))
        content = _facts(it, drawn.vectors)

    from genbench.images import png
    from genbench.report.pictures import enlargement, grid
    from genbench.store import write_atomic

    columns = len(drawn.captions)
    scale = scale or enlargement(it.data.size, columns)
    write_atomic(output, png(grid(drawn.images, columns, drawn.captions, scale, rows=drawn.rows)))
    write_atomic(facts, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    click.echo(str(facts))
    click.echo(str(output))


def _check_room(edited: int) -> None:
    """Refuse more edited images than fit a picture, before they are computed."""
    if edited > MOST_DRAWN:
        raise GenbenchError(
            f"{edited:,} edited images in one picture, at most {MOST_DRAWN:,}", "fewer images, attributes or strengths"
        )


def _parsed(text: str, *, alone: bool) -> Edit:
    """Return an edit as it was typed; `alone`: no row of strengths is given."""
    name, equals, number = text.rpartition("=")
    if not equals:
        return Edit(text.strip(), 1.0 if alone else None)
    if not alone:
        raise GenbenchError(f"--attribute {text}: a strength of its own, beside --strengths", "leave one of them out")
    return Edit(name.strip(), _number(number, f"--attribute {text}"))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part, f"--strengths {text}") for part in text.split(","))


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or abs(value) > STRONGEST:
        raise GenbenchError(
            f"{where}: `{text.strip()}` is no strength, expected a number from {-STRONGEST:g} to {STRONGEST:g}",
            "1 gives the attribute, -1 takes it away, as --attribute NAME=-1",
        )
    return value


def _drawn(
    it: "Opened", edits: Sequence[Edit], strengths: tuple[float, ...], images: "Tensor", names: Sequence[str]
) -> Drawn:
    from genbench.evaluate.editing import attribute_vectors, completed_name, edited
    from genbench.evaluate.restoring import restore_images
    from genbench.images import to_uint8

    known = _known(it)
    if not edits:
        raise GenbenchError("no attribute to edit", f"name some by --attribute NAME: there are {', '.join(known)}")
    typed = [(completed_name(edit.name, known), edit.strength) for edit in edits]
    restored = restore_images(it.context, images, names)
    click.echo(f"encoding {it.context.count('train'):,} training images", err=True)
    vectors = attribute_vectors(it.context, list(dict.fromkeys(name for name, _ in typed)))

    def moved(name: str, strength: float) -> "Tensor":
        return to_uint8(edited(it.context, restored.latents, vectors[name], strength)).cpu()

    head = [restored.images, restored.reconstructions]
    if strengths:
        rows = [[*head, *(moved(name, strength) for strength in strengths)] for name, _ in typed]
        captions = tuple(map(_signed, strengths))
        row_names = tuple(name for name, _ in typed) * len(images)
    else:
        rows = [[*head, *(moved(name, strength or 0.0) for name, strength in typed)]]
        captions = tuple(f"{name} {_signed(strength or 0.0)}" for name, strength in typed)
        row_names = ()
    return Drawn(_interleaved(rows), ("input", "reconstruction", *captions), row_names, vectors)


def _interleaved(rows: "Sequence[Sequence[Tensor]]") -> "Tensor":
    """Return images row by row, given R rows of K columns, each (N, C, H, W): the first image's rows come first."""
    import torch

    together = torch.stack([torch.stack(list(row)) for row in rows])  # (R, K, N, C, H, W)
    return together.permute(2, 0, 1, 3, 4, 5).flatten(0, 2)


def _known(it: "Opened") -> tuple[str, ...]:
    """Return the names of the data set's attributes."""
    known: tuple[str, ...] = it.context.attribute_names
    if not known:
        raise GenbenchError(
            f"{it.run.folder.path}: data set `{it.data.name}` has no attributes", "choose a run on one that has some"
        )
    return known


def _facts(it: "Opened", vectors: "Mapping[str, Tensor]") -> dict[str, object]:
    labels = it.context.attributes("train")
    having = {name: int(labels[:, it.context.attribute_names.index(name)].sum()) for name in vectors}
    return {
        "latents": "posterior mean",
        "training_images": len(labels),
        "attributes": [
            {"name": name, "norm": vector.norm().item(), "with": having[name], "without": len(labels) - having[name]}
            for name, vector in vectors.items()
        ],
    }


def _signed(strength: float) -> str:
    """Return a strength with its sign, a true minus."""
    return f"{strength:+g}".replace("-", "−") if strength else "0"
