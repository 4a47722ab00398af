"""What a run tells of its progress, under a clock that the test turns."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from genbench.cli import progress
from genbench.cli.progress import Bars, Lines, Pace, clock, observing


class Time:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    turned = Time()
    monkeypatch.setattr(progress, "perf_counter", turned)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return turned


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return the lines on stderr since the last call; stdout must stay empty."""

    def lines() -> list[str]:
        out, err = capsys.readouterr()
        assert out == ""
        return list(err.splitlines())

    return lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (7.4, "7 s"),
        (59.6, "1 min 00 s"),
        (250, "4 min 10 s"),
        (3599.7, "1 h 00 min"),
        (12_059, "3 h 20 min"),
        (360_000, "100 h 00 min"),
        (float("inf"), "?"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_pace_is_that_of_this_process_alone(time: Time) -> None:
    pace = Pace(600, 1000)
    assert pace.left_s(600) == float("inf")
    time.now += 10
    assert pace.images_per_s(700) == 10
    assert pace.left_s(700) == 30
    assert pace.left_s(1008) == 0


def test_a_line_every_few_seconds_and_one_at_the_end(time: Time, told: Callable[[], list[str]]) -> None:
    lines = Lines(warn_if_slow=False)
    lines.started(0, 1000)
    for images_seen in range(10, 1001, 10):
        time.now += 1
        lines.advanced(images_seen, {})
    shown = told()
    assert len(shown) == 20
    assert shown[0] == "20 of 1,000 images, 10 images/s, 1 min 38 s left"
    assert shown[1].startswith("70 of 1,000 images")
    lines.advanced(1000, {"kl": 1.23456, "like": 98765.4, "other": 3.0, "gan.real": 0.5})
    assert told() == ["1,000 of 1,000 images, 10 images/s, 0 s left  kl 1.235 like 9.877e+04 gan.real 0.5"]


def test_the_latest_row_is_shown_until_there_is_another(time: Time, told: Callable[[], list[str]]) -> None:
    lines = Lines(warn_if_slow=False)
    lines.started(0, 1000)
    for images_seen, row in ((10, {}), (20, {"kl": 2.0}), (30, {})):
        time.now += 10
        lines.advanced(images_seen, row)
    assert [line.endswith("kl 2") for line in told()] == [True, True]


def test_preparing_is_told_now_and_then_and_at_its_end(time: Time, told: Callable[[], list[str]]) -> None:
    lines = Lines(warn_if_slow=False)
    for done in range(1, 13):
        time.now += 1
        lines.preparing(done * 100, 1200)
    assert told() == [f"preparing {n} of 1,200 images" for n in ("100", "600", "1,100", "1,200")]


def test_resuming_is_told_but_not_beginning_nor_having_ended(time: Time, told: Callable[[], list[str]]) -> None:
    for images_seen in (0, 1000, 1008):
        Lines(warn_if_slow=False).started(images_seen, 1000)
    assert told() == []
    Lines(warn_if_slow=False).started(400, 1000)
    assert told() == ["resuming after 400 of 1,000 images"]


NOTE = "note: at 100 images/s on this CPU the run takes about"


@pytest.mark.parametrize(("budget", "warned"), [(360_500, False), (370_000, True), (4_000_000, True), (10_000, False)])
def test_over_an_hour_on_a_cpu_quick_is_recommended_once(
    budget: int, warned: bool, time: Time, told: Callable[[], list[str]]
) -> None:
    lines = Lines(warn_if_slow=True)
    lines.started(0, budget)
    for images_seen in range(100, 3001, 100):
        time.now += 1
        lines.advanced(images_seen, {})
    notes = [line for line in told() if line.startswith("note:")]
    assert len(notes) == warned
    assert all(note.startswith(NOTE) and "--preset quick" in note and "Ctrl-C saves" in note for note in notes)


def test_the_estimate_waits_until_the_speed_is_known(time: Time, told: Callable[[], list[str]]) -> None:
    """The first step may be slow, which says nothing of the rest."""
    lines = Lines(warn_if_slow=True)
    lines.started(0, 100_000)
    time.now += 400
    lines.advanced(8, {})
    assert [line for line in told() if line.startswith("note:")] == []
    time.now += 6
    lines.advanced(1008, {})
    assert [line for line in told() if line.startswith("note:")] == []


def test_where_it_is_not_asked_for_nothing_is_recommended(time: Time, told: Callable[[], list[str]]) -> None:
    lines = Lines(warn_if_slow=False)
    lines.started(0, 10**9)
    time.now += 60
    lines.advanced(8, {})
    assert [line for line in told() if line.startswith("note:")] == []


@pytest.mark.parametrize(("done", "warned"), [(1_000_000, True), (3_999_000, False)])
def test_a_resumed_run_is_judged_by_its_own_speed_and_what_is_left(
    done: int, warned: bool, time: Time, told: Callable[[], list[str]]
) -> None:
    lines = Lines(warn_if_slow=True)
    lines.started(done, 4_000_000)
    lines.advanced(done, {})
    time.now += 6
    lines.advanced(done + 600, {})
    assert len([line for line in told() if line.startswith(NOTE)]) == warned


def test_bars_move_and_speak() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100, highlight=False, markup=False)
    with Progress(TextColumn("{task.description} {task.completed} {task.fields[detail]}"), console=console) as shown:
        bars = Bars(False, console, shown)
        bars.preparing(5, 10)
        bars.preparing(10, 10)
        bars.started(16, 100)
        bars.advanced(24, {})
        bars.said("hello [red] " + "x" * 120)
        tasks = [(task.description, task.completed, task.total) for task in shown.tasks]
    assert tasks == [("preparing", 10, 10), ("training", 24, 100)]
    assert "hello [red] " + "x" * 120 in out.getvalue().replace("\n", "")
    assert "resuming after 16 of 100 images" in out.getvalue()


def test_without_a_terminal_there_are_lines(time: Time) -> None:
    with observing(warn_if_slow=True) as observer:
        assert isinstance(observer, Lines)
        assert observer.warn_if_slow


def test_on_a_terminal_there_are_bars(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", True)
    with observing(warn_if_slow=False) as observer:
        assert isinstance(observer, Bars)
        observer.preparing(1, 2)
        observer.started(0, 10)
        observer.advanced(8, {"kl": 1.0})
