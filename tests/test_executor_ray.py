"""Runs on a local Ray cluster: workers that are killed, runs that fail, stopping, and stores that are not shared."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from genbench.config import RunConfig
from genbench.exchange import read_all
from genbench.executors import ray_cluster
from genbench.executors.interface import Ended, Job, Terms
from genbench.executors.ray_cluster import RayExecutor
from genbench.executors.ray_driver import connected, import_ray
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.resolution import RunRequest, resolve
from genbench.store import folder_in, lock, read_record

BATCH, STEPS, FAULT_AT = 8, 8, 5
TINY = ("network.kind=mlp", "network.width=0.05", "network.latent_size=4", "network.encoder_hidden=64")
PLUGIN = f"""
import os
from pathlib import Path
from time import sleep

import genbench
from genbench.train import loop
from genbench_vae.model import Vae


@genbench.hookimpl
def genbench_models():
    yield genbench.ModelSpec("faulty", "", "genbenchfile:Faulty", "genbench_vae.settings:VaeSettings", similarity="mse")


class Faulty(Vae):
    '''In the fifth step it does what the file of its seed says, if there is one.'''

    def __init__(self, blueprint, settings):
        super().__init__(blueprint, settings)
        self.fault = Path("faults", str(blueprint.seed))

    def losses(self, batch):
        if self.fault.parent.exists():
            loop.SAVE_S = 0.0  # a checkpoint at each step, not once a minute
        if batch.images_seen >= {(FAULT_AT - 1) * BATCH} and self.fault.exists():
            self.carry_out(self.fault.read_text())
        return super().losses(batch)

    def carry_out(self, what):
        if what == "raise":
            raise RuntimeError("out of luck")
        if what == "exit":
            os._exit(1)
        waiting = self.fault.with_suffix(".pid")
        waiting.with_suffix(".new").write_text(str(os.getpid()))
        waiting.with_suffix(".new").rename(waiting)
        for _ in range(600):
            if not self.fault.exists():
                return
            sleep(0.1)
"""


class Watch:
    """A watcher that keeps all that it is told, by seed."""

    def __init__(self) -> None:
        self.starts: dict[int, list[str]] = {}
        self.seen: dict[int, list[int]] = {}
        self.words: dict[int, list[str]] = {}
        self.ends: dict[int, Ended] = {}

    def started(self, job: Job, where: str) -> None:
        assert job.config.seed not in self.ends
        self.starts.setdefault(job.config.seed, []).append(where)

    def advanced(self, job: Job, images_seen: int) -> None:
        self.seen.setdefault(job.config.seed, []).append(images_seen)

    def said(self, job: Job, message: str) -> None:
        self.words.setdefault(job.config.seed, []).append(message)

    def ended(self, job: Job, how: Ended) -> None:
        assert job.config.seed in self.starts
        assert job.config.seed not in self.ends
        self.ends[job.config.seed] = how


class Bench:
    """A working folder with a `genbenchfile.py`, and a store in it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        (folder / "genbenchfile.py").write_text(PLUGIN)
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.plugins = Plugins.load(folder)
        self.terms = Terms(folder / "runs", cache, threads=1)
        self.address: str | None = None

    def job(self, seed: int, model: str = "faulty") -> Job:
        request = RunRequest(
            model, "digits", size=28, seed=seed, images=STEPS * BATCH, batch_size=BATCH, evaluators=(), settings=TINY
        )
        return Job(f"{model} {seed}", resolve(self.plugins, request))

    def execute(
        self, *jobs: Job, stop: Callable[[], bool] = lambda: False, retries: int = 2, watch: Watch | None = None
    ) -> Watch:
        """Carry out jobs, two at a time."""
        watch = watch or Watch()
        RayExecutor(self.terms, self.address, "cpu", 1.0, 0, retries).execute(jobs, watch, stop)
        return watch

    def fault(self, seed: int, what: str) -> None:
        (self.faults / str(seed)).write_text(what)

    def waiting(self, seed: int) -> int | None:
        """Return the process in which a run waits in its fifth step."""
        path = self.faults / f"{seed}.pid"
        return int(path.read_text()) if path.exists() else None

    def record(self, job: Job) -> Record:
        return read_record(folder_in(self.terms.runs, job.config).record_path)

    def log(self, job: Job) -> str:
        return folder_in(self.terms.runs, job.config).log_path.read_text()

    def uninterrupted(self, config: RunConfig, folder: Path) -> Record:
        """Return the record of the same run in one go, in this process."""
        from genbench.pipeline import Surroundings, run

        around = Surroundings(folder, self.terms.cache, device="cpu")
        record = run(self.plugins, config, around, Silent(), lambda: False)
        assert record is not None
        return record


