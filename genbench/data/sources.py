"""Where data lies: the user's folder, and genbench's cache."""

import os
from pathlib import Path

from platformdirs import user_cache_dir

from genbench.errors import GenbenchError


def cache_folder() -> Path:
    """Return where genbench keeps prepared data sets and downloads: `GENBENCH_CACHE`, else the user's cache folder."""
    named = os.environ.get("GENBENCH_CACHE")
    return Path(named).expanduser() if named else Path(user_cache_dir("genbench", appauthor=False))


def source_folder(named: Path | None) -> Path | None:
    """Return where the user's data lies: what `--data` names, else `GENBENCH_DATA`, else None.

    Raises:
        GenbenchError: it is not there.
    """
    if named is None and not os.environ.get("GENBENCH_DATA"):
        return None
    origin = "GENBENCH_DATA" if named is None else "--data"
    source = (named or Path(os.environ["GENBENCH_DATA"])).expanduser()
    if not source.exists():
        raise GenbenchError(f"{origin}: {source} is not there", "name the folder that holds the data")
    return source
