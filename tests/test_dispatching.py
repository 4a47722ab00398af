"""Handing out jobs to a cluster, which here is none, and stores that not all of its machines share."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import Bench

from genbench.executors import dispatching, gathering
from genbench.executors.dispatching import AHEAD, Dispatch, Done, Letter, Lost
from genbench.executors.gathering import bring_home, has_ended, marked, sees
from genbench.executors.interface import Ended, Job
from genbench.records import Record
from genbench.store import folder_in, lock, read_record, write_record


class FakeCluster:
    """Two runs at once, each over after a look, unless its worker is lost so many times, or it is not free."""

    def __init__(
        self,
        losses: dict[int, int] | None = None,
        busy: dict[int, str] | None = None,
        free: dict[str, bool] | None = None,
    ) -> None:
        self.losses = losses or {}
        self.busy = busy or {}
        self.free = free or {}
        self.handed: list[tuple[int, int]] = []
        self.posted: list[Letter] = []
        self.at_once = 0
        self.stopping = False
        self.dropped: list[tuple[int, int]] = []

    def room(self) -> int:
        return 2

    def hand_out(self, number: int, attempt: int, job: Job) -> tuple[int, int]:
        self.handed.append((number, attempt))
        return number, attempt

    def wait(self, tickets: Collection[tuple[int, int]]) -> Sequence[tuple[int, int]]:
        self.at_once = max(self.at_once, len(tickets))
        running = list(tickets)[:2]
        for number, attempt in running:
            self.posted.append(Letter(number, attempt, "begun", "here"))
            self.posted.append(Letter(number, attempt - 1, "said", "from beyond the grave"))
            self.posted.append(Letter(number, attempt, "advanced", images_seen=8))
        return running

    def letters(self, stopping: bool) -> Sequence[Letter]:
        self.stopping = stopping
        posted, self.posted = self.posted, []
        return posted

    def take(self, ticket: tuple[int, int]) -> Done:
        number, attempt = ticket
        if attempt < self.losses.get(number, 0):
            raise Lost("the ground opened")
        if number in self.busy and not self.free[self.busy[number]]:
            return Done(Ended("busy", "in use"))
        return Done(Ended("stopped" if self.stopping else "ok"))

    def drop(self, tickets: Collection[tuple[int, int]]) -> None:
        self.dropped = list(tickets)


class Diary:
    """A watcher that writes down all that it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, object]] = []

    def started(self, job: Job, where: str) -> None:
        self.lines.append((job.label, "started", where))

    def advanced(self, job: Job, images_seen: int) -> None:
        self.lines.append((job.label, "advanced", images_seen))

    def said(self, job: Job, message: str) -> None:
        self.lines.append((job.label, "said", message))

    def ended(self, job: Job, how: Ended) -> None:
        self.lines.append((job.label, "ended", how))

    def of(self, label: str) -> list[tuple[str, object]]:
        return [(what, value) for name, what, value in self.lines if name == label]


def dispatch(
    cluster: FakeCluster, count: int, stop: Callable[[], bool] = lambda: False, retries: int = 2
) -> tuple[Diary, list[str]]:
    """Return what the watcher was told, and the order in which jobs ended."""
    jobs: Any = [SimpleNamespace(label=str(number), config=str(number)) for number in range(count)]
    diary = Diary()
    Dispatch(cluster, Path("nowhere"), jobs, diary, stop, retries).go()
    return diary, [label for label, what, _ in diary.lines if what == "ended"]


def test_jobs_are_handed_out_in_order_and_few_at_a_time() -> None:
    cluster = FakeCluster()
    diary, ended = dispatch(cluster, 1000)
    assert ended == [str(number) for number in range(1000)]
    assert cluster.handed == [(number, 0) for number in range(1000)]
    assert cluster.at_once == 2 + AHEAD
    assert diary.of("7") == [("started", "here"), ("advanced", 8), ("ended", Ended("ok"))]


def test_the_lost_are_retried_at_once_but_not_for_ever() -> None:
    cluster = FakeCluster(losses={1: 2, 2: 3})
    diary, ended = dispatch(cluster, 20)
    assert [attempt for number, attempt in cluster.handed if number == 1] == [0, 1, 2]
    assert cluster.handed.index((1, 1)) < cluster.handed.index((6, 0)), "before those that have not had a turn"
    begun, at_8 = ("started", "here"), ("advanced", 8)
    lost = "its worker was lost: the ground opened; retried, {} of 2 times"
    assert diary.of("1") == [
        *(begun, at_8, ("said", lost.format(1))),
        *(begun, at_8, ("said", lost.format(2))),
        *(begun, at_8, ("ended", Ended("ok"))),
    ]
    assert diary.of("2")[-1] == ("ended", Ended("failed", "its worker was lost 3 times: the ground opened"))
    assert sorted(map(int, ended)) == list(range(20)), "each ends once"


