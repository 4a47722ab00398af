"""Finished runs in TensorBoard, where `GENBENCH_TENSORBOARD` names a folder; needs `genbench[tensorboard]`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import genbench
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from genbench.records import Record

VARIABLE = "GENBENCH_TENSORBOARD"


@genbench.hookimpl
def genbench_run_finished(record: "Record", folder: Path) -> None:
    """Write the run below the folder that the variable names, in the place of what was there of it."""
    root = os.environ.get(VARIABLE)
    if not root:
        return
    try:
        from genbench_tensorboard.events import write_run
    except ModuleNotFoundError as error:
        raise GenbenchError(
            f"{VARIABLE} is set, but there is no module `{error.name}`",
            f"`pip install 'genbench[tensorboard]'`, or unset {VARIABLE}",
        ) from error
    write_run(record, folder, Path(root).expanduser())
