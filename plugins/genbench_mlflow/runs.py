"""A run of genbench as a run of MLflow."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from genbench.errors import GenbenchError, first_line
from genbench.records import Record
from genbench.store import RunFolder
from genbench.tracking import curve, facts, numbers, pictures, run_title, settings
from genbench_mlflow.names import LONGEST_PARAMETER, LONGEST_TAG, cut, key, keys

IDENTITY = "genbench.config_hash"
"""The tag by which a run is found again: the hash of all that can move the weights, the seed included."""

Curves = Mapping[str, Mapping[int, float]]
"""Values by images seen, for each column."""


@dataclass(frozen=True)
class Content:
    """What MLflow is to hold of a run, under MLflow's names.

    Attributes:
        bases: names under which scores of any protocol stand, or that such names begin with.
    """

    curves: Curves
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    bases: frozenset[str]


def log_run(record: Record, folder: Path, uri: str) -> None:
    """Log a run, or bring the run that MLflow has of it up to date.

    MLflow takes no point of a curve back. So where it has one that the run has not, or a score under a name that now
    stands for nothing, its run goes to MLflow's bin and is logged anew.

    Raises:
        GenbenchError: MLflow can't be reached, or refuses.
    """
    content = content_of(record, folder)
    try:
        client = MlflowClient(tracking_uri=uri)
        run, logged = _run(client, record, content)
        _log_values(client, run, logged, record.images_seen, content)
        _log_files(client, run, folder)
        status = "FINISHED" if record.status == "ok" else "FAILED"
        client.set_terminated(run.info.run_id, status, _milliseconds(record.finished_utc))
    except MlflowException as error:
        raise _explained(error, uri) from error


def content_of(record: Record, folder: Path) -> Content:
    """Return what MLflow is to hold of a run."""
    columns: dict[str, dict[int, float]] = {}
    for images_seen, row in curve(folder):
        for name, value in row.items():
            columns.setdefault(f"curve/{name}", {})[images_seen] = value
    values = numbers(record)
    names = keys([*columns, *values])
    configured = settings(record)
    parameter_names = keys(configured)
    tags = {f"genbench.{topic}": cut(text, LONGEST_TAG) for topic, text in facts(record).items()}
    tags |= {"genbench.run": run_title(record), "mlflow.source.name": "genbench"}
    return Content(
        curves={names[name]: points for name, points in columns.items()},
        metrics={names[name]: value for name, value in values.items()},
        parameters={parameter_names[k]: cut(str(value), LONGEST_PARAMETER) for k, value in configured.items()},
        tags=tags,
        bases=frozenset(key(f"{kind}/{s.name}") for s in record.scores for kind in ("scores", "uncertainty")),
    )


def _run(client: MlflowClient, record: Record, content: Content) -> tuple[Run, Curves]:
    """Return the run that MLflow has of it and its curves, where that can be brought up to date, or a new run."""
    experiment = _experiment(client, record.run.dataset)
    for run in client.search_runs([experiment], f"tags.`{IDENTITY}` = '{record.config_hash}'"):
        logged = _logged(client, run, content)
        if not _is_beyond_update(run, logged, content):
            return run, logged
        client.delete_run(run.info.run_id)
    name = run_title(record).partition("/")[2]
    tags = {IDENTITY: record.config_hash}
    return client.create_run(experiment, _milliseconds(record.started_utc), tags, name), {}


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:  # otherwise another run has made it meanwhile
                raise
    if found.lifecycle_stage == "deleted":
        raise GenbenchError(
            f"MLflow's experiment `{name}` is deleted", f"`mlflow experiments restore -x {found.experiment_id}`"
        )
    return str(found.experiment_id)


def _logged(client: MlflowClient, run: Run, content: Content) -> Curves:
    return {
        name: {point.step: point.value for point in client.get_metric_history(run.info.run_id, name)}
        for name in content.curves.keys() & run.data.metrics.keys()
    }


def _is_beyond_update(run: Run, logged: Curves, content: Content) -> bool:
    gone = run.data.metrics.keys() - content.metrics.keys() - content.curves.keys()
    return (
        any(name == base or name.startswith(f"{base} ") for name in gone for base in content.bases)
        or any(run.data.params.get(name, value) != value for name, value in content.parameters.items())
        or any(
            not _is_same(value, content.curves[name].get(step))
            for name, points in logged.items()
            for step, value in points.items()
        )
    )


def _log_values(client: MlflowClient, run: Run, logged: Curves, step: int, content: Content) -> None:
    now = int(time.time() * 1000)
    metrics = [
        Metric(name, value, now, step)
        for name, value in content.metrics.items()
        if not _is_same(value, run.data.metrics.get(name))
    ]
    for name, points in content.curves.items():
        metrics += [Metric(name, value, now, at) for at, value in points.items() if at not in logged.get(name, {})]
    parameters = [Param(name, text) for name, text in content.parameters.items() if name not in run.data.params]
    client.log_batch(run.info.run_id, metrics, parameters, [RunTag(*tag) for tag in content.tags.items()])
    for name in run.data.tags.keys() - content.tags.keys():
        if name.startswith("genbench."):
            client.delete_tag(run.info.run_id, name)


def _log_files(client: MlflowClient, run: Run, folder: Path) -> None:
    for picture in pictures(folder):
        client.log_artifact(run.info.run_id, str(picture), "images")
    files = RunFolder(folder)
    for path in (files.record_path, files.config_path):
        if path.is_file() and not path.is_symlink():
            client.log_artifact(run.info.run_id, str(path))


def _is_same(value: float, other: float | None) -> bool:
    """Compare up to what a database may round."""
    return other is not None and math.isclose(value, other, rel_tol=1e-9)


def _milliseconds(utc: str) -> int:
    return int(datetime.fromisoformat(utc).timestamp() * 1000)


def _explained(error: MlflowException, uri: str) -> GenbenchError:
    said = re.sub(r"//[^/@\s]*@", "//", first_line(error))  # a URI may hold a password
    return GenbenchError(f"MLflow: {cut(said, 300)}", _hint(urlsplit(uri).scheme))


def _hint(scheme: str) -> str:
    if scheme in ("", "file"):
        return "for a folder, MLflow 3 wants MLFLOW_ALLOW_FILE_STORE=true; a server or a database needs no leave"
    if scheme in ("http", "https"):
        return "see whether the server answers; the run itself is safe in its folder"
    return "MLflow reads databases where the whole of it is installed: `pip install mlflow`"
