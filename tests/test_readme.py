"""What README shows works: its plugin, and the names in its commands."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch

from genbench.cli import COMMANDS, group
from genbench.interfaces import View
from genbench.plugins import KINDS, Plugins
from genbench.resolution import build_part

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def commands() -> list[list[str]]:
    """Return what follows `genbench` in each command of README's indented blocks."""
    lines = [line.strip() for line in README.splitlines() if line.startswith("    ")]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("genbench ")]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    """Return the installed plugins and README's own."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "genbenchfile.py").write_text(block)
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    yield Plugins.load(tmp_path)
    sys.modules.pop("genbenchfile", None)


def test_the_similarity_works(plugins: Plugins) -> None:
    assert plugins.broken == ()
    similarity = build_part(plugins, plugins.similarity("cauchy"), {})
    real = torch.rand(5, 3, 16, 16) * 2 - 1
    fake = (torch.rand(5, 3, 16, 16) * 2 - 1).requires_grad_()
    value = similarity(View(real, {}), View(fake, {}))
    assert value.shape == (5,)
    assert bool((value.isfinite() & (value >= 0)).all())
    assert bool((similarity(View(real, {}), View(real, {})) < value).all())
    value.sum().backward()
    assert fake.grad is not None
    assert bool(fake.grad.isfinite().all())
    assert float(fake.grad.norm()) > 0


def test_the_commands_are_found() -> None:
    found = commands()
    assert ["run", "vaegan", "toyfaces"] in found
    assert len(found) >= 8


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_a_command_names_what_exists(plugins: Plugins, arguments: list[str]) -> None:
    name, *rest = arguments
    assert name in COMMANDS
    command = group.get_command(click.Context(group), name)
    assert command is not None
    params = command.make_context(name, list(rest)).params  # parses, and refuses an unknown option; runs nothing
    if name == "run":
        assert plugins.model(params["model"])
        assert plugins.dataset(params["dataset"])
        assert params["similarity"] is None or plugins.similarity(params["similarity"])
    elif name == "show":
        known = {spec.name for kind in KINDS for spec in plugins.specs(kind)}
        assert params["name"] in known
