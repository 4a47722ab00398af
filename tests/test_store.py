import json
import os
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genbench.errors import GenbenchError
from genbench.reading import MAX_RECORD_BYTES
from genbench.records import Cost, DataFacts, Execution, Record, RunIdentity, Score
from genbench.schema import SCHEMA
from genbench.store import (
    RunFolder,
    find_files,
    find_records,
    lock,
    read_record,
    run_folder,
    write_atomic,
    write_config,
    write_record,
)


def make_record(seed: int = 0, model: str = "vae") -> Record:
    return Record(
        status="ok",
        run=RunIdentity(model=model, similarity="mse", dataset="toyfaces", seed=seed),
        config={"training": {"images": 1000, "similarity_weight": "auto"}, "similarity": None},
        config_hash="0123456789abcdef",
        plugins=(),
        data=DataFacts(
            name="toyfaces", size=32, channels=3, fingerprint="f", train=8, validation=1, test=1, attributes=0
        ),
        images_asked=1000,
        images_seen=1000,
        parameters={"decoder": 10},
        scores=(Score(name="mse", value=0.1 + 0.2, direction="lower", protocol={"n": 8, "range": None, "on": True}),),
        cost=Cost(prepare_s=0.1, train_s=1.5, evaluate_s=0.2, images_per_s=666.0, peak_memory_bytes=5),
        execution=Execution(
            device="cpu", device_name="x", engine="eager", precision="float32", threads=1, platform="linux",
            versions={}, git_commit=None,
        ),
        started_utc="2025-01-01T00:00:00Z",
        finished_utc="2025-01-01T00:00:02Z",
    )  # fmt: skip


def stored(tmp_path: Path, seed: int = 0, model: str = "vae") -> RunFolder:
    folder = run_folder(tmp_path, "toyfaces", model, "mse", seed, "0123456789abcdef")
    write_record(folder, make_record(seed, model))
    return folder


def changed(folder: RunFolder, **fields: object) -> None:
    value = json.loads(folder.record_path.read_text())
    folder.record_path.write_text(json.dumps(value | fields))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(path: Path) -> GenbenchError:
    with pytest.raises(GenbenchError) as caught:
        read_record(path)
    assert str(path) in caught.value.message
    return caught.value


def test_run_folder_is_laid_out_as_documented() -> None:
    folder = run_folder(Path("runs"), "celeba", "gan", None, 7, "0123456789abcdef")
    assert folder.path == Path("runs/celeba/gan-none/s7-01234567")
    assert folder.record_path == folder.path / "record.json"
    assert folder.config_path == folder.path / "config.toml"
    assert folder.curve_path == folder.path / "curve.jsonl"
    assert folder.log_path == folder.path / "log.txt"
    assert folder.checkpoint_path == folder.path / "checkpoint" / "last.safetensors"
    assert folder.images_path == folder.path / "images"
    assert run_folder(Path("r"), "d", "vae", "dis-l", 0, "ff" * 32).path == Path("r/d/vae-dis-l/s0-ffffffff")


@pytest.mark.parametrize("content", [b"\x00\xff\r\n", "µ\r\nx\n", ""])
def test_write_atomic_keeps_every_byte(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "new" / "deep" / "file"
    write_atomic(path, "something longer that was there before")
    write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == ["file"]


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def crash(source: Path, target: Path) -> None:
        assert source.read_text() == "new"
        assert source.parent == target.parent
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b))[1])
    write_atomic(tmp_path / "file", "x")
    assert done == (["sync", "rename"] if os.name == "nt" else ["sync", "rename", "sync"])


def test_unwritable_names_the_path_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GenbenchError, match=r"cannot write .*record\.json") as caught:
        write_atomic(tmp_path / "file" / "record.json", "x")
    assert caught.value.hint


def test_a_full_disk_is_a_failed_run_and_not_a_wrong_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GenbenchError, match="No space left") as caught:
        write_atomic(tmp_path / "file", "x")
    assert caught.value.exit_code == 1
    assert "free some space" in str(caught.value.hint)
    assert names(tmp_path) == []


