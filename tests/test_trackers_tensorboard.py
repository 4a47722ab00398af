"""What TensorBoard holds of a run, read back with its own reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracked import CURVE, finished, flagged, run_folder, score

import genbench_tensorboard
from genbench.plugins import Plugins
from genbench.records import Record, Unscored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path)


def read_events(home: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(home))
    read.Reload()
    return read


def scalars(events: Any) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Record, Path], Path]:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("GENBENCH_TENSORBOARD", str(tmp_path / "board"))

    def log(record: Record, folder: Path) -> Path:
        assert Plugins.of(genbench_tensorboard).run_finished(record, folder) == []
        return tmp_path / "board" / "toyfaces" / "vae-mse" / "s0-abababab"

    return log


def test_tensorboard_reads_the_curve_the_scores_and_the_picture(board: Any, folder: Path) -> None:
    events = read_events(board(finished(checks=(flagged(),)), folder))
    found = scalars(events)
    assert {tag[6:]: points for tag, points in found.items() if tag.startswith("curve/")} == CURVE
    assert found["scores/fd:inception"] == [(300, 12.5)]
    assert found["uncertainty/fd:inception"] == [(300, 0.5)]
    assert found["checks/active-units"] == [(300, 2.0)]
    (image,) = events.Images("images/samples")
    assert (image.step, image.width, image.height) == (300, 24, 16)
    assert image.encoded_image_string == (folder / "images" / "samples.png").read_bytes()


def test_tensorboard_reads_the_configuration_as_hyperparameters(board: Any, folder: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    events = read_events(board(finished(status="diverged", reason="kl is inf"), folder))
    contents = events.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["model.settings.gamma"].number_value == 1.0
    assert start.hparams["model.name"].string_value == "vae"
    assert start.hparams["status"].string_value == "diverged"
    end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
    assert (end.status, end.end_time_secs - start.start_time_secs) == (2, 1.0)  # api.proto: STATUS_FAILURE = 2


def test_tensorboard_reads_texts_as_tables_that_no_text_breaks(board: Any, folder: Path) -> None:
    record = finished(checks=(flagged(),), skipped=(Unscored(evaluator="fid", reason="no\nweights"),))
    events = read_events(board(record, folder))

    def text(topic: str) -> str:
        (event,) = events.Tensors(f"about/{topic}")
        return str(event.tensor_proto.string_val[0].decode())

    assert text("checks").splitlines()[2] == "| active-units | 2.0 | at least 6 | FLAGGED | It has \\| collapsed. |"
    assert "| skipped | fid: no; weights |" in text("run").splitlines()
    assert all(line.startswith("    ") for line in text("configuration").splitlines())
    assert "fd:inception | 12.5 | 0.5 | lower" in text("scores")


def test_tensorboard_that_reads_while_a_run_is_logged_again_never_doubles_it(board: Any, folder: Path) -> None:
    home = board(finished(), folder)
    events = read_events(home)
    for value in (11.0, 10.0, 9.0):
        board(finished(score("fd:inception", value), score("mse", 0.125)), folder)
        events.Reload()
        for read in (events, read_events(home)):
            found = scalars(read)
            assert {tag[6:]: points for tag, points in found.items() if tag.startswith("curve/")} == CURVE
            assert found["scores/fd:inception"] == [(300, value)]
            assert found["scores/mse"] == [(300, 0.125)]
            assert len(read.Images("images/samples")) == 1
        assert sorted(path.stat().st_size > 0 for path in home.iterdir()) == [False, True]


def test_tensorboard_files_of_others_are_left_alone(board: Any, folder: Path) -> None:
    home = board(finished(), folder)
    (home / "events.out.tfevents.1.host").write_bytes(b"")
    (home / "notes.txt").write_text("mine")
    board(finished(), folder)
    assert (home / "notes.txt").read_text() == "mine"
    assert (home / "events.out.tfevents.1.host").exists()


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_tensorboard_gets_what_there_is_of_a_lost_run(status: str, board: Any, tmp_path: Path) -> None:
    record = finished(status=status, reason="no luck", scores=(), images_seen=0)
    events = read_events(board(record, tmp_path / "nowhere"))
    assert [tag for tag in scalars(events) if not tag.startswith("cost/")] == []
    assert events.Tags()["images"] == []
    (event,) = events.Tensors("about/run")
    assert b"| reason | no luck |" in event.tensor_proto.string_val[0]


def test_tensorboard_leaves_out_a_picture_that_is_none(board: Any, folder: Path) -> None:
    (folder / "images" / "empty.png").write_bytes(b"")
    (folder / "images" / "text.png").write_text("this is not a picture, however it is called")
    assert read_events(board(finished(), folder)).Tags()["images"] == ["images/samples"]


def test_a_folder_that_tensorboard_can_not_have_is_a_warning(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENBENCH_TENSORBOARD", str(tmp_path / "file"))
    (problem,) = Plugins.of(genbench_tensorboard).run_finished(finished(), folder)
    assert f"cannot write {tmp_path / 'file'}" in problem
    assert "genbench_run_finished" not in problem
