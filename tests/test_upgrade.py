"""Records of older schemas: `genbench.upgrades` and `genbench upgrade`."""

import json
import os
from pathlib import Path

import pytest
from leaderboards import make_record

from genbench.cli import main
from genbench.digest import digest_of
from genbench.errors import GenbenchError
from genbench.exchange import read_all, record_line
from genbench.reading import MAX_RECORD_BYTES
from genbench.records import Record
from genbench.schema import LONGEST_TEXT, SCHEMA
from genbench.store import RunFolder, lock, read_record, run_folder, write_record
from genbench.upgrades import upgrade

# As genbench wrote it at schema 1, all but its length.
FIRST = """{
 "schema": "genbench.record/1",
 "status": "ok",
 "reason": null,
 "run": {"model": "gan", "similarity": null, "dataset": "celeba", "seed": 0},
 "config": {
  "model": {"name": "gan", "settings": {"real_label": 0.9}}, "similarity": null,
  "dataset": {"name": "celeba", "settings": {}, "size": 32, "skip_bad_images": false},
  "training": {"images": 100000, "learning_rate": 0.0003, "similarity_weight": "auto"}, "seed": 0
 },
 "config_hash": "4468ad72b5d9a8f5",
 "plugins": [{"kind": "model", "name": "gan", "distribution": "genbench", "version": "0.1.0"}],
 "data": {
  "name": "celeba", "size": 32, "channels": 3, "fingerprint": "c2f2", "train": 6400, "validation": 800, "test": 800,
  "attributes": 40, "notes": ["a subset of CelebA"], "skipped_images": 0
 },
 "images_asked": 100000,
 "images_seen": 100000,
 "parameters": {"decoder": 1019747, "discriminator": 2159009},
 "similarity_weight": null,
 "weights_sha256": "8b1a",
 "scores": [
  {
   "name": "fd-attributes", "value": 0.30000000000000004, "direction": "lower",
   "protocol": {"images": 10000, "exact": true, "share": 1.0, "layer": null},
   "uncertainty": null, "details": {"bias": 0.1}, "warnings": ["few images"], "origin": "0123"
  }
 ],
 "skipped": [{"evaluator": "mse", "reason": "Gan has no encoder"}],
 "failures": [],
 "checks": [{"name": "nearest", "value": 0.98, "flagged": false, "rule": "at least 0.9", "meaning": "It is ill."}],
 "notes": [],
 "cost": {"prepare_s": 0.2, "train_s": 334.4, "evaluate_s": 64.1, "images_per_s": 299.0, "peak_memory_bytes": 728064},
 "execution": {
  "device": "cpu", "device_name": "x86_64", "engine": "eager", "precision": "bfloat16", "fallback": null,
  "images": "resident", "processes": 1, "threads": 2, "platform": "Linux", "versions": {"torch": "2.6"},
  "git_commit": null
 },
 "started_utc": "2025-01-01T00:00:00+00:00",
 "finished_utc": "2025-01-01T00:10:00+00:00"
}
"""


def first_store(root: Path, seeds: int = 1) -> list[RunFolder]:
    folders = [run_folder(root, "celeba", "gan", None, seed, "4468ad72") for seed in range(seeds)]
    for seed, folder in enumerate(folders):
        folder.path.mkdir(parents=True)
        folder.record_path.write_text(FIRST.replace('"seed": 0', f'"seed": {seed}'))
    return folders


def command(*args: object) -> int:
    return main(["upgrade", *map(str, args)])


def test_every_older_schema_leads_to_the_present_one() -> None:
    name, _, present = SCHEMA.rpartition("/")
    for version in range(1, int(present)):
        assert upgrade({"schema": f"{name}/{version}"})["schema"] == SCHEMA
    current = make_record().model_dump()
    assert upgrade(current) == current
    for unknown in ("genbench.record/0", f"{name}/{int(present) + 1}", "asv/1"):
        with pytest.raises(KeyError):
            upgrade({"schema": unknown})


