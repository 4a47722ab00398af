"""What a report gathers of records and folders, without opening a run: needs no torch, and so has none."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from leaderboards import lost, make_record

from genbench.cli import main
from genbench.compare import leaderboard
from genbench.errors import GenbenchError
from genbench.exchange import read_all, record_line
from genbench.records import Check, Record
from genbench.report.content import Picture, Report
from genbench.report.gathering import LOOKED_AT, ONLY_RECORD, Board, Cover, NoPictures, gather, read_boards
from genbench.selection import condition
from genbench.store import RunFolder, write_record

CURVE = [{"images_seen": 64.0 * step, "kl": 10.0 + step, "like": 900.0 / step} for step in range(1, 9)]
HOSTILE = '<script>alert("1")</script>\x1b[31m\x00\nnext'


def lines_of(path: Path, *records: Record) -> Path:
    path.write_text("".join(f"{record_line(record)}\n" for record in records))
    return path


def folder_of(path: Path, record: Record, *, curve: Sequence[dict[str, float]] = CURVE, weights: bool = False) -> Path:
    folder = RunFolder(path)
    write_record(folder, record)
    folder.curve_path.write_text("".join(f"{json.dumps(row)}\n" for row in curve))
    if weights:
        folder.checkpoint_path.parent.mkdir()
        folder.checkpoint_path.write_bytes(b"weights")
    return path


def gathered(*places: Path, where: str | None = None) -> Report:
    boards, problems = read_boards(places, [condition(where)] if where else [])
    return gather(boards, [NoPictures() for _ in boards], Cover("title", "made now", tuple(problems)), lambda _: None)


def only(boards: Sequence[Board]) -> Board:
    (board,) = boards
    return board


def test_runs_stand_as_on_the_leaderboard_and_seeds_side_by_side(tmp_path: Path) -> None:
    records = [
        *(make_record("vae", similarity, seed) for seed in (2, 0, 1) for similarity in ("ssim", "mse")),
        *(make_record("vae", "mse", seed, width=0.5) for seed in (1, 0)),
        make_record("gan", None, 0),
    ]
    file = lines_of(tmp_path / "all.jsonl", *records)
    (group,) = gathered(file).groups
    (table,) = leaderboard(read_all([file])[0])
    assert group.heading == table.heading == "toyfaces 32×32×3"
    assert [(run.label, run.seed) for run in group.runs] == [
        (row.label, seed) for row in table.rows for seed in row.seeds
    ]
    assert {run.label for run in group.runs} == {
        "gan",
        "vae · mse width=0.5",
        "vae · mse width=1.0",
        "vae · ssim",
    }


def test_each_data_set_and_size_is_a_group_of_its_own(tmp_path: Path) -> None:
    records = [make_record(), make_record(size=64), make_record(dataset="digits"), make_record(fingerprint="0" * 64)]
    headings = [group.heading for group in gathered(lines_of(tmp_path / "a.jsonl", *records)).groups]
    assert headings == [
        "digits 32×32×3",
        "toyfaces 32×32×3, content 00000000",
        "toyfaces 32×32×3, content ffffffff",
        "toyfaces 64×64×3",
    ]


def test_a_run_is_there_once_with_its_folder_wherever_else_its_record_lies(tmp_path: Path) -> None:
    record = make_record()
    bare, whole = folder_of(tmp_path / "a", record), folder_of(tmp_path / "b" / "c", record, weights=True)
    file = lines_of(tmp_path / "0.jsonl", record)
    board = only(read_boards([file, bare, tmp_path])[0])
    (run,) = board.runs
    assert run.folder == RunFolder(whole)
    assert run.obstacle is None
    assert len(board.digests) == 4, "the leaderboard says what it leaves out"


def test_a_later_run_takes_the_place_and_not_the_folder_of_an_earlier(tmp_path: Path) -> None:
    later = make_record(scores={"mse": 0.25}, finished_utc="2026-01-01T00:00:00Z")
    folder_of(tmp_path / "a", make_record(), weights=True)
    (run,) = only(read_boards([tmp_path / "a", lines_of(tmp_path / "x.jsonl", later)])[0]).runs
    assert run.digest.scores[0].value == 0.25
    assert run.folder is None


def test_a_copy_of_a_record_in_another_runs_folder_has_not_that_runs_pictures(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", make_record(seed=0), weights=True)
    copy = tmp_path / "a" / "other.json"
    copy.write_text(record_line(make_record(seed=1)))
    first, second = only(read_boards([tmp_path / "a", copy])[0]).runs
    assert first.obstacle is None
    assert second.obstacle == ONLY_RECORD


def test_what_can_not_be_opened_has_a_reason_and_still_its_curve(tmp_path: Path) -> None:
    diverged = lost("diverged", 1, "the loss of `encoder` is nan, in /home/anna/genbench")
    places = [
        lines_of(tmp_path / "seed0.jsonl", make_record(seed=0)),
        folder_of(tmp_path / "1", diverged, weights=True),
        folder_of(tmp_path / "2", make_record(seed=2)),
        folder_of(tmp_path / "3", make_record(seed=3), curve=[]),
        folder_of(tmp_path / "4", make_record(seed=4), curve=[{"images_seen": n, "kl": n * 1.7e308} for n in (-1, 1)]),
        folder_of(tmp_path / "5", make_record(seed=5), curve=[]),
    ]
    (tmp_path / "5" / "curve.jsonl").unlink()
    (tmp_path / "5" / "curve.jsonl").mkdir()
    (group,) = gathered(*places).groups
    record, bad, gone, empty, *odd = group.runs
    assert record.missing == dict.fromkeys((*LOOKED_AT, "curves"), ONLY_RECORD)
    assert bad.missing == dict.fromkeys(LOOKED_AT, "diverged: the loss of `encoder` is nan, in genbench")
    assert gone.missing == dict.fromkeys(LOOKED_AT, "its checkpoint is gone")
    assert empty.missing["curves"] == "its curve.jsonl is gone or empty"
    huge, folder = (run.missing["curves"] for run in odd)
    assert huge.startswith("the numbers are too large to be drawn: ")
    assert folder.startswith("curve.jsonl: can't be read: ")
    for run in (bad, gone):
        picture = run.pictures["curves"]
        assert picture.media == "image/svg+xml"
        assert f"seed {run.seed}" in picture.alt


def test_a_drawing_has_the_size_that_it_says_and_is_whole(tmp_path: Path) -> None:
    (group,) = gathered(folder_of(tmp_path / "a", make_record())).groups
    picture = group.runs[0].pictures["curves"]
    root = ElementTree.fromstring(picture.content)
    points = map(float, root.get("viewBox", "").split()[2:])
    assert [round(4 / 3 * length) for length in points] == [picture.width, picture.height]
    marks = {e.get("id") for e in root.iter() if e.get("id")}
    used = {e.get("{http://www.w3.org/1999/xlink}href") for e in root.iter() if e.tag.endswith("use")}
    assert used
    assert {str(name).removeprefix("#") for name in used} <= marks


def test_settings_costs_and_protocols_are_told_as_text(tmp_path: Path) -> None:
    flags = (
        Check(name="active-units", value=0.01, flagged=True, rule="at least 0.3", meaning="Most units are dead."),
        Check(name="spread", value=1.0, flagged=False, rule="at least 0.3", meaning="."),
    )
    record = make_record(
        checks=flags,
        protocol={"split": "test", "images": 1000},
        similarity_weight=2.5,
        weights_sha256="ab" * 32,
    )
    record = record.model_copy(
        update={
            "config": record.config | {"dataset": {"name": "toyfaces", "settings": {"folder": "/home/anna/faces"}}},
            "scores": tuple(
                s.model_copy(update={"value": 0.01234567, "uncertainty": 0.00021, "warnings": ("few images",)})
                for s in record.scores
            ),
        }
    )
    (group,) = gathered(folder_of(tmp_path / "a", record)).groups
    (run,) = group.runs
    assert run.flags == (flags[0].flag,)
    config, cost = dict(run.config), dict(run.cost)
    assert config["training.images"] == "1000"
    assert config["model.gamma"] == "1.0"
    assert config["dataset.folder"] == "faces", "folders are nobody's business"
    assert not any(key.startswith("evaluation") for key in config)
    assert cost["training"] == "1:00"
    assert cost["images per second"] == "100.0"
    assert cost["training images seen"] == "1,000 of 1,000"
    assert cost["weights, SHA-256"] == "ab" * 32
    assert "energy" not in cost
    assert run.protocols == (
        (
            "mse",
            "0.01235 ±0.00021",
            (("evaluator", "e"), ("images", "1000"), ("split", "test"), ("warning", "few images")),
        ),
    )


def test_strangers_text_is_passed_on_as_text_without_control_characters(tmp_path: Path) -> None:
    record = make_record(HOSTILE, HOSTILE, dataset=HOSTILE, scores={HOSTILE: 1.0}, protocol={HOSTILE: HOSTILE})
    report = gathered(lines_of(tmp_path / "a.jsonl", record))
    (group,) = report.groups
    (run,) = group.runs
    shown = '<script>alert("1")</script> [31m next'
    assert run.label == f"{shown} · {shown}"
    assert group.heading == f"{shown} 32×32×3"
    assert run.protocols[0][0] == shown
    texts = [*(t for pair in (*run.config, *run.cost) for t in pair), *(t for p in run.protocols[0][2] for t in p)]
    assert all(text.isprintable() for text in texts)


def test_rate_and_distortion_are_drawn_where_weights_make_a_curve(tmp_path: Path) -> None:
    def record(gamma: float, seed: int = 0, **changes: object) -> Record:
        return make_record("vae", "mse", seed, {"kl": 10 / gamma, "mse": gamma}, gamma=gamma, **changes)  # type: ignore[arg-type]

    curve = [record(0.5), record(1.0), record(2.0)]
    (group,) = gathered(lines_of(tmp_path / "a.jsonl", *curve)).groups
    (figure,) = group.figures
    assert figure.heading == "Rate and distortion"
    assert isinstance(figure.picture, Picture)
    (group,) = gathered(lines_of(tmp_path / "b.jsonl", record(0.5), record(0.5, 1))).groups
    assert (group.figures, group.notes) == ((), ())
    (group,) = gathered(lines_of(tmp_path / "c.jsonl", *curve, record(4.0, protocol={"split": "train"}))).groups
    assert group.figures == ()
    assert "2 protocols" in group.notes[0]


def test_only_such_runs_and_what_could_not_be_read(tmp_path: Path) -> None:
    file = lines_of(tmp_path / "a.jsonl", *(make_record(seed=seed) for seed in range(4)))
    file.write_text(file.read_text() + "{}\n")
    report = gathered(file, where="seed>=2")
    assert [run.seed for run in report.groups[0].runs] == [2, 3]
    assert report.made == "made now, of 2 runs"
    assert len(report.problems) == 1
    assert str(tmp_path) not in report.problems[0]
    with pytest.raises(GenbenchError, match="no run fulfils"):
        gathered(file, where="seed>9")


def test_exported_records_make_a_page_without_torch(tmp_path: Path) -> None:
    file = lines_of(tmp_path / "a.jsonl", *(make_record(seed=seed) for seed in range(3)))
    script = (
        "import sys; from genbench.cli import main; status = main(sys.argv[1:]); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'torchvision', 'PIL'})); sys.exit(status)"
    )
    command = [sys.executable, "-c", script, "report", str(file), "-o", "page.html", "--title", "Mine & yours"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    output, loaded = done.stdout.splitlines()
    assert output.startswith("page.html: ")
    assert "torch" not in loaded
    assert "none of these runs can be opened" in done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Mine &amp; yours" in page
    assert ONLY_RECORD.replace("'", "&#39;") in page


def test_a_page_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines_of(tmp_path / "a.jsonl", make_record())
    (tmp_path / "report.html").write_text("mine")
    assert main(["report", "a.jsonl", "--no-pictures"]) == 2
    assert "report.html is there already" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text() == "mine"
    assert main(["report", "a.jsonl", "--no-pictures", "--force"]) == 0
    err = capsys.readouterr().err
    assert "1 of 1: vae · mse, seed 0; no samples" in err
    assert "left out by --no-pictures" not in (tmp_path / "report.html").read_text(), (
        "a record could not be opened anyhow"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["."], "no finished runs"),
        (["a.jsonl", "--where", "model"], "expected KEY OP VALUE"),
        (["a.jsonl", "--attributes", " , "], "names none"),
        (["a.jsonl", "--title", " "], "--title: says nothing"),
        (["a.jsonl", "-o", "page.pdf"], "endings are .html, .htm"),
        (["a.jsonl", "-o", "page"], "a file without an ending"),
        (["a.jsonl", "--no-pictures", "--threads", "2"], "--no-pictures opens no run"),
        (["a.jsonl", "--no-pictures", "--attributes", "x"], "--no-pictures opens no run"),
    ],
)
def test_a_wrong_command_writes_nothing(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    lines_of(tmp_path / "a.jsonl", make_record())
    assert main(["report", "-o", "page.html", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_page_of_very_many_runs_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines_of(tmp_path / "a.jsonl", make_record(seed=0), make_record(seed=1))
    warning = "2 runs make a page that is slow to open"
    monkeypatch.setattr("genbench.cli.report.MOST", 2)
    assert main(["report", "a.jsonl", "--no-pictures"]) == 0
    assert warning not in capsys.readouterr().err
    monkeypatch.setattr("genbench.cli.report.MOST", 1)
    assert main(["report", "a.jsonl", "--no-pictures", "--force"]) == 0
    assert warning in capsys.readouterr().err
