"""Two processes that train one run end as one process does: real ones, over gloo, on the CPU."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import processes
import pytest
import torch
from processes import BATCH, KINDS, NORMS, STEPS, go, normalise
from safetensors.torch import load_file
from torch import Tensor

from genbench import GenbenchError
from genbench.records import Record
from genbench.store import RunFolder
from genbench.train import engines, loop, place
from genbench.train.checkpoint import read_progress
from genbench.train.distributed import choose_own_device, joined
from genbench.train.place import Place
from genbench.train.sharing import Share

HERE = Path(__file__).parent
TWO = Place(rank=1, of=2, local_rank=1, local_of=2)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Together:
    """What two processes have left: what each returned, and the folder with its files."""

    folder: Path
    found: list[dict[str, Any]]

    def state(self, name: str, rank: int = 0) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.found[rank]["trained"][name]
        return state

    def curve(self, name: str) -> list[dict[str, float]]:
        text = RunFolder(self.folder / "rank0" / name).curve_path.read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    """Let two processes do all that processes.py has them do."""
    folder = tmp_path_factory.mktemp("together")
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, processes.__file__, str(folder)],
            env=os.environ | told | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return Together(folder, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)])


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute here as the two processes do."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    monkeypatch.setattr(engines, "LOG_STEPS", 3)
    monkeypatch.setattr(loop, "WEIGHT_BATCHES", 2)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


def assert_near(one: dict[str, Tensor], two: dict[str, Tensor], rtol: float, atol: float) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_of_parts_is_torchs_of_the_whole(name: str, together: Together, float64: None) -> None:
    """Outputs, running statistics, and gradients of several losses, of twice the same norm, to the second order."""
    expected = normalise(name, slice(None), Share())
    parts = [rank[name] for rank in together.found]
    merged: dict[str, Tensor] = {}
    for key in expected:
        if key.startswith("buffer"):
            assert torch.equal(parts[0][key], parts[1][key])
            merged[key] = parts[0][key]
        elif key.startswith("parameter"):
            merged[key] = parts[0][key] + parts[1][key]
        else:
            merged[key] = torch.cat([part[key] for part in parts])
    tolerances = {"bfloat16": (2e-2, 1e-1), "float32": (1e-4, 1e-4), "far from zero": (1e-6, 1e-6)}
    assert_near(merged, expected, *tolerances.get(name, (1e-10, 1e-10)))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_end_with_the_weights_of_one(
    kind: str, together: Together, tmp_path: Path, float64: None
) -> None:
    outcome, alone = go(tmp_path, Share(), kind)
    assert outcome.status == "finished"
    ours, theirs = together.state(kind), together.state(kind, rank=1)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert_near(ours, alone, rtol=1e-8, atol=1e-11)
    rows = [json.loads(line) for line in RunFolder(tmp_path).curve_path.read_text().splitlines()]
    assert together.curve(kind) == [pytest.approx(row, rel=1e-8) for row in rows]
    moved = [value for row in rows for name, value in row.items() if name.startswith("moved.")]
    assert kind not in ("gan", "vaegan") or any(0 < value < 1 for value in moved), "the gate was never put to the test"


def test_without_synchronisation_batch_norm_sees_its_own_part(together: Together) -> None:
    local, whole = together.state("vae, local"), together.state("vae, synchronised")
    name = "networks.encoder.convolutions.0.weight"
    assert torch.equal(local[name], together.state("vae, local", rank=1)[name])
    assert not torch.allclose(local[name], whole[name], rtol=1e-3)
    statistics = "networks.encoder.convolutions.1.running_mean"
    assert not torch.equal(local[statistics], together.state("vae, local", rank=1)[statistics])
    saved = load_file(RunFolder(together.folder / "rank0" / "local").checkpoint_path)
    assert torch.equal(saved[f"model/{statistics}"], local[statistics])
    assert all(torch.equal(value, together.state("vae")[key]) for key, value in whole.items())


def test_noise_of_the_batch_is_that_of_one_process_and_plain_noise_differs_in_each(
    together: Together, float64: None
) -> None:
    parts = [found["drawn"] for found in together.found]
    Share().seed(7, "test")
    alone = torch.cat([Share().noise(8, 2, torch.device("cpu")), torch.randn(8, 2)])
    assert torch.equal(torch.cat([part["shared"] for part in parts]), alone[:8])
    every = torch.cat([*(part["shared"] for part in parts), *(part["plain"] for part in parts)])
    assert len(every.unique()) == every.numel(), "some numbers are drawn twice"


def test_all_stop_where_one_is_told_to_and_go_on_with_rank_0s_checkpoint(together: Together) -> None:
    """The models that go on are built with NaN, and only rank 0's folder has a checkpoint."""
    for rank in range(2):
        stopped = together.found[rank]["trained"]["stopped"]
        assert (stopped["status"], int(stopped["images_seen"])) == ("stopped", 5 * BATCH)
        whole = together.state("vaegan")
        assert all(torch.equal(value, whole[name]) for name, value in together.state("resumed", rank).items())


def test_all_begin_with_rank_0s_weights(together: Together) -> None:
    whole = together.state("vae")
    for rank in range(2):
        assert all(torch.equal(value, whole[name]) for name, value in together.state("begun", rank).items())


