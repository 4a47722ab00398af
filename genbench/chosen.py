"""Which run a user means: by its folder, or by a part of its path in the store. Imports no torch."""

from pathlib import Path, PurePath

from genbench.errors import GenbenchError, did_you_mean
from genbench.store import CONFIG_NAME, RECORD_NAME, RunFolder, find_files

NAMED = 6
"""Runs that an error names."""
_MAKE = "make one with `genbench run`, or say where runs are by --runs"


def choose_run(text: str | None, runs: Path) -> RunFolder:
    """Return the finished run that is meant.

    Args:
        text: a run's folder or its record; or a part of its path in the store, such as `vaegan-dis-l/s0`, of which
            each name may be left unfinished as long as one run alone fits; or None for the only run in the store.
        runs: the store.

    Raises:
        GenbenchError: no run fits, or several do, or the one that does has not ended.
    """
    named = Path(text) if text is not None else None
    if named is not None and named.name == RECORD_NAME and named.is_file():
        return RunFolder(named.parent)
    if named is not None and _is_run(named):
        return _ended(RunFolder(named))
    root, wanted = (named, "") if named is not None and named.is_dir() else (runs, text or "")
    folders = _folders(root)
    fitting = _fitting(root, folders, PurePath(wanted).parts)
    finished = [folder for folder in fitting if (folder / RECORD_NAME).is_file()]
    if len(finished) == 1:
        return RunFolder(finished[0])
    if finished:
        raise GenbenchError(
            f"{len(finished)} runs {f'fit `{wanted}`' if wanted else f'are in {root}'}: {_listed(root, finished)}",
            "name one, by its folder or by enough of its path",
        )
    if fitting:
        return _ended(RunFolder(fitting[0]))
    if not folders:
        raise GenbenchError(f"{root}: no runs", _MAKE)
    guess = did_you_mean(wanted, [name for folder in folders for name in _names(folder.relative_to(root))])
    raise GenbenchError(f"no run in {root} fits `{wanted}`", guess or f"there are: {_listed(root, folders)}")


def _ended(folder: RunFolder) -> RunFolder:
    if not folder.record_path.is_file():
        raise GenbenchError(
            f"{folder.path}: this run has not finished", "the `genbench run` that began it goes on where it stopped"
        )
    return folder


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
