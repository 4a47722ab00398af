"""`genbench doctor` as a user types it: a line each, exit statuses, and nothing left behind."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from genbench.cli import doctor, main
from genbench.doctor.findings import CHECKS, Ground
from genbench.findings import Finding

SOUND = Finding("sound", "ok", "as it should be")
ABSENT = Finding("absent", "skipped", "not here", "get it there")
BROKEN = Finding("broken", "failed", "something is wrong with it: " + "very " * 20 + "wrong", "mend it")
LONG = Finding("long", "ok", "word " * 30)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with a cache, a folder for temporary files and torch's folder beside it."""
    # torch's compiler, where something imports it, makes a folder of its own, which is none of the doctor's.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path.parent / "inductor"))
    for variable, name in {"GENBENCH_CACHE": "cache", "TMPDIR": "temporary", "TORCH_HOME": "torch"}.items():
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in ("GENBENCH_DATA", "GENBENCH_WEIGHTS", "GENBENCH_INCEPTION", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tmp_path


def found(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """Let the checks find this."""

    def carried_out(_: Ground) -> Iterator[Finding]:
        yield from findings

    monkeypatch.setattr(doctor, "carry_out", carried_out)


def test_a_sound_installation_exits_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, SOUND, ABSENT)
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["sound", "ok"], ["absent", "skipped"]]
    assert lines[2].startswith("1 ok, 0 failed, 1 skipped in ")
    assert err == "note: absent: get it there\n"


def test_one_that_fails_exits_1_and_is_told_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, SOUND, BROKEN, ABSENT)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert BROKEN.found in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert "hint: broken: mend it" in err


def test_a_hint_of_several_is_given_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, BROKEN, replace(BROKEN, name="other"), SOUND)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "hint: broken, other: mend it\n"


def test_lines_fit_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, SOUND, LONG)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert lines[1].endswith("…")


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, SOUND, BROKEN, ABSENT, LONG)
    assert main(["doctor", "--json"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["ok"] is False
    assert [set(check) for check in told["checks"]] == [{"name", "state", "found", "hint"}] * 4
    assert told["checks"][1] == {"name": "broken", "state": "failed", "found": BROKEN.found, "hint": "mend it"}
    assert told["checks"][3]["found"] == LONG.found
    assert err == ""


def test_full_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(doctor, "carry_out", lambda ground: seen.append(ground.full) or [])
    assert (main(["doctor"]), main(["doctor", "--full"]), seen) == (0, 0, [False, True])


def test_a_wrong_command_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--ful"]) == 2
    assert "see `genbench doctor --help`" in capsys.readouterr().err


def test_this_installation_is_sound_and_nothing_is_left_behind(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All checks, as they are, with an empty cache and no weights."""
    status = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    *checks, count = lines
    assert [line for line in checks if line[22:30].strip() == "failed"] == []
    assert (status, " 0 failed, " in count) == (0, True)
    assert max(map(len, lines)) <= 80
    assert {line[:22].strip() for line in checks} >= {
        *("python", "torch", "plugins", "cache", "device", "float32 convolution", "precision", "evaluation mode"),
        *("fid with itself", "fid of gaussians", "kid with itself", "prdc with itself", "routing vaegan", "tiny run"),
        *("resuming", "weights inception", "reference fid"),
    }
    assert sorted(path.relative_to(here).as_posix() for path in here.rglob("*")) == [
        "cache",
        "temporary",
        "torch",
        "work",
    ]


def test_each_check_has_a_name_of_its_own() -> None:
    names = [name for name, _ in CHECKS]
    assert len(set(names)) == len(names)
