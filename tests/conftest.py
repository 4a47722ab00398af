"""Fixtures that several test files share; importing this imports no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench import Bench
    from fakes import Install


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real data and weights that lies beside a checkout, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Iterator["Bench"]:
    """Return a store, a cache and plugins to run things with, on one thread."""
    import torch
    from bench import Bench

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench(tmp_path)
    torch.set_num_threads(threads)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder to install fake plugins in."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Return a working folder without a `genbenchfile.py`."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> "Install":
    """Return what installs a fake plugin into this very process, for one test."""
    from fakes import Site

    monkeypatch.syspath_prepend(str(site))
    return Site(site, monkeypatch).install
