"""Every code block of README and of docs/ does what the page says: files are written, Python runs, commands are given.

What each kind of block means stands in `walking.py`, and in CONTRIBUTING.md for those who write pages.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import pytest
import torch
from markdown import blocks, commands
from walking import Walk

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

ELSEWHERE = {
    "pip install .": "continuous integration installs genbench in a fresh environment: .ci/run",
    "pip install tox": "continuous integration: .ci/run",
    "tox": "continuous integration: .ci/run",
    "genbench doctor": "ten seconds: tests/test_cli_doctor.py carries out all of it",
    "pip install --upgrade": "the network; what it installs is on the same page, and tested there",
    "python -m build": "the network; tests/test_example_plugin.py builds and installs a wheel",
    "twine upload": "an account of PyPI's",
    "tensorboard --logdir": "a server; what it reads is checked in tests/test_trackers_tensorboard.py",
    "ray ": "a cluster; tests/test_executor_ray.py starts one of this machine",
    "export RAY_AUTH_MODE": "a cluster; tests/test_executor_ray.py starts one of this machine",
    "cd /shared/project": "a cluster; tests/test_executor_ray.py starts one of this machine",
    "genbench suite mine.toml --executor ray": "a cluster; tests/test_executor_ray.py starts one of this machine",
}
"""How commands begin that are not given here, and why; each is met on some page."""


OPTIONAL = {"piq": "piq"}
"""Pages that are about something optional, and the module that it needs."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder to work in, with one thread, no network, and no settings of whoever runs the tests."""
    for name in ("GENBENCH_RUNS", "GENBENCH_DATA", "GENBENCH_WEIGHTS", "GENBENCH_INCEPTION", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENBENCH_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(cache / "torch"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("genbench.evaluate.extractors.weights.urlopen", unreachable)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def unreachable(*_: object, **__: object) -> NoReturn:
    raise URLError("tests reach no network")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_says(page: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not blocks(page):
        pytest.skip("it has no code blocks")
    if page.stem in OPTIONAL:
        pytest.importorskip(OPTIONAL[page.stem])
    walk = Walk(desk, ELSEWHERE)
    walk.through(page)
    told = ", ".join(f"{count} {what}" for what, count in sorted(walk.counts.items()))
    unwalked = [f"    not given: {command}: {why}\n" for command, why in walk.unwalked.items()]
    with capsys.disabled():
        sys.stdout.write(f"\n{page.relative_to(ROOT)}: {told}\n{''.join(unwalked)}")


def test_what_is_given_elsewhere_is_on_a_page() -> None:
    shells = [block for page in PAGES for block in blocks(page) if block.language in ("sh", "console")]
    known = [str(command) for block in shells for command in commands(block)]
    assert [how for how in ELSEWHERE if not any(command.startswith(how) for command in known)] == []
    named = [file for why in ELSEWHERE.values() for file in re.findall(r"tests/\w+\.py|\.ci/run", why)]
    assert [file for file in named if not (ROOT / file).is_file()] == []
