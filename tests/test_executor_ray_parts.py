"""What the executor on Ray is made of, without Ray: handing out jobs, a node's task, stores that are not shared."""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import Bench

from genbench import __version__
from genbench.errors import GenbenchError
from genbench.executors import carrying, dispatching, gathering
from genbench.executors.dispatching import AHEAD, Dispatch, Done, Letter, Lost
from genbench.executors.gathering import bring_home, folder_in, has_ended, marked, sees
from genbench.executors.interface import Ended, Job, Terms
from genbench.executors.ray_cluster import RayExecutor
from genbench.executors.ray_driver import check_room, connected, runs_at_once
from genbench.executors.ray_task import Expected, Mailbox, Order, Part, examine, parts_of, work
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.store import lock, read_record, write_record


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


class FakeRay:
    """As much of Ray as a task touches, in one process."""

    class exceptions:  # noqa: N801
        RayError = RuntimeError

    @staticmethod
    def get(value: object, timeout: float | None = None) -> object:
        return value

    @staticmethod
    def get_runtime_context() -> Any:
        return SimpleNamespace(get_accelerator_ids=lambda: {"GPU": ["3"]})


class Handle:
    """A mailbox as tasks hold it."""

    def __init__(self, box: Mailbox) -> None:
        for name in ("begin", "put", "stopping"):
            setattr(self, name, SimpleNamespace(remote=getattr(box, name)))


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mailbox:
    """This process as a node, with a cache of its own."""
    monkeypatch.setitem(sys.modules, "ray", FakeRay)
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "its cache"))
    monkeypatch.chdir(tmp_path)
    return Mailbox()


def order(bench: Bench, **changes: Any) -> Order:
    job, runs = job_of(bench), bench.around.runs
    expected = Expected((), Path.cwd(), runs / ".mark")
    runs.mkdir(exist_ok=True)
    (runs / ".mark").touch()
    fields: dict[str, Any] = {"number": 4, "attempt": 0, "job": job, "terms": Terms(runs, bench.around.cache)}
    return Order(**(fields | {"device": "cpu", "expected": expected, "ended": False} | changes))


def carried(monkeypatch: pytest.MonkeyPatch, *ends: str) -> list[Terms]:
    """Let runs end as said, one after the other, and return the list of what they are given."""
    given: list[Terms] = []

    def carry_out(job: Job, terms: Terms, device: str, tell: Any, stop: Callable[[], bool]) -> Ended:
        given.append(terms)
        tell.said(f"on {device}")
        tell.advanced(16)
        return Ended(ends[len(given) - 1])  # type: ignore[arg-type]

    monkeypatch.setattr(carrying, "carry_out", carry_out)
    return given


