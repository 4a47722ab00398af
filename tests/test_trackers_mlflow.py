"""What MLflow holds of a run, read back with its own client."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tracked import CURVE, finished, flagged, run_folder, score

import genbench_mlflow
from genbench.errors import GenbenchError
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.store import RunFolder


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GENBENCH_MLFLOW", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path)


class Server:
    """A store, the observer that logs to it, and a client that reads it."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)

    def log(self, record: Record, folder: Path) -> Any:
        assert Plugins.of(genbench_mlflow).run_finished(record, folder) == []
        (run,) = self.runs()
        return run

    def runs(self, view: int = 1) -> list[Any]:
        found = self.client.get_experiment_by_name("toyfaces")
        return list(self.client.search_runs([found.experiment_id], run_view_type=view))

    def history(self, run: Any, name: str) -> list[tuple[int, float]]:
        points = self.client.get_metric_history(run.info.run_id, name)
        return sorted((point.step, point.value) for point in points)

    def files(self, run: Any, under: str | None = None) -> list[str]:
        return [item.path for item in self.client.list_artifacts(run.info.run_id, under)]


# MLflow's tables use what SQLAlchemy deprecates.
SQLITE = pytest.param("sqlite", marks=pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make MLflow's tables once: it takes seconds."""
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no databases")
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        Server(f"sqlite:///{path}").client.search_experiments()
    return path


@pytest.fixture(params=["file", SQLITE])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)  # MLflow puts the artifacts of a database into the working folder
    place = (tmp_path / "mlruns").as_uri()
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "mlflow.db")
        place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("GENBENCH_MLFLOW", place)
    return Server(place)


def test_mlflow_holds_the_curve_the_scores_and_the_files(server: Server, folder: Path) -> None:
    run = server.log(finished(checks=(flagged(),)), folder)
    assert {name: server.history(run, f"curve/{name}") for name in CURVE} == CURVE
    assert run.data.metrics["scores/fd.inception"] == 12.5  # no colon is taken on Windows
    assert run.data.metrics["uncertainty/fd.inception"] == 0.5
    assert server.history(run, "checks/active-units") == [(300, 2.0)]
    assert run.data.params["model.settings.gamma"] == "1.0"
    assert run.data.tags["genbench.status"] == "ok"
    assert "active-units is 2, not at least 6" in run.data.tags["genbench.flags"]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "vae-mse/s0-abababab")
    assert run.info.end_time - run.info.start_time == 1000
    assert server.files(run) == ["config.toml", "images", "record.json"]
    assert server.files(run, "images") == ["images/samples.png"]


def test_mlflow_has_a_run_once_however_often_it_is_logged(server: Server, folder: Path) -> None:
    first = server.log(finished(checks=(flagged(),)), folder)
    server.log(finished(), folder)
    again = server.log(finished(score("fd:inception", 11.0), score("mse", 0.125)), folder)
    assert again.info.run_id == first.info.run_id
    assert {name: server.history(again, f"curve/{name}") for name in CURVE} == CURVE
    assert again.data.metrics["scores/fd.inception"] == 11.0
    assert again.data.metrics["scores/mse"] == 0.125
    assert server.history(again, "uncertainty/fd.inception") == [(300, 0.5)]
    assert "genbench.flags" not in again.data.tags
    assert server.runs(view=2) == []  # ViewType.DELETED_ONLY


def test_mlflow_gets_the_rest_of_a_run_that_was_resumed(server: Server, folder: Path) -> None:
    path = RunFolder(folder).curve_path
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:1]))
    first = server.log(finished(status="failed", reason="no luck", scores=(), images_seen=100), folder)
    assert (first.info.status, first.data.tags["genbench.reason"]) == ("FAILED", "no luck")
    path.write_text(whole)
    then = server.log(finished(), folder)
    assert then.info.run_id == first.info.run_id
    assert {name: server.history(then, f"curve/{name}") for name in CURVE} == CURVE
    assert then.info.status == "FINISHED"
    assert "genbench.reason" not in then.data.tags


def test_mlflow_starts_anew_where_a_curve_has_changed(server: Server, folder: Path) -> None:
    first = server.log(finished(), folder)
    RunFolder(folder).curve_path.write_text('{"images_seen": 100, "kl": 9.0}\n')
    then = server.log(finished(), folder)
    assert then.info.run_id != first.info.run_id
    assert server.history(then, "curve/kl") == [(100, 9.0)]
    assert [run.info.run_id for run in server.runs(view=2)] == [first.info.run_id]


