"""Downloads, whole or not at all."""

import contextlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from genbench.errors import GenbenchError


def fetch(urls: tuple[str, ...], target: Path, md5: str) -> None:
    """Download a file from the first address that has it, check its MD5 sum, and move it to `target`.

    Raises:
        GenbenchError: no address has it; says why, and where to put the file by hand.
    """
    from torchvision.datasets.utils import download_url

    reasons = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
        for url in urls:
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    download_url(url, folder, target.name, md5)
            except Exception as error:  # urllib's, ssl's and torchvision's own
                reasons.append(f"{url}: {str(error) or type(error).__name__}")
            else:
                Path(folder, target.name).replace(target)
                return
    raise GenbenchError(
        f"can't download {target.name}: {'; '.join(reasons)}",
        f"put the file into {target.parent}, or name the folder that holds it with `--data`",
    )
