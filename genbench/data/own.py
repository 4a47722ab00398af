"""A user's own images, brought into the form of a data set's, to show them to a model that was trained on that."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from genbench.data.fitting import middle_square
from genbench.errors import GenbenchError, first_line


def check_images(paths: Sequence[Path]) -> None:
    """Refuse files that are no images, as far as their first bytes tell, before anything is computed.

    Raises:
        GenbenchError: one is not there, is a folder, is no image, or is a huge one.
    """
    for path in paths:
        with _opened(path):
            pass


def read_images(paths: Sequence[Path], size: int, channels: int) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Read images of any size and mode as a data set would have them.

    Each is turned upright as its EXIF data says, put on white where it is transparent, cropped to its middle square,
    and resized by Pillow's antialiased bicubic filter; 16-bit grey keeps its upper 8 bits.

    Returns:
        (N, size, size, channels), and for each image of another form a sentence on what was done to it.

    Raises:
        GenbenchError: as `check_images` does, or one is damaged.
    """
    images, notes = [], []
    for path in paths:
        with _opened(path) as picture:
            before, mode, animated = picture.size, picture.mode, getattr(picture, "is_animated", False)
            square = middle_square(picture, size)
            images.append(np.asarray(square if channels == 3 else square.convert("L")).reshape(size, size, channels))
        done = [*(["the first of its frames"] if animated else []), *_done(before, mode, size, channels)]
        if done:
            notes.append(f"{path}: {before[0]}×{before[1]} pixels: {', '.join(done)}")
    return np.stack(images), tuple(notes)


def _done(before: tuple[int, int], mode: str, size: int, channels: int) -> list[str]:
    done = []
    if before[0] != before[1]:
        done.append("cropped to the middle square")
    if min(before) != size:
        done.append(f"resized to {size}×{size}")
    if channels == 1 and mode not in ("L", "1", "LA") and not mode.startswith("I;16"):
        done.append("made grey")
    return done


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open one image; whatever goes wrong with it is told with its name."""
    if path.is_dir():
        raise GenbenchError(f"{path} is a folder, not an image", f"name images in it, such as {path / '*.jpg'}")
    if not path.exists():
        raise GenbenchError(f"{path}: no such image", "check its path")
    if not path.is_file():
        raise GenbenchError(f"{path} is no regular file", "name an image file")
    try:
        with catch_warnings():
            simplefilter("error", Image.DecompressionBombWarning)
            simplefilter("ignore", UserWarning)  # of what is odd in a file that can be read nevertheless
            with Image.open(path) as picture:
                yield picture
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise GenbenchError(
            f"{path}: over {Image.MAX_IMAGE_PIXELS:,} pixels, too many to be read", "scale it down first"
        ) from error
    except UnidentifiedImageError as error:
        raise GenbenchError(f"{path}: not an image", "name a JPEG, PNG, WebP or the like") from error
    except OSError as error:
        raise GenbenchError(f"{path}: can't be read: {error.strerror or first_line(error)}", "replace it") from error
    except Exception as error:  # Pillow's decoders raise errors of all kinds for what is broken
        raise GenbenchError(f"{path}: can't be read: {first_line(error)}", "save it anew, as PNG or JPEG") from error