def test_nothing_that_was_recorded_changes() -> None:
    before = json.loads(FIRST)
    value = upgrade(before)
    assert before == json.loads(FIRST)
    record = json.loads(json.dumps(Record.model_validate(value).model_dump()))
    assert record.pop("schema") == "genbench.record/2"
    assert record["cost"].pop("energy_j") is None
    before.pop("schema")
    assert record == before
    assert repr(record["scores"][0]["protocol"]) == repr(before["scores"][0]["protocol"])


def test_a_reason_longer_than_any_may_be_is_cut() -> None:
    long = {"reason": "x" * (LONGEST_TEXT + 1)}
    value = upgrade(
        json.loads(FIRST)
        | long
        | {"status": "failed", "failures": [long | {"evaluator": "fid"}], "skipped": [long | {"evaluator": "kid"}]}
    )
    record = Record.model_validate(value)
    for reason in (record.reason, record.failures[0].reason, record.skipped[0].reason):
        assert reason is not None
        assert reason.startswith("xxx")
        assert reason.endswith("…")


def test_a_store_is_upgraded_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = first_store(tmp_path, 3)
    folders[0].unfinished_path.write_text(FIRST)
    alone = run_folder(tmp_path, "celeba", "vae", "mse", 0, "0123456789abcdef")
    alone.path.mkdir(parents=True)
    alone.unfinished_path.write_text(FIRST)
    write_record(run_folder(tmp_path, "toyfaces", "vae", "mse", 0, "ab" * 32), make_record())
    assert command(tmp_path) == 0
    assert capsys.readouterr().out == (
        "5 records upgraded from genbench.record/1 to genbench.record/2\n1 record of genbench.record/2 already\n"
    )
    for seed, folder in enumerate(folders):
        assert read_record(folder.record_path).run.seed == seed
    assert read_record(folders[0].unfinished_path) == read_record(folders[0].record_path)
    assert read_record(alone.unfinished_path).run.model == "gan"
    assert not alone.record_path.exists()
    assert len(read_all([tmp_path])[0]) == 4
    with lock(folders[0].path):  # nothing is locked, and nothing that was not written out is left
        assert sorted(p.name for p in folders[0].path.iterdir()) == [".lock", "record.json", "unfinished.json"]


def test_what_is_current_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path, "toyfaces", "vae", "mse", 0, "ab" * 32)
    write_record(folder, make_record())
    lines = tmp_path / "a.jsonl"
    lines.write_text(f"\r\n{record_line(make_record())}\r\n\n")
    before = [(path, path.read_bytes(), path.stat().st_ino) for path in (folder.record_path, lines)]
    assert command(tmp_path, lines) == 0
    assert [(path, path.read_bytes(), path.stat().st_ino) for path in (folder.record_path, lines)] == before
    assert [path.name for path in folder.path.iterdir()] == ["record.json"]
    assert capsys.readouterr().out == "2 records of genbench.record/2 already\n"


def test_one_record_may_be_named_with_what_lies_beside_it(tmp_path: Path) -> None:
    first, second = first_store(tmp_path, 2)
    first.unfinished_path.write_text(FIRST)
    copy = tmp_path / "mine.json"
    copy.write_text(FIRST)
    link = tmp_path / "link.json"
    link.symlink_to(copy)
    assert command(first.record_path, link) == 0
    for path in (first.record_path, first.unfinished_path, copy):
        assert read_record(path).schema_ == SCHEMA
    assert link.is_symlink()
    assert second.record_path.read_text() == FIRST.replace('"seed": 0', '"seed": 1')
    assert not (tmp_path / ".lock").exists()


