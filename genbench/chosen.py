"""Which runs a user means: by their folders, or by parts of their paths in the store. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from genbench.errors import GenbenchError, did_you_mean
from genbench.store import CONFIG_NAME, RECORD_NAME, RunFolder, find_files

NAMED = 6
"""Runs that an error names."""
_MAKE = "make one with `genbench run`, or say where runs are by --runs"


def choose_run(text: str | None, runs: Path, *, ended: bool = True) -> RunFolder:
    """Return the run that is meant.

    Args:
        text: a run's folder or its record; or a part of its path in the store, such as `vaegan-dis-l/s0`, of which
            each name may be left unfinished as long as one run alone fits; or None for the only run in the store.
        runs: the store.
        ended: whether only a run that has ended will do, whichever others fit.

    Raises:
        GenbenchError: no run fits, or several do, or none that does has ended.
    """
    root, fitting = _meant(text, runs)
    fit = [folder for folder in fitting if not ended or (folder / RECORD_NAME).is_file()]
    if len(fit) == 1:
        return RunFolder(fit[0])
    if fit:
        what = f"fit `{text}`" if text is not None and root != Path(text) else f"are in {root}"
        raise GenbenchError(
            f"{len(fit)} runs {what}: {_listed(root, fit)}", "name one, by its folder or by enough of its path"
        )
    raise GenbenchError(
        f"{fitting[0]}: this run has not finished", "the `genbench run` that began it goes on where it stopped"
    )


def choose_runs(texts: Sequence[str], runs: Path) -> list[RunFolder]:
    """Return the runs that are meant, ended or not, each once: all that fit a text, or where none is given, all.

    Args:
        texts: as for `choose_run`, or a store.
        runs: the store where parts of paths are looked for.

    Raises:
        GenbenchError: no run fits one of them.
    """
    found = [folder for text in texts or (None,) for folder in _meant(text, runs)[1]]
    return [RunFolder(folder) for folder in dict.fromkeys(found)]


def _meant(text: str | None, runs: Path) -> tuple[Path, list[Path]]:
    """Return the folders of the runs that are meant, one or more, and the store where they are.

    Raises:
        GenbenchError: there is none.
    """
    named = Path(text) if text is not None else None
    if named is not None and named.name == RECORD_NAME and named.is_file():
        named = named.parent
    if named is not None and _is_run(named):
        return named.parent, [named]
    if named is not None and named.is_dir() and (inside := _folders(named)):
        return named, inside
    folders = _folders(runs)
    if not folders:
        raise GenbenchError(f"{runs}: no runs", _MAKE)
    if text is None:
        return runs, folders
    if fitting := _fitting(runs, folders, PurePath(text).parts):
        return runs, fitting
    guess = did_you_mean(text, [name for folder in folders for name in _names(folder.relative_to(runs))])
    raise GenbenchError(f"no run in {runs} fits `{text}`", guess or f"there are: {_listed(runs, folders)}")


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (RECORD_NAME, CONFIG_NAME))


def _folders(root: Path) -> list[Path]:
    """Return the folders of all runs below a folder, ended or not."""
    found, _ = find_files(root, frozenset({RECORD_NAME, CONFIG_NAME}))
    return list(dict.fromkeys(path.parent for path in found))


def _fitting(root: Path, folders: list[Path], wanted: tuple[str, ...]) -> list[Path]:
    """Return the folders with these names in their path, whole; where there are none, those that begin so."""
    whole = [f for f in folders if _holds(f.relative_to(root).parts, wanted)]
    return whole or [f for f in folders if _fits(f.relative_to(root), wanted)]


def _holds(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - len(wanted) + 1))


def _fits(path: Path, wanted: tuple[str, ...]) -> bool:
    """Whether consecutive names of a path begin with those that are wanted."""
    parts = path.parts
    starts = range(len(parts) - len(wanted) + 1)
    return any(all(parts[s + i].startswith(name) for i, name in enumerate(wanted)) for s in starts)


def _names(path: Path) -> tuple[str, ...]:
    return (*path.parts, path.as_posix(), "/".join(path.parts[:2]))


def _listed(root: Path, folders: list[Path]) -> str:
    names = [folder.relative_to(root).as_posix() for folder in folders]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