class Silent:
    def started(self, images_seen: int, budget: int) -> None: ...
    def advanced(self, images_seen: int, row: object) -> None: ...
    def preparing(self, done: int, total: int) -> None: ...
    def said(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cluster(cache: Path) -> Iterator[Any]:
    """Start a cluster of two nodes on this machine, each with room for one run, and connect to it."""
    if find_spec("ray") is None:
        pytest.skip("the extra `ray` is not installed")
    ray = import_ray()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENBENCH_CACHE", str(cache))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            before = signal.getsignal(signal.SIGTERM)
            with connected(ray, cluster.address):
                assert signal.getsignal(signal.SIGTERM) is before, "the suite saves its runs on SIGTERM"
                yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def bench(cluster: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    import torch

    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench(tmp_path, cache)
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_runs_nothing_twice(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [bench.job(seed) for seed in range(3)]
    bench.fault(1, "wait")

    def kill_once() -> bool:
        pid = bench.waiting(1)
        if pid is not None and (bench.faults / "1").exists():
            (bench.faults / "1").unlink()
            os.kill(pid, signal.SIGKILL)
        return False

    watch = bench.execute(*jobs, stop=kill_once)
    out, err = capfd.readouterr()
    assert out == ""
    assert "ray" not in err.lower()
    assert watch.ends == dict.fromkeys(range(3), Ended("ok"))
    assert {seed: len(starts) for seed, starts in watch.starts.items()} == {0: 1, 1: 2, 2: 1}
    assert any("worker was lost" in words for words in watch.words[1])
    assert all(watch.seen[seed][-1] == STEPS * BATCH for seed in range(3))
    records, problems = read_all([bench.terms.runs])
    assert (len(records), problems) == (3, [])
    assert list(bench.terms.runs.glob(".mark-*")) == []

    killed, *others = [bench.log(jobs[i]) for i in (1, 0, 2)]
    where = f"resuming after {(FAULT_AT - 1) * BATCH} of {STEPS * BATCH} images"
    assert (killed.count("begun:"), killed.count("training from 0"), killed.count(where)) == (2, 1, 1)
    assert killed.count("ended:") == 1
    for log in others:
        assert [log.count(word) for word in ("begun:", "training from 0", "resuming", "ended:")] == [1, 1, 0, 1]
    bench.faults.rename(tmp_path / "no faults")  # which would shorten the time between checkpoints here as well
    for job in jobs[:2]:
        whole = bench.uninterrupted(job.config, tmp_path / "other")
        assert whole.weights_sha256 is not None
        assert bench.record(job).weights_sha256 == whole.weights_sha256


@pytest.mark.slow
def test_one_that_fails_costs_no_other(bench: Bench) -> None:
    bench.fault(0, "raise")
    bench.fault(1, "exit")
    jobs = [bench.job(seed) for seed in range(4)]
    held = folder_in(bench.terms.runs, jobs[2].config).path
    watch = Watch()
    with ExitStack() as stack:
        stack.enter_context(lock(held))

        def let_go_at_the_end() -> bool:
            if {0, 1, 3} <= watch.ends.keys() and 2 in watch.words:
                stack.close()
            return False

        bench.execute(*jobs, stop=let_go_at_the_end, retries=1, watch=watch)
    assert watch.ends[0] == Ended("failed", "RuntimeError: out of luck")
    assert watch.ends[1].status == "failed"
    assert "its worker was lost 2 times" in str(watch.ends[1].reason)
    assert watch.ends[2] == watch.ends[3] == Ended("ok")
    assert {seed: len(starts) for seed, starts in watch.starts.items()} == {0: 1, 1: 2, 2: 2, 3: 1}
    assert watch.words[2] == ["waits: another process is at this run"]
    assert bench.record(jobs[0]).status == "failed"
    assert [bench.log(jobs[seed]).count("training from 0") for seed in range(4)] == [1, 1, 1, 1]


@pytest.mark.slow
def test_stopping_saves_and_the_next_time_goes_on(bench: Bench, tmp_path: Path) -> None:
    jobs = [bench.job(seed) for seed in range(4)]
    for seed in range(2):
        bench.fault(seed, "wait")
    # Released, they go on slowly until they hear of the wish to stop.
    slow = PLUGIN.replace("return super().losses", "sleep(1.5 if batch.images_seen else 0); return super().losses")
    (tmp_path / "genbenchfile.py").write_text(slow)
    asked = []

    def stop() -> bool:
        if not asked and all(bench.waiting(seed) is not None for seed in range(2)):
            asked.append(True)
            for seed in range(2):
                (bench.faults / str(seed)).unlink()
        return bool(asked)

    watch = bench.execute(*jobs, stop=stop)
    assert watch.ends == {0: Ended("stopped"), 1: Ended("stopped")}
    assert set(watch.starts) == {0, 1}, "no more at once than fit, and none after the wish to stop"
    assert read_all([bench.terms.runs]) == ([], [])

    (tmp_path / "genbenchfile.py").write_text(PLUGIN)
    again = bench.execute(*jobs[:2])
    assert again.ends == {0: Ended("ok"), 1: Ended("ok")}
    for job in jobs[:2]:
        assert bench.log(job).count("training from 0") == 1
        assert bench.log(job).count("resuming after") == 1


@pytest.mark.slow
def test_a_node_that_does_not_share_the_store_sends_its_record_home(
    bench: Bench, cluster: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes are on this machine, so the mark is left where none of them looks."""

    @contextmanager
    def elsewhere(runs: Path) -> Iterator[Path]:
        yield tmp_path / "not there" / ".mark"

    monkeypatch.setattr(ray_cluster, "marked", elsewhere)
    job = bench.job(0)
    watch = bench.execute(job)
    assert watch.ends == {0: Ended("ok")}
    assert any("does not share the store" in words for words in watch.words[0])
    home, away = folder_in(bench.terms.runs, job.config), folder_in(cache / "apart", job.config)
    assert read_record(home.record_path) == read_record(away.record_path)
    assert away.checkpoint_path.exists()
    assert sorted(path.name for path in home.path.iterdir()) == [".lock", "config.toml", "record.json"]


@pytest.mark.slow
def test_a_lost_nodes_runs_go_on_elsewhere(bench: Bench, cluster: Any) -> None:
    bench.address = cluster.address
    jobs = [bench.job(seed) for seed in range(2)]
    for seed in range(2):
        bench.fault(seed, "wait")
    watch, lost = Watch(), []

    def lose_one() -> bool:
        if not lost and all(bench.waiting(seed) is not None for seed in range(2)):
            lost.append(cluster.worker_nodes.pop())
            cluster.worker_nodes.add(lost[0])
            cluster.remove_node(lost[0], allow_graceful=False)
        if any("worker was lost" in word for words in watch.words.values() for word in words):
            for seed in range(2):
                (bench.faults / str(seed)).unlink(missing_ok=True)
        return False

    bench.execute(*jobs, stop=lose_one, watch=watch)
    assert lost
    assert watch.ends == {0: Ended("ok"), 1: Ended("ok")}
    kept, moved = sorted(len(starts) for starts in watch.starts.values())
    assert (kept, moved > 1) == (1, True)
    assert all(bench.log(job).count("training from 0") == 1 for job in jobs)
    assert sorted(bench.log(job).count("resuming after") for job in jobs) == [0, 1]
