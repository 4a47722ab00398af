"""A new plugin's files: from templates to text, and from text to the disk, where nothing is ever overwritten.

Imports no torch.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from genbench import __version__
from genbench.errors import GenbenchError
from genbench.plugins import FILE
from genbench.scaffold.naming import Names, PartKind


@dataclass(frozen=True)
class Example:
    """What a template shows.

    Attributes:
        summary: of the part.
        runs: two commands, `{}` standing for its name, whose runs a leaderboard can set one against the other.
    """

    summary: str
    runs: tuple[str, str]


EXAMPLES: Mapping[PartKind, Example] = {
    "similarity": Example(
        "Cauchy likelihood of the pixels",
        ("genbench run vae toyfaces --similarity {}", "genbench run vae toyfaces --similarity mse"),
    ),
    "model": Example("VAE with free bits", ("genbench run {} toyfaces", "genbench run vae toyfaces")),
    "evaluator": Example(
        "fine detail of reconstructions next to that of the images",
        (
            "genbench run vae toyfaces --evaluators mse,{}",
            "genbench run vae toyfaces --evaluators mse,{} --similarity l1",
        ),
    ),
    "dataset": Example("drawn discs and rings", ("genbench run vae {}", "genbench run vae {} --similarity l1")),
}

_ELSEWHERE = "choose another name, or another place with --folder"


def runs(names: Names) -> tuple[str, ...]:
    """Return commands that make two runs."""
    return tuple(run.format(names.name) for run in EXAMPLES[names.kind].runs)


def package_files(names: Names) -> dict[str, str]:
    """Return the text of each file of a package, by its place in the package's folder."""
    source = f"src/{names.module}"
    return {
        "pyproject.toml": _rendered("pyproject.toml", names),
        "README.md": _rendered("README.md", names, guide=_rendered(f"{names.kind}/guide.md", names).strip()),
        ".gitignore": _rendered("gitignore", names),
        f"{source}/__init__.py": _rendered(f"{names.kind}/declaration.py", names),
        f"{source}/settings.py": _rendered(f"{names.kind}/settings.py", names),
        f"{source}/{names.kind}.py": _rendered(f"{names.kind}/implementation.py", names),
        f"{source}/py.typed": "",
        f"tests/test_{_slug(names)}.py": _rendered(f"{names.kind}/test.py", names),
    }


def single_file(names: Names) -> str:
    """Return the text of a `genbenchfile.py`."""
    return _rendered(f"{names.kind}/genbenchfile.py", names)


def write_package(folder: Path, names: Names) -> Path:
    """Write a package into a folder of its own below `folder`, all of it or nothing, and return that.

    Raises:
        GenbenchError: the folder is there already, or can't be written.
    """
    target = folder / names.distribution
    if target.exists() or target.is_symlink():
        raise GenbenchError(f"{target} is there already{_content(target)}", _ELSEWHERE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{names.distribution}-", dir=folder) as draft:
            whole = Path(draft) / names.distribution
            for place, text in package_files(names).items():
                path = whole / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            whole.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def write_file(folder: Path, names: Names) -> Path:
    """Write a `genbenchfile.py` into `folder`, all of it or nothing, and return its path.

    Raises:
        GenbenchError: one is there already, or it can't be written.
    """
    target = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            try:
                file.write(single_file(names))
                file.flush()
            except BaseException:
                target.unlink()
                raise
    except FileExistsError as error:
        if not target.exists():  # the folder is none
            raise _unwritable(target, error) from error
        raise GenbenchError(
            f"{target} is there already", f"add the {names.kind} to it by hand, or write elsewhere with --folder"
        ) from error
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def _rendered(template: str, names: Names, **texts: str) -> str:
    source = (files(__package__) / "templates" / f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(source).substitute(
        kind=names.kind,
        what="data set" if names.kind == "dataset" else names.kind,
        name=names.name,
        distribution=names.distribution,
        module=names.module,
        slug=_slug(names),
        class_name=names.class_name,
        summary=EXAMPLES[names.kind].summary,
        runs="\n".join(f"    {run}" for run in runs(names)),
        version=__version__.partition("+")[0],  # one that is asked for can't be local
        **texts,
    )


def _slug(names: Names) -> str:
    return names.module.removeprefix("genbench_")


def _content(path: Path) -> str:
    """Say what is in a folder, as far as it can be read."""
    try:
        names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    except OSError:
        names = []
    return f", with {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else ""


def _unwritable(path: Path, error: OSError) -> GenbenchError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return GenbenchError(
        f"can't write {path}: {error.strerror or error}",
        "free some space there" if full else "say where to write by --folder",
    )