def test_lines_are_upgraded_and_what_can_not_be_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, current = json.dumps(json.loads(FIRST)), record_line(make_record())
    newer = current.replace("genbench.record/2", "genbench.record/3")
    path = tmp_path / "results.jsonl"
    path.write_text(f"{current}\n\n{old}\n{old[:-30]}\n{newer}\n{old}")
    assert command(path) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "2 records upgraded from genbench.record/1 to genbench.record/2",
        "1 record of genbench.record/2 already",
    ]
    assert f"{path}:4: half-written" in told.err
    assert f"{path}:5: schema 'genbench.record/3' is newer than this genbench" in told.err
    lines = path.read_text().split("\n")
    assert [lines[0], *lines[2:4], lines[5:]] == [current, old[:-30], newer, [""]]
    upgraded = digest_of(Record.model_validate(upgrade(json.loads(FIRST))))
    assert read_all([path])[0] == [digest_of(make_record()), upgraded, upgraded]
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]
    assert command(path) == 1
    assert path.read_text().split("\n") == lines


def test_a_file_with_a_line_that_can_not_be_held_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.jsonl"
    content = f"{json.dumps(json.loads(FIRST))}\n{'x' * (MAX_RECORD_BYTES + 1)}\n"
    path.write_text(content)
    assert command(path) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "longer than 16 MiB" in told.err
    assert path.read_text() == content
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("record/1", "record/3", "upgrade genbench: `pip install --upgrade genbench`"),
        ("record/1", "record/0", "which no genbench has written"),
        ("genbench.record/1", "asv/1", "not a genbench record"),
        ('"images_seen": 100000', '"images_seen": "many"', "invalid record: images_seen"),
        ('"images_seen": 100000,', "", "invalid record: images_seen"),
        ('"cost": {', '"cost": 3, "was": {', "invalid record: "),
        ('"failures": []', '"failures": [[], 3]', "invalid record: failures.0"),
        ('"real_label": 0.9', '"real_label": NaN', "invalid record: "),
        ('"real_label": 0.9', '"real_label": 1e999', "invalid record: "),
        ('"fd-attributes"', '"' + "x" * 1001 + '"', "invalid record: scores.0.name"),
        ("}\n", "", "half-written"),
    ],
)
def test_what_can_not_be_upgraded_stays_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    bad, good = first_store(tmp_path, 2)
    text = FIRST.replace(old, new) if old != "}\n" else FIRST[:-3]
    bad.record_path.write_text(text)
    assert command(tmp_path) == 1
    told = capsys.readouterr()
    assert told.out == "1 record upgraded from genbench.record/1 to genbench.record/2\n"
    assert f"{bad.record_path}: " in told.err
    assert words in told.err
    assert bad.record_path.read_text() == text
    assert read_record(good.record_path).run.seed == 1


def test_a_run_that_is_under_way_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = first_store(tmp_path)
    with lock(folder.path):
        assert command(tmp_path) == 1
    assert "another run is using this folder" in capsys.readouterr().err
    assert folder.record_path.read_text() == FIRST
    assert command(tmp_path) == 0


def test_a_crash_before_the_rename_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = first_store(tmp_path)
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps(json.loads(FIRST)))
    monkeypatch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(tmp_path) == command(lines) == 130
    assert folder.record_path.read_text() == FIRST
    assert json.loads(lines.read_text()) == json.loads(FIRST)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "celeba"]


def test_a_record_that_can_not_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first_store(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert command(tmp_path) == 1
    told = capsys.readouterr()
    assert "No space left on device" in told.err
    assert told.out == ""


def test_where_there_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENBENCH_RUNS", raising=False)
    assert command() == 2
    assert "runs: no such file or folder" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    assert command() == 2
    assert "runs: no finished runs" in capsys.readouterr().err
    first_store(tmp_path / "runs")
    assert command() == 0


def test_what_says_to_upgrade_names_a_command_that_helps(tmp_path: Path) -> None:
    (folder,) = first_store(tmp_path)
    with pytest.raises(GenbenchError) as caught:
        read_record(folder.record_path)
    words = str(caught.value.hint).split("`")[1].split()
    assert words[:2] == ["genbench", "upgrade"]
    assert main(words[1:]) == 0
    assert read_record(folder.record_path).run.model == "gan"


def test_the_projects_own_results_are_current() -> None:
    results = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
    found, problems = read_all([results])
    assert problems == []
    assert len(found) >= 27
