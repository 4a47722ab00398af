"""A separate Python environment for tests that install things: it sees all of this one, which sees nothing of it."""

import os
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder in which its commands are given.

    Attributes:
        home: what stands in for the user's folders: genbench's cache is there.
    """

    python: Path
    home: Path

    def install(self, *projects: Path, folder: Path) -> None:
        """Build a wheel of each project in `folder`, without a network, and install them."""
        options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
        self.run("-m", "pip", "wheel", *options, "--no-build-isolation", "--wheel-dir", folder, *projects, cwd=folder)
        wheels = sorted(folder.glob("*.whl"))
        assert len(wheels) == len(projects)
        self.run("-m", "pip", "install", *options, *wheels, cwd=folder)

    def genbench(self, *arguments: str, cwd: Path) -> str:
        """Give a command of genbench and return what it prints on stdout; it must end well."""
        return self.run("-m", "genbench", *arguments, cwd=cwd)

    def run(self, *arguments: str | Path, cwd: Path) -> str:
        """Run Python with these arguments and return what it prints on stdout; it must end well."""
        command = [str(self.python), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=self._variables(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _variables(self) -> dict[str, str]:
        """Return this process's variables without what would lead Python, pip, pytest or genbench elsewhere."""
        foreign = ("PYTHON", "PIP_", "PYTEST_", "GENBENCH_", "COV_", "TOX_", "VIRTUAL_ENV", "FORCE_COLOR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = {"GENBENCH_CACHE": str(self.home), "COLUMNS": "200"}
        return kept | own | dict.fromkeys(THREADS, "1")


def make_environment(folder: Path) -> Environment:
    """Make an environment that sees this one's packages, whether they were installed or are read from their sources.

    Skips the test where this environment has not what builds and installs a package without a network.
    """
    missing = [name for name in ("pip", "hatchling") if not _is_installed(name)]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} in this environment")
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder / "environment")
    python = folder / "environment" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    paths = sysconfig.get_paths(vars={"base": str(folder / "environment"), "platbase": str(folder / "environment")})
    here = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    # As a site folder and not only a path: the .pth files there, by which editable installs are found, count too.
    lines = [f"import site; site.addsitedir({path!r})" for path in here]
    (Path(paths["purelib"]) / "parent.pth").write_text("\n".join(lines) + "\n")
    home = folder / "cache"
    home.mkdir()
    environment = Environment(python, home)
    assert environment.run("-c", "import sys; print(sys.prefix)", cwd=folder).strip() == str(folder / "environment")
    return environment


def _is_installed(name: str) -> bool:
    # Looking for pip's module would do: setuptools watches for that, and then keeps out of distutils' way for good.
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
