"""Finished runs in MLflow, where `GENBENCH_MLFLOW` names a tracking URI; needs `genbench[mlflow]`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import genbench
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from genbench.records import Record

VARIABLE, MLFLOW_VARIABLE = "GENBENCH_MLFLOW", "MLFLOW_TRACKING_URI"

_UNLESS_SET = {
    # Who logs a run to a server of their own has not asked for reports to anybody else.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own 7 retries of 120 s would hold up the next run for minutes where the server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@genbench.hookimpl
def genbench_run_finished(record: "Record", folder: Path) -> None:
    """Log the run to where the variable says, into the run that MLflow has of it already where there is one."""
    uri = tracking_uri(os.environ)
    if uri is None:
        return
    with _defaults(_UNLESS_SET):
        try:
            from genbench_mlflow.runs import log_run
        except ModuleNotFoundError as error:
            raise GenbenchError(
                f"{VARIABLE} is set, but there is no module `{error.name}`",
                f"`pip install 'genbench[mlflow]'`, or unset {VARIABLE}",
            ) from error
        log_run(record, folder, uri)


def tracking_uri(environment: Mapping[str, str]) -> str | None:
    """Return where to log to, or None where nothing is asked for.

    Raises:
        GenbenchError: MLflow's own variable is to tell, and does not.
    """
    value = environment.get(VARIABLE, "")
    if value in ("", "0"):
        return None
    if value != "1":
        return value
    if not environment.get(MLFLOW_VARIABLE):
        raise GenbenchError(
            f"{VARIABLE} is 1, but {MLFLOW_VARIABLE} is not set", f"set it, or name a tracking URI in {VARIABLE}"
        )
    return environment[MLFLOW_VARIABLE]


@contextmanager
def _defaults(values: Mapping[str, str]) -> Iterator[None]:
    """Set those environment variables that are not set, for a while: MLflow has no other way to be told."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