def test_a_task_tells_of_its_run_and_says_how_it_ended(
    bench: Bench, node: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = carried(monkeypatch, "ok")
    asked = order(bench)
    assert work(__version__, pickle.dumps(asked), Handle(node)) == Done(Ended("ok"))
    assert given == [asked.terms]
    begun, *others = node.letters
    assert (begun.number, begun.attempt, begun.kind) == (4, 0, "begun")
    assert begun.text.endswith(" gpu 3")
    assert others == [Letter(4, 0, "said", "on cpu"), Letter(4, 0, "advanced", images_seen=16)]
    assert node.empty(stop=True) == [begun, *others]
    assert (node.letters, node.stopping()) == ([], True)


def test_a_task_begins_nothing_after_the_wish_to_stop(
    bench: Bench, node: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = carried(monkeypatch)
    node.empty(stop=True)
    assert work(__version__, pickle.dumps(order(bench)), Handle(node)) == Done(Ended("stopped"))
    assert (given, node.letters) == ([], [])


def test_a_node_with_another_version_unpacks_nothing(bench: Bench, node: Mailbox) -> None:
    done = work("0.0.7", b"of a version to come", Handle(node))
    assert done.ended.status == "failed"
    assert f"has genbench {__version__}, expected 0.0.7" in str(done.ended.reason)
    assert done.ended.reason == examine("0.0.7", b"of a version to come")
    assert node.letters == []


def test_a_node_must_have_the_same_plugins(bench: Bench, node: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    given = carried(monkeypatch)
    installed = Plugins.load()
    version = installed.origin("models", "vae")[1]
    vae = Part("models", "vae", "genbench", version)
    mine = Part("similarities", "mine", "genbenchfile.py", "sha256-0123456789ab")
    older = Part("models", "vae", "genbench", "0.0.1")
    for parts, complaint in (((vae,), None), ((vae, mine), "lacks `mine` of genbenchfile.py"), ((older,), "expected")):
        problem = examine(__version__, pickle.dumps(Expected(parts, Path.cwd(), Path("m"))))
        assert complaint is None if problem is None else complaint is not None and complaint in problem
    lacking = order(bench, expected=Expected((mine,), Path.cwd(), Path("m")))
    assert work(__version__, pickle.dumps(lacking), Handle(node)).ended.status == "failed"
    assert given == []


def test_a_genbenchfile_is_found_where_the_driver_works(
    bench: Bench, node: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    text = "import genbench\n@genbench.hookimpl\ndef genbench_similarities():\n"
    text += "    yield genbench.SimilaritySpec('mine', '', 'a:B')\n"
    (here / "genbenchfile.py").write_text(text)
    part = Part("similarities", "mine", *Plugins.load(here).origin("similarities", "mine"))
    monkeypatch.chdir(there)
    assert examine(__version__, pickle.dumps(Expected((part,), here, Path("m")))) is None
    (here / "genbenchfile.py").write_text(text + "\n# another state of it\n")
    assert "expected" in str(examine(__version__, pickle.dumps(Expected((part,), here, Path("m")))))
    monkeypatch.chdir(there)
    assert "lacks" in str(examine(__version__, pickle.dumps(Expected((part,), tmp_path / "gone", Path("m")))))


def test_a_node_apart_has_a_store_of_its_own_and_sends_the_record(
    bench: Bench, node: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = bench.finish(job_of(bench).config)
    away = folder_in(tmp_path / "its cache" / "apart", job_of(bench).config)
    expected = Expected((), Path.cwd(), tmp_path / "elsewhere" / ".mark")
    given = carried(monkeypatch, "ok", "failed", "ok")
    # The weights are in the other store: to score them here would be to train them here.
    done = work(__version__, pickle.dumps(order(bench, expected=expected, ended=True)), Handle(node))
    assert "does not share" in str(done.ended.reason)
    assert given == []

    away.path.mkdir(parents=True)
    write_record(away, record)
    done = work(__version__, pickle.dumps(order(bench, expected=expected, ended=True)), Handle(node))
    assert done == Done(Ended("ok"), away.record_path.read_bytes())
    assert given[0].runs == tmp_path / "its cache" / "apart"
    assert given[0].cache == tmp_path / "its cache"
    assert any("weights and images stay there" in letter.text for letter in node.letters)
    # The record is of an earlier time: it does not tell how the run ended now.
    assert work(__version__, pickle.dumps(order(bench, expected=expected)), Handle(node)).record is None


def test_parts_are_what_runs_name(bench: Bench) -> None:
    jobs = [Job("a", bench.config("vaegan", evaluators=("mse",))), Job("b", bench.config("gan", evaluators=("fid",)))]
    found = {(part.kind, part.name) for part in parts_of(bench.plugins, jobs)}
    assert found >= {("models", "vaegan"), ("models", "gan"), ("similarities", "dis-l"), ("datasets", "blobs")}
    assert ("evaluators", "fid") in found
    assert len(parts_of(bench.plugins, jobs * 5)) == len(found)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_cpus": 0.0}, "0.0 CPUs"),
        ({"num_gpus": 2.0}, "on one at most"),
        ({"num_gpus": -0.5}, "-0.5 GPUs"),
        ({"device": "cuda:1"}, "Ray says which"),
        ({"device": "cpu", "num_gpus": 0.5}, "its device is `cpu`"),
        ({"device": "cuda", "num_gpus": 0.0}, "0 GPUs"),
        ({"retries": -1}, "retried -1 times"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match=complaint) as error:
        RayExecutor(Terms(tmp_path, tmp_path), **options)
    assert error.value.hint


def test_ray_that_is_not_installed_is_named_with_the_extra(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    executor = RayExecutor(Terms(tmp_path / "runs", tmp_path))
    with pytest.raises(GenbenchError, match="Ray is not installed") as error:
        executor.execute([job_of(bench)], Diary(), lambda: False)
    assert error.value.hint == "pip install 'genbench[ray]'"
    executor.execute([], Diary(), lambda: False)
    assert not (tmp_path / "runs").exists()


class Starting:
    """Ray that can be started, and meddles with signals as Ray does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, Any], str | None]] = []
        self.ended = 0

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str, **options: Any) -> None:
        self.calls.append((address, options, os.environ.get("RAY_USAGE_STATS_ENABLED")))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        if self.error is not None:
            raise self.error

    def shutdown(self) -> None:
        self.ended += 1


def test_ray_is_started_in_silence_and_leaves_signals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    ray = Starting()
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        for given in (None, address):
            with connected(ray, given):
                assert signal.getsignal(signal.SIGTERM) is before, "the suite saves its runs on SIGTERM"
    (local, options, statistics), (there, _, _) = ray.calls
    assert (local, there, statistics, ray.ended) == ("local", address, "0", 2)
    assert (options["include_dashboard"], options["log_to_driver"]) == (False, False)
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


def test_a_cluster_that_is_not_there_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    ray = Starting(ConnectionError("Could not find any running Ray instance.\nMore about that."))
    with pytest.raises(GenbenchError, match=r"no Ray at auto: Could not find any running Ray instance\.$") as error:
        connected(ray, "auto").__enter__()
    assert "ray start --head" in str(error.value.hint)
    assert signal.getsignal(signal.SIGTERM) is before
    calls = len(ray.calls)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"127.0.0.1:{gone.getsockname()[1]}"
    for address in ("ray://head:10001", "head", "head:", ":6379", "head:x"):
        with pytest.raises(GenbenchError, match="not the address of a Ray cluster's head"):
            connected(ray, address).__enter__()
    with pytest.raises(GenbenchError, match=f"no Ray at {nobody}: .*refused"):
        connected(ray, nobody).__enter__()
    monkeypatch.setenv("RAY_ADDRESS", nobody)
    with pytest.raises(GenbenchError, match=f"no Ray at {nobody}"):
        connected(ray, "auto").__enter__()
    assert len(ray.calls) == calls


def test_room_is_counted_by_whole_runs() -> None:
    def node(cpus: float, gpus: float = 0.0, alive: bool = True) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus} if alive else {}}

    assert [runs_at_once(node(8, 2), 1.0, gpus) for gpus in (0.0, 1.0, 0.5, 0.1, 0.3)] == [8, 2, 4, 8, 6]
    assert runs_at_once(node(1), 0.1, 0.0) == 10
    assert runs_at_once(node(8, alive=False), 1.0, 0.0) == 0
    check_room([node(1), node(8, 1), node(8, 1, alive=False)], 2.0, 1.0)
    with pytest.raises(GenbenchError, match=r"no node of the Ray cluster has 16 CPUs and 1 GPUs.*most are 8 CPUs, 1"):
        check_room([node(1), node(8, 1), node(16, 1, alive=False)], 16.0, 1.0)


def test_runs_compute_on_gpus_where_ray_gives_them_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    with_gpu = [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}]
    without = [{"Alive": True, "Resources": {"CPU": 8.0}}]

    def chosen(nodes: list[dict[str, Any]], **options: Any) -> tuple[float, str]:
        executor = RayExecutor(Terms(tmp_path, tmp_path), **options)
        gpus = executor._gpus(nodes)
        return gpus, executor._device(gpus)

    assert chosen(with_gpu) == (1.0, "cuda")
    assert chosen(with_gpu, num_gpus=0.25) == (0.25, "cuda")
    assert chosen(with_gpu, num_gpus=0.0) == (0.0, "cpu"), "not one that Ray may give to others"
    assert chosen(with_gpu, device="cpu") == (0.0, "cpu")
    assert chosen(without) == (0.0, "cpu")
    assert chosen(without, device="cuda") == (1.0, "cuda"), "which no node can carry out, and that is said"
