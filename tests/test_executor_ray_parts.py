"""What the executor on Ray is made of, without Ray: the task on a node, connecting, and what makes no sense."""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench import Bench

from genbench import __version__
from genbench.errors import GenbenchError
from genbench.executors import carrying
from genbench.executors.dispatching import Done, Letter
from genbench.executors.interface import Ended, Job, Terms
from genbench.executors.ray_cluster import RayExecutor
from genbench.executors.ray_driver import check_room, connected, runs_at_once
from genbench.executors.ray_task import Expected, Mailbox, Order, Part, examine, parts_of, work
from genbench.plugins import Plugins
from genbench.store import folder_in, write_record


def job_of(bench: Bench, seed: int = 0) -> Job:
    return Job(f"blobs {seed}", bench.config(evaluators=("mse",), seed=seed))


class Unused:
    """A watcher that is told nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


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
        executor.execute([job_of(bench)], Unused(), lambda: False)
    assert error.value.hint == "pip install 'genbench[ray]'"
    executor.execute([], Unused(), lambda: False)
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
