"""Runs in worker processes: several at once, failing, killed, stopped, and held by others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from suites import PLUGIN, Watching, folder_of, make_job, pids

from genbench.errors import GenbenchError
from genbench.executors.freeing import free_memory
from genbench.executors.interface import Ended, Job, Terms
from genbench.executors.local import LocalExecutor
from genbench.pipeline import Surroundings, run
from genbench.plugins import Plugins
from genbench.records import Record
from genbench.runlog import RunObserver
from genbench.store import lock, read_record

SLOW_STEPS = 60


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def terms(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terms]:
    """Work in an empty folder with plugins that go wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    (tmp_path / "genbenchfile.py").write_text(PLUGIN)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Terms(Path("runs"), cache, threads=1)
    torch.set_num_threads(threads)
    assert [pid for pid in pids() if pid != os.getpid() and is_there(pid)] == []


def is_there(pid: int) -> bool:
    """Whether a process is there, also as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Silent(RunObserver):
    def started(self, images_seen: int, budget: int) -> None: ...
    def advanced(self, images_seen: int, row: object) -> None: ...
    def preparing(self, done: int, total: int) -> None: ...
    def said(self, message: str) -> None: ...


def in_this_process(job: Job, terms: Terms) -> Record:
    record = run(Plugins.load(), job.config, Surroundings(Path("own"), terms.cache), Silent(), lambda: False)
    assert record is not None
    return record


def weights(job: Job, terms: Terms) -> str:
    found = read_record(folder_of(job, terms).record_path).weights_sha256
    assert found is not None
    return found


def execute(executor: LocalExecutor, jobs: list[Job], watching: Watching) -> Watching:
    executor.execute(jobs, watching, lambda: False)
    return watching


def test_what_fails_costs_no_other_run_anything(terms: Terms) -> None:
    names = ("slow", "raising", "blind", "loud", "deadly", "slow")
    jobs = [make_job(name, seed) for seed, name in enumerate(names)]
    watching = execute(LocalExecutor(terms, "cpu", jobs=2), jobs, Watching())
    ends = watching.ends
    assert ends["raising-1"] == Ended("failed", "RuntimeError: this measure is")
    assert ends["blind-2"].status == "failed"
    assert str(ends["blind-2"].reason).startswith("Blind: no weight can be measured")
    assert str(ends["deadly-4"].reason).startswith("its process was killed by SIGKILL, as happens where memory runs")
    assert str(ends["deadly-4"].reason).endswith("for the second time; see its log.txt")
    assert watching.told.count(("started", "deadly-4")) == 2
    assert {label: ends[label] for label in ("slow-0", "loud-3", "slow-5")} == dict.fromkeys(
        ("slow-0", "loud-3", "slow-5"), Ended("ok")
    )
    assert read_record(folder_of(jobs[1], terms).record_path).status == "failed"
    assert "genbenchfile.py" in folder_of(jobs[1], terms).log_path.read_text(), "the traceback is kept"
    assert "a last word" in folder_of(jobs[4], terms).log_path.read_text(), "what it printed is kept"
    # After all of that, and after other runs in the same process, the weights are those of a process of its own.
    for job, same in ((jobs[0], jobs[0]), (jobs[3], make_job("slow", 3)), (jobs[5], jobs[5])):
        assert weights(job, terms) == in_this_process(same, terms).weights_sha256


@pytest.mark.slow
def test_a_run_is_what_the_command_would_have_made_of_it(terms: Terms, tmp_path: Path) -> None:
    first, second = make_job("mse"), make_job("l1", 3)
    assert execute(LocalExecutor(terms, "cpu"), [first, second], Watching()).how() == {"mse-0": "ok", "l1-3": "ok"}
    ours = folder_of(second, terms)
    command = ["run", "vae", "toyfaces", "--similarity", "l1", "--seed", "3", "--size", "16", "--width", "0.05"]
    command += ["--images", "128", "--batch-size", "8", "--evaluators", "none", "--device", "cpu", "--threads", "1"]
    command += ["-s", "dataset.count=64", "-s", "network.latent_size=4", "-s", "network.encoder_hidden=64"]
    environment = os.environ | {"GENBENCH_CACHE": str(terms.cache)}
    done = subprocess.run(
        [sys.executable, "-m", "genbench", *command, "--runs", "alone"], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    theirs = Path("alone") / ours.path.relative_to("runs")
    mine, alone = read_record(ours.record_path), read_record(theirs / "record.json")
    assert mine.weights_sha256 == alone.weights_sha256
    assert mine.execution == alone.execution
    assert (ours.path / "curve.jsonl").read_bytes() == (theirs / "curve.jsonl").read_bytes()


@pytest.mark.slow
def test_a_killed_process_costs_nothing(terms: Terms) -> None:
    Path("slow").touch()
    job, other = make_job("slow", steps=SLOW_STEPS), make_job("mse")
    first: list[int] = []

    def kill() -> None:
        Path("slow").unlink()
        first.extend(pids("Slow"))
        os.kill(first[0], signal.SIGKILL)

    watching = execute(LocalExecutor(terms, "cpu"), [job, other], Watching({("advanced", "slow-0"): kill}))
    assert watching.how() == {"slow-0": "ok", "mse-0": "ok"}
    assert watching.told.count(("started", "slow-0")) == 2
    assert any("was killed by SIGKILL" in word and "once more" in word for word in watching.words)
    assert len(set(pids("Slow")) - set(first)) == 1
    assert weights(job, terms) == in_this_process(job, terms).weights_sha256


@pytest.mark.slow
def test_all_that_are_stopped_go_on_next_time(terms: Terms) -> None:
    Path("slow").touch()
    jobs = [make_job("slow", seed, steps=SLOW_STEPS) for seed in range(3)]
    asked: list[str] = []
    wishes = {("advanced", f"slow-{seed}"): lambda: asked.append("stop") for seed in (0, 1)}
    watching, executor = Watching(wishes), LocalExecutor(terms, "cpu", jobs=2)
    executor.execute(jobs, watching, lambda: len(asked) == 2)
    assert watching.how() == {"slow-0": "stopped", "slow-1": "stopped"}, "the third was never begun"
    assert not folder_of(jobs[0], terms).record_path.exists()
    Path("slow").unlink()
    again = execute(executor, jobs, Watching())
    assert again.how() == {"slow-0": "ok", "slow-1": "ok", "slow-2": "ok"}
    assert sum("resuming after" in word for word in again.words) == 2
    for job in jobs:
        assert weights(job, terms) == in_this_process(job, terms).weights_sha256


def test_a_run_that_another_process_holds_has_its_turn_later(terms: Terms) -> None:
    held, free = make_job("mse", 1), make_job("mse", 2)
    with ExitStack() as ours:
        ours.enter_context(lock(folder_of(held, terms).path))
        watching = Watching({("ended", free.label): ours.close})
        execute(LocalExecutor(terms, "cpu"), [held, free], watching)
    assert list(watching.ends.items()) == [(free.label, Ended("ok")), (held.label, Ended("ok"))]
    assert [word for word in watching.words if word.startswith(held.label)] == [
        f"{held.label}: waits: another process is at this run"
    ]


def test_who_waits_for_another_process_can_be_stopped(terms: Terms) -> None:
    job, asked = make_job("mse"), list[bool]()
    with lock(folder_of(job, terms).path):
        watching = Watching({("busy", job.label): lambda: asked.append(True)})
        LocalExecutor(terms, "cpu").execute([job], watching, lambda: bool(asked))
    assert watching.how() == {job.label: "busy"}
    assert "another run is using this folder" in str(watching.ends[job.label].reason)


def test_an_interrupt_ends_all_processes_at_once(terms: Terms) -> None:
    Path("slow").touch()

    def interrupt() -> None:
        assert pids("Slow")
        raise KeyboardInterrupt

    jobs = [make_job("slow", seed, steps=10_000) for seed in range(2)]
    with pytest.raises(KeyboardInterrupt):
        execute(LocalExecutor(terms, "cpu", jobs=2), jobs, Watching({("advanced", "slow-0"): interrupt}))


SCRIPT = """
from pathlib import Path
from suites import Watching, make_job
from genbench.executors.interface import Terms
from genbench.executors.local import LocalExecutor
import sys
terms = Terms(Path("runs"), Path(sys.argv[1]), threads=1)
watching = Watching({("advanced", "slow-0"): lambda: print("under way", flush=True)})
LocalExecutor(terms, "cpu").execute([make_job("slow", steps=10_000)], watching, lambda: False)
"""


def test_workers_of_a_killed_suite_save_and_end(terms: Terms) -> None:
    Path("slow").touch()
    job = make_job("slow", steps=10_000)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SCRIPT, str(terms.cache)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as suite:
        assert suite.stdout is not None
        assert suite.stdout.readline() == b"under way\n"
        suite.kill()
    folder = folder_of(job, terms)
    deadline = time.monotonic() + 60
    while "stopped and saved" not in folder.log_path.read_text():
        assert time.monotonic() < deadline, folder.log_path.read_text()
        time.sleep(0.1)
    assert folder.checkpoint_path.exists()
    (pid,) = pids("Slow")
    while is_there(pid) and not is_zombie(pid):  # whoever inherited it may never ask after it
        assert time.monotonic() < deadline
        time.sleep(0.1)
    Path(f"Slow.{pid}.pid").unlink()
    with lock(folder.path):
        pass


def is_zombie(pid: int) -> bool:
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return stat.strip().startswith("Z")


def test_a_device_that_is_not_there_is_told_before_anything_is_begun(terms: Terms) -> None:
    watching = Watching()
    with pytest.raises(GenbenchError, match=r"--device cuda:99 can't be used") as caught:
        execute(LocalExecutor(terms, "cuda:99", jobs=2), [make_job("mse", seed) for seed in range(3)], watching)
    assert caught.value.hint is not None
    assert watching.told == []


def test_no_worker_can_be_had(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genbench.executors.processes.MODULE", "genbench.executors.nobody")
    with pytest.raises(GenbenchError, match=r"ended by itself, with status 1 before .*nobody"):
        execute(LocalExecutor(terms, "cpu"), [make_job("mse")], Watching())


def test_nothing_to_do_begins_no_process(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    execute(LocalExecutor(terms), [], Watching())


@pytest.mark.slow
def test_a_device_that_may_be_broken_is_taken_up_anew(terms: Terms) -> None:
    jobs = [make_job("raising"), make_job("slow")]
    # What holds for GPUs is told by the name alone, and this CPU has another than usual.
    assert execute(LocalExecutor(terms, "cpu:0"), jobs, Watching()).how() == {"raising-0": "failed", "slow-0": "ok"}
    assert not set(pids("Raising")) & set(pids("Slow"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process begin anew to count its memory")
def test_a_small_run_after_a_large_one_tells_its_own_peak() -> None:
    from genbench.execution import peak_memory_bytes

    cpu = torch.device("cpu")
    held = torch.ones(64, 2**20)
    before = peak_memory_bytes(cpu)
    del held
    free_memory()
    assert before - peak_memory_bytes(cpu) > 200 * 2**20
