"""What figures share: text drawn as it stands, and files that come out the same from the same numbers."""

import io
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

from genbench.errors import GenbenchError, first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEUTRAL = "#767676"
"""Ink that is as far from white as from black: 4.6 to 1 either way."""
PAGE_WIDTH = 640 / 96
"""Of a picture for a page, in inches: 640 px."""


def written(figure: "Figure", form: str, hint: str) -> bytes:
    """Return a figure as a picture: `svg`, `pdf` or `png`.

    Raises:
        GenbenchError: its numbers are too large to be drawn; `hint` says what to do.
    """
    from matplotlib import rc_context

    content = io.BytesIO()
    # Without dates and random names the same numbers give the same file.
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    with rc_context({"svg.hashsalt": "genbench"}), catch_warnings():
        simplefilter("ignore")  # of letters that the font lacks, and of numbers that are refused below
        try:
            figure.savefig(content, format=form, dpi=150, metadata=dateless)
        except (ValueError, OverflowError) as error:
            raise GenbenchError(f"the numbers are too large to be drawn: {first_line(error)}", hint) from error
    return content.getvalue()


def literal(text: str) -> str:
    """Return text that Matplotlib draws as it is, though a stranger named a model so.

    A dollar would begin a formula, and a curve whose name begins with an underscore has no legend.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def for_page(figure: "Figure") -> None:
    """Let a figure read on light and on dark: nothing behind it, and text, axes and ticks in neutral ink."""
    figure.patch.set_alpha(0)
    legend_texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(which="both", colors=NEUTRAL)
        axes.spines[:].set_color(NEUTRAL)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText):
            text.set_color(NEUTRAL)
    for text in (*figure.texts, *legend_texts):
        text.set_color(NEUTRAL)
