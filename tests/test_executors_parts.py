"""What executors are made of: messages that keep everything, whose turn it is, and what is told of it all."""

from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from genbench.cli import forecast, progress, suite_table
from genbench.cli.forecast import Tally
from genbench.cli.suite_table import Board, Lines, watching
from genbench.config import (
    Component,
    DataConfig,
    EvaluationConfig,
    EvaluatorConfig,
    NetworkConfig,
    RunConfig,
    TrainingConfig,
)
from genbench.executors.agenda import BUSY_S, Agenda
from genbench.executors.interface import Ended, Job, Terms
from genbench.executors.messages import (
    Advanced,
    CarryOut,
    Done,
    Halt,
    Ready,
    Report,
    Said,
    Unfit,
    decode_order,
    decode_report,
    encode,
    shortened,
)

IMAGES = 1000


def make(label: str = "a", seed: int = 0, size: int = 64) -> Job:
    evaluator = EvaluatorConfig(name="lpips", settings={"weights": "/far/away/file.pth", "blocks": (1, 2.0, True)})
    config = RunConfig(
        model=Component(name="vae", settings={"gamma": 1e-300, "share": 0.1 + 0.2, "count": 2**62, "none": None}),
        similarity=Component(name="mse"),
        dataset=DataConfig(name="faces", size=size),
        network=NetworkConfig(width=1.0),
        training=TrainingConfig(images=IMAGES, similarity_weight=1.0),
        evaluation=EvaluationConfig(evaluators=(evaluator,)),
        seed=seed,
    )
    return Job(label, config)


def test_an_order_keeps_all_of_a_configuration() -> None:
    terms = Terms(Path("runs"), Path("/cache"), Path("data ä\n.zip"), threads=3, retry_unscored=True)
    order = CarryOut(make("vae · mse\n2", 2**63 - 1), terms, "cuda:1")
    line = encode(order)
    assert line.count(b"\n") == 1
    found = decode_order(line)
    assert isinstance(found, CarryOut)
    assert (found.terms, found.device, found.job.label) == (terms, "cuda:1", "vae · mse\n2")
    assert found.job.config.hash() == order.job.config.hash()
    evaluator = found.job.config.evaluation.evaluators[0]
    assert evaluator.settings["weights"] == "/far/away/file.pth", "records leave the folders out, orders must not"
    assert [type(value) for value in evaluator.settings["blocks"]] == [int, float, bool]
    assert decode_order(encode(Halt())) == Halt()


@pytest.mark.parametrize(
    "report",
    [
        Ready(("cuda:0", "cuda:1"), 4),
        Unfit("no", None),
        Advanced(64),
        Said("evaluating ä\nmse"),
        Done(Ended("failed", "no luck"), leaving=True),
        Done(Ended("ok")),
    ],
)
def test_reports_keep_what_they_say(report: Report) -> None:
    line = encode(report)
    assert line.count(b"\n") == 1
    assert decode_report(line[:-1]) == report


def test_every_kind_of_report_is_tried_here() -> None:
    marks = test_reports_keep_what_they_say.pytestmark  # type: ignore[attr-defined]
    assert {type(report) for report in marks[0].args[1]} == set(get_args(Report))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"kind": "done"}', b'{"kind": "other"}', b"\xff", b"[" * 100_000])
def test_nonsense_is_no_report(line: bytes) -> None:
    assert decode_report(line) is None


def test_long_texts_are_cut() -> None:
    assert shortened("short") == "short"
    assert len(shortened("x" * 100_000)) == 4000


def test_turns_are_taken_in_order_and_by_the_busy_last() -> None:
    agenda = Agenda([make("a"), make("b"), make("c")])
    first = agenda.take(0.0)
    assert first is not None
    agenda.postpone(first, Ended("busy", "held"), 0.0)
    order = []
    while (turn := agenda.take(BUSY_S / 2)) is not None:
        order.append(turn.job.label)
    assert order == ["b", "c"]
    assert len(agenda) == 1
    again = agenda.take(BUSY_S)
    assert again is first


def test_a_run_takes_two_processes_with_it_at_most() -> None:
    agenda = Agenda([make("a"), make("b")])
    turn = agenda.take(0.0)
    assert turn is not None
    assert agenda.may_retry(turn, Ended("failed", "killed"))
    other, again = agenda.take(0.0), agenda.take(0.0)
    assert other is not None
    assert other.job.label == "b"
    assert again is turn
    assert not agenda.may_retry(turn, Ended("failed", "killed"))
    assert len(agenda) == 0


def test_who_gives_up_tells_of_those_that_were_begun_alone() -> None:
    agenda = Agenda([make("a"), make("b"), make("c")])
    for how in (Ended("busy", "held"), Ended("failed", "killed")):
        turn = agenda.take(0.0)
        assert turn is not None
        if how.status == "busy":
            agenda.postpone(turn, how, 0.0)
        else:
            agenda.may_retry(turn, how)
    assert [(job.label, how.status) for job, how in agenda.give_up()] == [("a", "busy"), ("b", "failed")]
    assert not agenda


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    turned = Time()
    for module in (forecast, progress, suite_table):
        monkeypatch.setattr(module, "perf_counter", turned)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return turned


def carry_out(tally: Tally | Lines | Board, job: Job, time: Time, evaluation_s: float = 0.0) -> None:
    """Train at 10 images a second, after a first step of 5 seconds."""
    tally.started(job, "cpu")
    tally.advanced(job, 0)
    time.now += 5
    for images_seen in range(50, IMAGES + 1, 50):
        tally.advanced(job, images_seen)
        time.now += 5
    time.now += evaluation_s
    tally.ended(job, Ended("ok"))