def test_the_next_writer_removes_what_a_killed_one_left_and_readers_ignore_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored(tmp_path)
    with monkeypatch.context() as patch:  # what SIGKILL between write and rename leaves
        patch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Path, "unlink", lambda *a, **k: None)
        for path in (folder.record_path, folder.checkpoint_path):
            with pytest.raises(KeyboardInterrupt):
                write_atomic(path, "{")
    (folder.path / "mine.tmp").write_text("not ours")
    assert len(list(folder.path.rglob(".*.tmp"))) == 2
    assert find_records(tmp_path) == ([folder.record_path], [])
    with lock(folder.path):
        assert list(folder.path.rglob(".*.tmp")) == []
    assert (folder.path / "mine.tmp").exists()


HOLDER = """
import sys, time
from pathlib import Path
from genbench.store import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_held_lock_is_refused_and_a_killed_process_frees_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(GenbenchError, match="another run is using") as caught, lock(folder):
            pytest.fail("two runs in one folder")
        assert str(folder) in caught.value.message
        holder.send_signal(signal.SIGKILL)
    with lock(folder):
        pass


def test_a_lock_is_freed_by_an_error_and_does_not_nest(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path), pytest.raises(GenbenchError, match="another run"), lock(tmp_path):
        pass
    with lock(tmp_path), lock(tmp_path / "another"):
        pass


def test_lock_in_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GenbenchError, match="cannot write"), lock(tmp_path / "file" / "run"):
        pass


def test_a_record_comes_back_equal_and_in_full_precision(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    assert read_record(folder.record_path) == make_record()
    assert "0.30000000000000004" in folder.record_path.read_text()


def test_a_nan_in_the_configuration_is_not_written(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "d", "m", None, 0, "ab" * 32)
    with pytest.raises(GenbenchError, match="NaN"):
        write_record(folder, make_record().model_copy(update={"config": {"gamma": float("nan")}}))
    assert not folder.path.exists()


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("old", ["0.30000000000000004", "666.0"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, value: str, old: str) -> None:
    folder = stored(tmp_path)
    folder.record_path.write_text(folder.record_path.read_text().replace(old, value))
    assert "finite" in refusal(folder.record_path).message


def test_nan_in_the_configuration_is_refused_but_the_word_may_be_in_a_reason(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    changed(folder, reason="the loss became NaN, or Infinity", status="diverged")
    assert read_record(folder.record_path).status == "diverged"
    changed(folder, config={"gamma": float("nan")})
    assert "config.gamma: nan, expected a finite number" in refusal(folder.record_path).message


def test_half_written(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    text = folder.record_path.read_text()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        folder.record_path.write_text(text[:length])
        assert "half-written" in refusal(folder.record_path).message
        assert "delete it: the same `genbench run` then resumes" in str(refusal(folder.record_path).hint)


@pytest.mark.parametrize("content", [b"hello", b"\xff\xfe\x00", b"{} {}", b"{'a': 1}"])
def test_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert "not JSON" in refusal(path).message


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"schema": 3}', '{"schema": "asv/1"}'])
def test_other_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    assert "not a genbench record" in refusal(path).message


def test_a_record_without_a_schema_is_refused(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    value = json.loads(folder.record_path.read_text())
    del value["schema"]
    folder.record_path.write_text(json.dumps(value))
    assert SCHEMA in refusal(folder.record_path).message


def test_older_and_newer_schemas_say_what_to_do(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    changed(folder, schema="genbench.record/0")
    assert f"`genbench upgrade {folder.record_path}`" in str(refusal(folder.record_path).hint)
    changed(folder, schema="genbench.record/12", run="another form")
    error = refusal(folder.record_path)
    assert "newer" in error.message
    assert "upgrade genbench" in str(error.hint)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"images_seen": "many"}, "images_seen"),
        ({"run": {"model": "vae"}}, "run.similarity"),
        ({"run": {"model": "vae", "similarity": None, "dataset": "digits", "seed": -1}}, "run.seed"),
        ({"run": {"model": "vae", "similarity": None, "dataset": "digits", "seed": 10**1000}}, "run.seed"),
        ({"surprise": 1}, "surprise"),
        ({"scores": [{"name": "mse"}]}, "scores.0.value"),
        ({"status": "fine"}, "status"),
    ],
)
def test_an_invalid_record_names_the_field(tmp_path: Path, fields: dict[str, object], named: str) -> None:
    folder = stored(tmp_path)
    changed(folder, **fields)
    assert f"invalid record: {named}: " in refusal(folder.record_path).message


def test_larger_than_any_record(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 1)
    assert "larger than 16 MiB" in refusal(path).message


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    assert "not a regular file" in refusal(tmp_path / "record.json").message
    assert "No such file" in refusal(tmp_path / "missing.json").message


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"config": ' + "[" * 100_000 + "]" * 100_000 + "}")
    refusal(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), junk=st.binary(max_size=8))
def test_any_damage_is_an_error_or_a_record_never_a_crash(tmp_path: Path, cut: float, junk: bytes) -> None:
    text = json.dumps(make_record().model_dump(mode="json")).encode()
    at = int(cut * len(text))
    path = tmp_path / "record.json"
    path.write_bytes(text[:at] + junk + text[at + len(junk) :])
    with suppress(GenbenchError):
        assert isinstance(read_record(path), Record)


def test_records_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    folders = [stored(tmp_path, seed, model) for model, seed in (("vae", 1), ("gan", 0), ("vae", 0))]
    inner = tmp_path / "a" / "record.json"
    write_atomic(inner, "whatever it is")
    write_atomic(folders[0].images_path / "record.json", "an image, perhaps")
    write_atomic(tmp_path / "images" / "vae-mse" / "s0-0" / "record.json", "a data set may have that name")
    (tmp_path / "record.json").mkdir()
    named = [tmp_path / "images" / "vae-mse" / "s0-0" / "record.json", *(folders[i].record_path for i in (1, 2, 0))]
    assert find_records(tmp_path) == ([inner, *named], [])
    write_atomic(folders[0].unfinished_path, "{")
    found, _ = find_files(tmp_path, frozenset({"unfinished.json", "record.json"}))
    assert found == [inner, *named, folders[0].unfinished_path]


def test_finding_does_not_leave_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    folder, kept = stored(outside), stored(inside)
    (inside / "link").symlink_to(outside, target_is_directory=True)
    (inside / "loop").symlink_to(inside, target_is_directory=True)
    (inside / "file").mkdir()
    (inside / "file" / "record.json").symlink_to(folder.record_path)
    found, (problem,) = find_records(inside)
    assert found == [kept.record_path]
    assert "symbolic link" in problem


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_records(tmp_path) == ([], [])
    found, (problem,) = find_records(tmp_path / "missing")
    assert found == []
    assert "missing" in problem


def test_config_leaves_none_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    config = {
        "seed": 2**62,
        "similarity": None,
        "model": {"name": 'a "b"\n', "settings": {"gamma": 1e-6, "c": None, "on": True}},
        "evaluation": {"evaluators": ({"name": "fid", "settings": {"k": None}},), "samples": 10},
    }
    write_config(folder, config)
    assert tomllib.loads(folder.config_path.read_text()) == {
        "seed": 2**62,
        "model": {"name": 'a "b"\n', "settings": {"gamma": 1e-6, "on": True}},
        "evaluation": {"evaluators": [{"name": "fid", "settings": {}}], "samples": 10},
    }
    with pytest.raises(GenbenchError, match=r"config\.model\.layers: a list holds None"):
        write_config(folder, {"model": {"layers": [1, None]}})


SCALARS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())
VALUES = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(), t, max_size=3), max_leaves=5
)
TREES = st.dictionaries(st.text(), VALUES, max_size=3)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=TREES)
def test_config_without_none_comes_back_equal(tmp_path: Path, config: dict[str, object]) -> None:
    write_config(RunFolder(tmp_path), config)
    assert tomllib.loads((tmp_path / "config.toml").read_bytes().decode()) == config


def test_only_a_record_is_said_to_be_better_deleted(tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text('about = "x"')
    assert "delete" not in str(refusal(suite).hint)
    assert refusal(suite).message.endswith("not JSON: expected value at line 1 column 1")
