"""Reading stores, folders and files of records together, and `genbench export`."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from leaderboards import lost, make_record

from genbench.cli import group, main
from genbench.digest import digest_of
from genbench.errors import GenbenchError
from genbench.exchange import read_all, record_line
from genbench.reading import MAX_RECORD_BYTES
from genbench.records import Plugin, Record
from genbench.store import RunFolder, run_folder, write_record


def store(root: Path, *records: Record) -> Path:
    for record in records:
        write_record(place_of(root, record), record)
    return root


def place_of(root: Path, record: Record) -> RunFolder:
    run = record.run
    return run_folder(root, run.dataset, run.model, run.similarity, run.seed, record.config_hash)


def lines_of(path: Path, *records: Record | str) -> Path:
    lines = (record if isinstance(record, str) else record_line(record) for record in records)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def old(record: Record) -> str:
    return record_line(record).replace("genbench.record/2", "genbench.record/1")


def call(*args: object, **env: str) -> Result:
    result = CliRunner().invoke(group, ["export", *map(str, args)], env=env, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_stores_folders_files_and_lines_together(tmp_path: Path) -> None:
    records = [make_record(model, seed=seed) for model in ("gan", "vae") for seed in range(3)]
    whole = store(tmp_path / "store", records[0], records[1])
    folder = place_of(store(tmp_path / "other", records[2], make_record("left-out")), records[2]).path
    file = place_of(store(tmp_path / "third", records[3]), records[3]).record_path
    lines = lines_of(tmp_path / "results.jsonl", records[4], records[5])
    found, problems = read_all([lines, whole, file, folder])
    assert problems == []
    order = (
        records[4],
        records[5],
        *sorted(records[:2], key=lambda r: place_of(whole, r).path),
        records[3],
        records[2],
    )
    assert found == [digest_of(record) for record in order]


def test_a_file_of_lines_is_read_whatever_its_line_ends(tmp_path: Path) -> None:
    record = make_record()
    line = record_line(record)
    path = tmp_path / "Results.JSONL"
    for text in (line, f"{line}\n", f"{line}\r\n", f"\n  \n{line}\n\n", f" {line} \n"):
        path.write_bytes(text.encode())
        assert read_all([path]) == ([digest_of(record)], [])
    path.write_bytes(b"")
    assert read_all([path]) == ([], [])


def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good, cut = make_record(seed=1), record_line(make_record(seed=2))[:-20]
    spoiled = record_line(make_record()).replace('"status":"ok"', '"status":"fine"')
    path = lines_of(tmp_path / "results.jsonl", "hello", good, spoiled, cut, "[]", '{"schema": "asv/1"}')
    found, problems = read_all([path])
    assert found == [digest_of(good)]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:{line}" for line in (1, 3, 4, 5, 6)]
    for problem, words in zip(
        problems, ("not JSON", "invalid record: status: ", "half-written", "not a genbench record", "asv"), strict=True
    ):
        assert words in problem
    assert "exported anew" in problems[2]


def test_a_line_longer_than_any_record_is_stepped_over(tmp_path: Path) -> None:
    good = make_record()
    path = tmp_path / "results.jsonl"
    with path.open("wb") as file:
        file.truncate(2 * MAX_RECORD_BYTES + 5)
        file.seek(0, os.SEEK_END)
        file.write(f"\n{record_line(good)}\n".encode())
    found, problems = read_all([path])
    assert found == [digest_of(good)]
    assert problems == [f"{path}:1: longer than 16 MiB, so not a record"]
    with path.open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 5)
    assert read_all([path]) == ([], problems)


def test_what_hits_many_is_told_once_with_the_command_that_mends_it(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "results.jsonl", *(old(make_record(seed=seed)) for seed in range(50)))
    runs = store(tmp_path / "runs", *(make_record(seed=seed) for seed in range(5)))
    for path in runs.rglob("record.json"):
        path.write_text(path.read_text().replace("genbench.record/2", "genbench.record/1"))
    found, problems = read_all([lines, runs])
    assert found == []
    assert problems[0] == (
        f"{lines}:1, {lines}:2, {lines}:3 and 47 more: stored in the old format 'genbench.record/1' "
        f"(run `genbench upgrade {lines}`)"
    )
    assert problems[1].endswith(
        f" and 2 more: stored in the old format 'genbench.record/1' (run `genbench upgrade {runs}`)"
    )
    assert len(problems) == 2


def test_a_newer_schema_asks_for_a_newer_genbench(tmp_path: Path) -> None:
    text = record_line(make_record()).replace("genbench.record/2", "genbench.record/12").replace('"run"', '"ran"')
    (problem,) = read_all([lines_of(tmp_path / "a.jsonl", text)])[1]
    assert "newer than this genbench" in problem
    assert "pip install --upgrade genbench" in problem


def test_a_value_of_another_type_is_read_as_the_record_reads_it(tmp_path: Path) -> None:
    text = record_line(make_record(images=1000)).replace('"images_seen":1000', '"images_seen":"1000"')
    found, problems = read_all([lines_of(tmp_path / "a.jsonl", text)])
    assert problems == []
    assert found == [digest_of(make_record(images=1000))]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("old", ['"gamma":1.0', '"train_s":60.0', '"value":0.5', '"images":1000,"batch'])
def test_a_number_that_is_not_finite_is_refused_and_told(tmp_path: Path, number: str, old: str) -> None:
    text = record_line(make_record())
    assert text.count(old) == 1
    name, _, rest = old.partition(":")
    path = lines_of(
        tmp_path / "a.jsonl", text.replace(old, f"{name}:{number}{rest[rest.find(',') :] if ',' in rest else ''}")
    )
    found, (problem,) = read_all([path])
    assert found == []
    assert "finite" in problem


def test_a_record_of_a_plugin_that_is_not_installed_is_read(tmp_path: Path) -> None:
    plugin = Plugin(kind="model", name="strange", distribution="gone", version="9")
    record = make_record("strange", "unheard-of", plugins=(plugin,))
    assert read_all([store(tmp_path, record)]) == ([digest_of(record)], [])


def test_paths_in_records_are_never_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait forever
    record = make_record(reason=str(tmp_path / "pipe"), status="failed")
    record = record.model_copy(update={"config": record.config | {"model": {"weights": str(tmp_path / "pipe")}}})
    assert len(read_all([store(tmp_path / "runs", record)])[0]) == 1


def test_reading_does_not_leave_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", store(tmp_path / "outside", make_record(seed=1))
    store(inside, make_record())
    (inside / "link").symlink_to(outside, target_is_directory=True)
    (inside / "loop").symlink_to(inside, target_is_directory=True)
    (inside / "file").mkdir()
    (inside / "file" / "record.json").symlink_to(place_of(outside, make_record(seed=1)).record_path)
    found, problems = read_all([inside])
    assert found == [digest_of(make_record())]
    assert problems == [f"{inside / 'file' / 'record.json'}: a symbolic link, not followed"]


def test_nothing_and_what_is_no_file(tmp_path: Path) -> None:
    assert read_all([]) == ([], [])
    assert read_all([tmp_path]) == ([], [])
    with pytest.raises(GenbenchError, match="no such file") as caught:
        read_all([tmp_path, tmp_path / "missing"])
    assert ".jsonl" in str(caught.value.hint)
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert read_all([tmp_path / "pipe.jsonl"]) == ([], [f"{tmp_path / 'pipe.jsonl'}: not a regular file"])


def test_what_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, make_record())

    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    (problem,) = read_all([tmp_path])[1]
    assert "can't be read: Permission denied" in problem


def test_the_collector_is_as_it_was(tmp_path: Path) -> None:
    assert gc.isenabled()
    read_all([store(tmp_path, make_record())])
    assert gc.isenabled()
    with pytest.raises(GenbenchError):
        read_all([tmp_path / "missing"])
    assert gc.isenabled()
    gc.disable()
    try:
        read_all([tmp_path])
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_exported_records_are_complete_and_read_alike(tmp_path: Path) -> None:
    records = [make_record(m, seed=s) for m in ("vae", "gan") for s in (10, 9)] + [lost("failed", 1, "µ/\u2028 \x1b")]
    runs, file = store(tmp_path / "runs", *records), tmp_path / "new" / "results.jsonl"
    result = call(runs, "-o", file)
    assert result.return_value == 0
    assert result.stdout == ""
    assert result.stderr == "5 records\n"
    lines = file.read_bytes().decode().removesuffix("\n").split("\n")
    exported = [Record.model_validate_json(line) for line in lines]
    assert sorted(exported, key=repr) == sorted(records, key=repr)
    assert [(r.run.model, r.run.seed) for r in exported] == [
        ("gan", 9),
        ("gan", 10),
        ("vae", 1),
        ("vae", 9),
        ("vae", 10),
    ]
    assert sorted(map(repr, read_all([file])[0])) == sorted(map(repr, read_all([runs])[0]))


def test_the_same_records_give_the_same_file_from_wherever(tmp_path: Path) -> None:
    records = [make_record(m, seed=s, scores={"b": s, "a": 0.1}) for m in ("vae", "gan", None) for s in range(3) if m]
    one, two = store(tmp_path / "one", *records), store(tmp_path / "two", *records[:2])
    first = lines_of(tmp_path / "some.jsonl", *reversed(records[1:]))
    outputs = [call(*places, "-o", "-").stdout_bytes for places in ([one], [two, first], [first, one, two], [one, one])]
    assert outputs[0].count(b"\n") == 6
    assert len(set(outputs)) == 1
    call(one, "-o", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == outputs[0]
    again = make_record(scores={"b": 0, "a": 0.1}, finished_utc="2026-01-01T00:00:00Z")
    assert call(one, store(tmp_path / "later", again), "-o", "-").stdout_bytes.count(b"\n") == 7


def test_an_export_tells_nothing_of_anybodys_disk(tmp_path: Path) -> None:
    record = make_record()
    settings = {
        "weights": "/home/ada/nets/w.pth",
        "other": ["~/x/y.pt"],
        "kind": "torchvision:resnet18",
        "parts": "1/2",
    }
    record = record.model_copy(update={"config": record.config | {"model": {"name": "vae", "settings": settings}}})
    text = call(store(tmp_path / "runs", record), "-o", "-").stdout
    for private in (str(tmp_path), "ada", "nets", "~", str(Path.home()), "\n{"):
        assert private not in text
    settings |= {"weights": "w.pth", "other": ["y.pt"]}
    assert json.loads(text)["config"]["model"]["settings"] == settings


def test_a_file_is_not_written_over_unless_asked(tmp_path: Path) -> None:
    runs, file = store(tmp_path / "runs", make_record()), tmp_path / "results.jsonl"
    file.write_text("precious")
    with pytest.raises(GenbenchError, match="is there already") as caught:
        call(runs, "-o", file)
    assert "--force" in str(caught.value.hint)
    assert file.read_text() == "precious"
    call(runs, "-o", file, "--force")
    assert len(read_all([file])[0]) == 1
    call(file, "-o", file, "--force")
    assert len(read_all([file])[0]) == 1


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, file = store(tmp_path / "runs", make_record()), tmp_path / "results.jsonl"
    file.write_text("precious")
    monkeypatch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(click.Abort):
        call(runs, "-o", file, "--force")
    assert file.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.jsonl", "runs"]


def test_where_an_export_can_not_go(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs", make_record())
    with pytest.raises(GenbenchError, match=r"NAME\.jsonl") as caught:
        call(runs, "-o", tmp_path / "results.json")
    assert str(tmp_path / "results.jsonl") in str(caught.value.hint)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(GenbenchError, match="is a folder"):
        call(runs, "-o", tmp_path / "folder.jsonl", "--force")
    with pytest.raises(GenbenchError, match="cannot write"):
        call(runs, "-o", next(runs.rglob("record.json")) / "x.jsonl")


def test_what_can_not_be_exported_is_told_by_the_exit_code_too(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "runs", make_record())
    assert main(["export", "-o", "-"]) == 0
    assert Record.model_validate_json(capsysbinary.readouterr().out) == make_record()
    (tmp_path / "runs" / "record.json").write_text("{")
    assert main(["export", "-o", "a.jsonl"]) == 1
    assert len(read_all([Path("a.jsonl")])[0]) == 1
    assert b"half-written" in capsysbinary.readouterr().err
    lines_of(tmp_path / "old.jsonl", old(make_record()))
    assert main(["export", "old.jsonl", "-o", "b.jsonl"]) == 2
    told = capsysbinary.readouterr().err
    assert b"genbench upgrade old.jsonl" in told
    assert b"no record that can be read" in told
    (tmp_path / "empty").mkdir()
    assert main(["export", "empty", "-o", "b.jsonl"]) == 2
    assert b"no finished runs" in capsysbinary.readouterr().err
    assert not Path("b.jsonl").exists()


@pytest.mark.parametrize("command", ["export", "upgrade"])
def test_the_commands_import_no_torch(command: str) -> None:
    code = f"import sys, genbench.cli.{command}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