def test_after_the_wish_to_stop_nothing_is_begun() -> None:
    cluster = FakeCluster(losses={2: 1})
    looks = iter([False, True])
    diary, ended = dispatch(cluster, 100, lambda: next(looks))
    assert cluster.handed == [(number, 0) for number in range(4)]
    assert ended == ["0", "1", "2", "3"]
    assert diary.of("2")[-1] == ("ended", Ended("stopped", "its worker was lost: the ground opened"))
    assert {label for label, _, _ in diary.lines} == {"0", "1", "2", "3"}, "of the others there is nothing to tell"


def test_a_run_that_another_process_is_at_waits_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = {"1": False, "3": False}
    monkeypatch.setattr(dispatching, "LOOK_S", 0.0)
    monkeypatch.setattr(dispatching, "is_free", lambda runs, config: free[config])
    cluster = FakeCluster(busy={1: "1", 3: "3"}, free=free)

    def stop() -> bool:
        free["1"] = free["1"] or len(cluster.handed) == 20
        return (1, 0) in cluster.handed[20:]

    diary, ended = dispatch(cluster, 20, stop)
    assert ended[-2:] == ["3", "1"], "the others go on meanwhile"
    assert [number for number, _ in cluster.handed if number in (1, 3)] == [1, 3, 1], "not asked for again until free"
    waits = ("said", "waits: another process is at this run")
    begun = [("started", "here"), ("advanced", 8)]
    assert diary.of("1") == [*begun, waits, *begun, ("ended", Ended("stopped"))]
    assert diary.of("3") == [*begun, waits, ("ended", Ended("busy", "in use"))]


def test_an_interruption_leaves_nothing_behind() -> None:
    cluster = FakeCluster()

    def interrupted() -> bool:
        if cluster.handed:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        dispatch(cluster, 10, interrupted)
    assert cluster.dropped == [(2, 0), (3, 0)]


def job_of(bench: Bench, seed: int = 0) -> Job:
    return Job(f"blobs {seed}", bench.config(evaluators=("mse",), seed=seed))


@pytest.fixture
def made(bench: Bench) -> tuple[Job, Record]:
    """A run that was carried out on another machine."""
    job = job_of(bench)
    return job, bench.finish(job.config)


def sent(record: Record) -> bytes:
    return record.model_dump_json(by_alias=True).encode()


def test_a_record_that_comes_home_is_written(made: tuple[Job, Record], tmp_path: Path) -> None:
    job, record = made
    assert not has_ended(tmp_path / "home", job.config)
    assert bring_home(tmp_path / "home", job, sent(record)) is None
    assert read_record(folder_in(tmp_path / "home", job.config).record_path) == record
    assert has_ended(tmp_path / "home", job.config)


def test_a_record_that_comes_home_is_not_trusted(bench: Bench, made: tuple[Job, Record], tmp_path: Path) -> None:
    job, record = made
    home = tmp_path / "home"
    for content, complaint in (
        (b"{}", "not a genbench record"),
        (sent(record)[:-100], "half-written"),
        (sent(record).replace(b'"status":"ok"', b'"status":"splendid"'), "status"),
    ):
        ended = bring_home(home, job, content)
        assert ended is not None
        assert ended.status == "failed"
        assert complaint in str(ended.reason)
    other = bring_home(home, job_of(bench, seed=1), sent(record))
    assert other is not None
    assert "of another configuration" in str(other.reason)
    assert list(home.rglob("record.json")) == []


def test_a_record_that_is_there_is_added_to_or_kept(made: tuple[Job, Record], tmp_path: Path) -> None:
    job, record = made
    folder = folder_in(tmp_path / "home", job.config)
    failed = record.model_copy(
        update={"status": "failed", "reason": "out of luck", "scores": (), "weights_sha256": None}
    )
    folder.path.mkdir(parents=True)
    write_record(folder, failed)
    assert not has_ended(tmp_path / "home", job.config)
    assert bring_home(tmp_path / "home", job, sent(record)) is None
    assert read_record(folder.record_path) == record
    late = bring_home(tmp_path / "home", job, sent(failed))
    assert late is not None
    assert "the first is kept" in str(late.reason)
    others = bring_home(tmp_path / "home", job, sent(record.model_copy(update={"weights_sha256": "0" * 64})))
    assert others is not None
    assert "weights" in str(others.reason)
    assert read_record(folder.record_path) == record
    with lock(folder.path):
        busy = bring_home(tmp_path / "home", job, sent(record))
    assert busy is not None
    assert busy.status == "busy"


def test_a_store_is_known_by_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(gathering, "sleep", pauses.append)
    with marked(tmp_path / "runs") as mark:
        assert sees(mark)
        assert not sees(tmp_path / "other" / mark.name)
        assert pauses == []
        assert not sees(mark.with_name(".mark-of-another"))
        assert sum(pauses) > 1, "a network file system may show it late"
        # What comes late is seen.
        late = mark.with_name(".mark-late")
        monkeypatch.setattr(gathering, "sleep", lambda _: late.touch())
        assert sees(late)
    assert not mark.exists()
