"""What tests of the commands that draw images share: trained runs of tiny models, and pictures read back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from genbench.cli import main
from genbench.cli.looking import opened
from genbench.finished import Opened

SIZE = 16
TINY = [
    *("--size", "16", "--width", "0.05", "--images", "320", "--batch-size", "8", "--evaluators", "none"),
    *("-s", "network.latent_size=4", "-s", "network.kind=mlp", "-s", "training.learning_rate=0.01"),
    *("--device", "cpu", "--threads", "1"),
]
FACES = ("-s", "dataset.count=60")
HERE = ("--device", "cpu", "--threads", "1")


def trained(folder: Path) -> Path:
    """Return a folder with a cache and a store.

    It holds a VAE and a GAN on faces, a VAE on grey images and one on
    images without attributes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENBENCH_CACHE", str(folder / "cache"))
        patch.delenv("GENBENCH_RUNS", raising=False)
        assert main(["run", "vae", "toyfaces", *TINY, *FACES]) == 0
        assert main(["run", "gan", "toyfaces", *TINY, *FACES]) == 0
        assert main(["run", "vae", "digits", *TINY]) == 0
        (folder / "plain").mkdir()
        for number in range(30):
            Image.new("RGB", (16, 16), (8 * number, 0, 99)).save(folder / "plain" / f"{number}.png")
        assert main(["run", "vae", "folder", "--data", str(folder / "plain"), *TINY]) == 0
    return folder


@contextmanager
def reopened(run: str, *, images: bool = True) -> Iterator[Opened]:
    with opened(run, Path("runs"), device="cpu", images=images) as it:
        yield it


def pixels(path: Path | str) -> npt.NDArray[np.uint8]:
    """Return a picture's pixels, (H, W, C)."""
    with Image.open(path) as picture:
        values = np.asarray(picture)
    return values if values.ndim == 3 else values[..., None]


def tiles(
    picture: npt.NDArray[np.uint8], rows: int, columns: int, scale: int = 1, size: int = SIZE
) -> npt.NDArray[np.uint8]:
    """Cut a picture into its images, (N, C, size, size), undoing its scale; names above and beside are cut off."""
    body = picture[-rows * size * scale :, -columns * size * scale :]
    small = body[::scale, ::scale]
    assert np.array_equal(np.repeat(np.repeat(small, scale, 0), scale, 1), body), "each pixel became a square"
    return small.reshape(rows, size, columns, size, -1).transpose(0, 2, 4, 1, 3).reshape(-1, small.shape[2], size, size)
