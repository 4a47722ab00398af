"""Images one by one, in a folder, numbered."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from genbench.images import png
from genbench.report.pictures import grid
from genbench.store import unwritable

DIGITS = 6
"""Of a number, at least."""


def write_numbered(batches: Iterable[Tensor], folder: Path, count: int) -> Iterator[int]:
    """Write images, uint8 (N, C, H, W) batch by batch, as `000000.png` and on; a kill leaves none of them half-written.

    Memory is that of a batch. They are not synced one by one: after a power failure, write them again.

    Args:
        count: of all of them, which decides how many digits a number has.

    Yields:
        How many were written since.

    Raises:
        GenbenchError: one can't be written.
    """
    digits = max(DIGITS, len(str(count - 1)))
    draft = folder / ".unfinished.tmp"
    place = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for batch in batches:
            for image in batch.cpu():
                draft.write_bytes(png(grid(image[None], 1)))
                draft.replace(folder / f"{place:0{digits}}.png")
                place += 1
            yield len(batch)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