def test_only_rank_0_writes(together: Together) -> None:
    assert together.found[1]["trained"]["files"] == []
    assert "vaegan/checkpoint/last.safetensors" in together.found[0]["trained"]["files"]


def test_a_run_of_two_processes_goes_on_in_one(together: Together, tmp_path: Path, float64: None) -> None:
    half = tmp_path / "half"
    copytree(together.folder / "rank0" / "half", half)
    saved = read_progress(RunFolder(half).checkpoint_path)
    assert saved is not None
    assert saved.images_seen == 5 * BATCH
    outcome, state = go(half, Share(), "vaegan")
    assert (outcome.status, outcome.progress.images_seen) == ("finished", STEPS * BATCH)
    assert_near(state, together.state("vaegan"), rtol=1e-8, atol=1e-11)
    rows = [json.loads(line) for line in RunFolder(half).curve_path.read_text().splitlines()]
    assert rows == [pytest.approx(row, rel=1e-8) for row in together.curve("vaegan")]


def test_what_some_processes_lack_counts_as_zero_and_gates_are_put_to_the_vote(together: Together) -> None:
    for found in together.found:
        averaged = found["averaged"]
        assert averaged.keys() == {"both.0", "both.1", "one.1", "cost", "gate both", "gate one"}
        assert averaged["both.0"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
        assert averaged["both.1"].tolist() == averaged["one.1"].tolist() == [5.5, 5.5]
        assert float(averaged["cost"]) == 1.5
        assert not averaged["gate both"], "half of the processes is not most of them"
        assert averaged["gate one"]


def test_rank_0_alone_evaluates_and_the_others_leave(together: Together) -> None:
    ours, theirs = (found["carried out"] for found in together.found)
    assert ours["new"] == [2, 6, "mse"]
    assert ours["again"] == [2, 0, "mse"]
    assert ours["more"] == [2, 0, "mse", "one"]
    assert {theirs[name] for name in ("new", "again", "more")} == {"left"}


def test_where_rank_0_fails_the_others_leave_in_silence(together: Together) -> None:
    ours, theirs = (found["carried out"]["in use"] for found in together.found)
    assert ours.startswith("Busy: ")
    assert ours.endswith("another run is using this folder")
    assert theirs == "SystemExit: 1"


def test_a_process_that_has_gone_is_noticed(together: Together) -> None:
    assert (together.folder / "abandoned").read_text().startswith("another process of this run has gone: ")


def test_alone_nothing_of_torch_distributed_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: pytest.fail("joined"))
    for given in ({}, {"RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_NTASKS": "2"}):
        with joined(Place.given(given), "auto") as (share, device):
            assert (share, device) == (Share(), "auto")


def test_the_place_is_as_torchrun_says() -> None:
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    there = {"MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert Place.given(told | there) == Place(rank=5, of=8, local_rank=1, local_of=4)
    assert Place.given(told) == Place()
    for wrong in ({"RANK": "8"}, {"RANK": "x"}, {"LOCAL_RANK": "4"}):
        with pytest.raises(GenbenchError, match="the environment names no process of several: RANK="):
            Place.given(told | there | wrong)


def test_a_batch_is_shared_out_evenly_or_not_at_all() -> None:
    Place().check_batch(7)
    Place(1, 4).check_batch(64)
    with pytest.raises(GenbenchError, match="9 images can't be shared out evenly to 2 processes") as caught:
        TWO.check_batch(9)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("a multiple of 2, such as 8")


def test_one_process_of_each_machine_tells_what_all_run_into(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(place, "sleep", waited.append)
    with pytest.raises(GenbenchError, match="wrong"), Place(rank=4, of=8, local_of=4).one_voice():
        raise GenbenchError("wrong")
    with pytest.raises(SystemExit) as caught, TWO.one_voice():
        raise GenbenchError("wrong", exit_code=2)
    assert caught.value.code == 2
    assert waited == [place.TELLING_S], "the one that tells must be the first to end"


@pytest.mark.parametrize(("device", "gpus", "own"), [("auto", 0, "cpu"), ("cpu", 2, "cpu"), ("cuda", 2, "cuda:1")])
def test_each_process_has_a_device_of_its_own(
    device: str, gpus: int, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert choose_own_device(TWO, device) == torch.device(own)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("mps", "--device mps can't be shared by 2 processes"),
        ("cuda:0", "--device cuda:0 can't be shared by 2 processes"),
        ("tpu", "--device tpu can't be used by several processes"),
        ("cuda", "2 processes on this machine, but 1 CUDA devices"),
    ],
)
def test_devices_that_can_not_be_shared_out(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(GenbenchError, match=message):
        choose_own_device(TWO, device)


@pytest.mark.slow
def test_torchrun_trains_a_whole_run(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())),
        *("-m", "genbench", "run", "vaegan", "toyfaces", "--size", "16", "--width", "0.05", "--images", "64"),
        *("--batch-size", "8", "-s", "dataset.count=64", "-s", "network.latent_size=4"),
        *("-s", "network.encoder_hidden=64", "--device", "cpu", "--evaluators", "mse", "--json"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENBENCH_")}
    environment |= {"GENBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = Record.model_validate_json(done.stdout)
    assert (record.status, record.execution.processes, record.images_seen) == ("ok", 2, 64)
    assert [score.name for score in record.scores] == ["mse"]
    assert done.stderr.count("64 of 64 images, ") == 1