def test_the_rest_takes_as_long_as_what_was_alike(time: Time) -> None:
    jobs = [make("a"), make("b"), make("c", size=32)]
    tally = Tally(jobs)
    assert tally.left_s() is None
    carry_out(tally, jobs[0], time, evaluation_s=95)  # 200 s in all
    assert tally.left_s() == pytest.approx(400)
    carry_out(tally, jobs[2], time)  # 105 s
    assert tally.left_s() == pytest.approx(200)
    tally.started(jobs[1], "cpu")
    time.now += 80
    assert tally.left_s() == pytest.approx(120)
    tally.ended(jobs[1], Ended("failed", "no"))
    assert tally.left_s() is None
    assert tally.summary() == "2 of 3 done, 1 failed, 0 at work, 0 to come"


def test_runs_at_once_share_the_rest(time: Time) -> None:
    jobs = [make(str(number)) for number in range(10)]
    tally = Tally(jobs)
    for job in jobs[:2]:
        tally.started(job, "cpu")
        tally.advanced(job, 0)
    for images_seen in (10, 110):
        for job in jobs[:2]:
            tally.advanced(job, images_seen)
        time.now += 10
    # An image takes 0.2 s: 180 s are left of both and, two at once, 8 × 200 s of those to come.
    assert tally.left_s() == pytest.approx((2 * 180 + 8 * 200) / 2)


def test_the_rest_is_never_shorter_than_the_longest_run(time: Time) -> None:
    jobs = [make("a"), make("b")]
    tally = Tally(jobs)
    for job, speed in zip(jobs, (1, 100), strict=True):
        tally.started(job, "cpu")
        tally.advanced(job, 0)
        tally.advanced(job, 0)
        time.now += 1
        tally.advanced(job, speed)
    left = tally.left_s()
    assert left is not None
    assert left >= 999


def test_a_resumed_run_tells_the_cost_of_what_was_left_of_it(time: Time) -> None:
    jobs = [make("a"), make("b")]
    tally = Tally(jobs)
    tally.started(jobs[0], "cpu")
    tally.advanced(jobs[0], IMAGES // 2)
    time.now += 50
    tally.advanced(jobs[0], IMAGES)
    tally.ended(jobs[0], Ended("ok"))
    assert tally.left_s() == pytest.approx(100)


def test_plain_lines(time: Time, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [make(f"run-{number}") for number in range(8)]
    lines = Lines(jobs)
    for job in jobs[:6]:
        lines.started(job, "cuda:0")
        for images_seen in (0, 100, 250):
            lines.advanced(job, images_seen)
    capsys.readouterr()
    lines.said(jobs[0], "evaluating mse")
    lines.said(jobs[0], "mse 1.25")
    time.now += 29.9
    lines.advanced(jobs[1], 300)
    assert capsys.readouterr().err == "", "what all runs do a thousand times is not told"
    time.now += 0.2
    lines.advanced(jobs[1], 500)
    lines.advanced(jobs[1], 501)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("0 of 8 done, 6 at work, 2 to come; about ")
    assert line.endswith(" left; run-0 25%, run-1 50%, run-2 25%, run-3 25%, and 2 more")
    for job in jobs[:3]:
        lines.said(job, "note: three images left out")
    lines.ended(jobs[0], Ended("ok"))
    lines.ended(jobs[1], Ended("failed", "no luck"))
    assert capsys.readouterr().err.splitlines() == [
        "run-0: note: three images left out",
        "run-0: ok after 30 s",
        "run-1: failed after 30 s: no luck",
    ]


def shown(board: Board) -> list[str]:
    with board.console.capture() as capture:
        board.console.print(board.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def make_board(jobs: list[Job], width: int, height: int = 24) -> Board:
    return Board(jobs, Console(file=StringIO(), width=width, height=height, color_system=None))


@pytest.mark.parametrize("width", [80, 60, 120])
def test_the_table_fits_and_tells_runs_apart(time: Time, width: int) -> None:
    jobs = [make(f"vaegan · dis-l · celeba · 64 px · weight 0.1 · seed {number}") for number in range(1000)]
    board = make_board(jobs, width)
    for job in jobs[:30]:
        board.started(job, "cuda:7")
    for images_seen in (0, 1, 1):
        board.advanced(jobs[0], images_seen)
        time.now += 10
    board.advanced(jobs[0], 2)
    board.advanced(jobs[1], IMAGES)
    board.said(jobs[1], "evaluating fd:torchvision:resnet18")
    board.said(jobs[2], "waits: another process is at this run")
    lines = shown(board)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 22
    assert "seed 0" in lines[1]
    assert " h " in lines[1]
    assert "evaluating fd" in lines[2]
    assert "waits: another" in lines[3]
    assert "starting" in lines[4]
    assert len({line.partition("cuda:7")[0] for line in lines[1:18]}) == 17
    assert "… and 12 more" in lines
    assert lines[-1 if width > 70 else -2].startswith("0 of 1,000 done, 30 at work, 970 to come; about ")


def test_runs_that_have_ended_leave_the_table(time: Time) -> None:
    jobs = [make("a"), make("b")]
    board = make_board(jobs, 80)
    assert shown(board) == ["0 of 2 done, 0 at work, 2 to come"]
    for job in jobs:
        carry_out(board, job, time)
    assert shown(board) == ["2 of 2 done, 0 at work, 0 to come"]
    assert isinstance(board.console.file, StringIO)
    assert board.console.file.getvalue() == "a: ok after 1 min 45 s\nb: ok after 1 min 45 s\n"


def test_a_table_on_terminals_alone(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching([make()]) as watcher:
        assert isinstance(watcher, Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with watching([make()]) as watcher:
        assert isinstance(watcher, Board)