def test_mlflow_starts_anew_where_a_score_has_another_name(server: Server, folder: Path) -> None:
    server.log(finished(score("fd", 1)), folder)
    run = server.log(finished(score("fd", 1), score("fd", 2, "gmm")), folder)
    scores = {name: value for name, value in run.data.metrics.items() if name.startswith("scores/")}
    assert scores == {"scores/fd sampler.prior": 1, "scores/fd sampler.gmm": 2}


def test_mlflow_keeps_what_the_user_adds(server: Server, folder: Path) -> None:
    run = server.log(finished(), folder)
    server.client.log_metric(run.info.run_id, "scores/of my own", 7)
    server.client.set_tag(run.info.run_id, "mlflow.note.content", "the good one")
    again = server.log(finished(), folder)
    assert again.info.run_id == run.info.run_id
    assert again.data.metrics["scores/of my own"] == 7
    assert again.data.tags["mlflow.note.content"] == "the good one"


def test_mlflow_keeps_seeds_apart(server: Server, folder: Path) -> None:
    plugins = Plugins.of(genbench_mlflow)
    assert plugins.run_finished(finished(), folder) == []
    assert plugins.run_finished(finished(seed=1, config_hash="cd" * 32), folder) == []
    assert len(server.runs()) == 2


def test_mlflow_takes_texts_and_names_of_any_length(server: Server, folder: Path, tmp_path: Path) -> None:
    RunFolder(folder).curve_path.write_text('{"images_seen": 1, "a:b": 1, "a.b": 2, "a": 3, "a/b": 4, "..": 5}\n')
    config = {"model": {"name": "x" * 10_000, "k" * 900: 1, "k" * 901: 2}}
    record = finished(config=config, status="failed", reason="y" * 20_000, notes=("z" * 20_000,) * 5)
    run = server.log(record, folder)
    assert sorted(v for k, v in run.data.metrics.items() if k.startswith("curve/")) == [1, 2, 3, 4, 5]
    assert sorted(len(value) for value in run.data.params.values()) == [1, 1, 500]
    assert len(run.data.tags["genbench.reason"]) == 4000
    again = server.log(record, folder)
    assert again.info.run_id == run.info.run_id


def test_mlflow_gets_what_there_is_of_a_lost_run(server: Server, tmp_path: Path) -> None:
    record = finished(status="diverged", reason="kl is inf", scores=(), images_seen=0)
    run = server.log(record, tmp_path / "nowhere")
    assert run.info.status == "FAILED"
    assert run.data.tags["genbench.status"] == "diverged"
    assert server.files(run) == []


def test_mlflow_says_how_to_get_a_deleted_experiment_back(server: Server, folder: Path) -> None:
    run = server.log(finished(), folder)
    server.client.delete_experiment(run.info.experiment_id)
    (problem,) = Plugins.of(genbench_mlflow).run_finished(finished(), folder)
    assert f"experiment `toyfaces` is deleted (`mlflow experiments restore -x {run.info.experiment_id}`)" in problem


def test_mlflow_is_left_as_the_user_has_set_it(server: Server, folder: Path) -> None:
    before = dict(os.environ)
    server.log(finished(), folder)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://user:hunter2@127.0.0.1:9", "see whether the server answers"),
        ("bogus://somewhere", "pip install mlflow"),
        ("./mlruns", "MLFLOW_ALLOW_FILE_STORE=true"),
    ],
)
def test_mlflow_that_does_not_answer_is_one_warning(
    uri: str, said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENBENCH_MLFLOW", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    (problem,) = Plugins.of(genbench_mlflow).run_finished(finished(), folder)
    assert "\n" not in problem
    assert said in problem
    assert "hunter2" not in problem


def test_mlflow_is_told_where_to_log_by_one_of_two_variables() -> None:
    told = genbench_mlflow.tracking_uri
    assert told({}) is None
    assert told({"MLFLOW_TRACKING_URI": "x"}) is None
    assert told({"GENBENCH_MLFLOW": "0", "MLFLOW_TRACKING_URI": "x"}) is None
    assert told({"GENBENCH_MLFLOW": "1", "MLFLOW_TRACKING_URI": "x"}) == "x"
    assert told({"GENBENCH_MLFLOW": "y", "MLFLOW_TRACKING_URI": "x"}) == "y"
    with pytest.raises(GenbenchError, match="MLFLOW_TRACKING_URI is not set"):
        told({"GENBENCH_MLFLOW": "1"})
