"""The energy meter, on counters that the test moves."""

from pathlib import Path

import pytest
import torch

from genbench.train.checkpoint import Progress
from genbench.train.energy import Meter
from genbench.train.loop import Clock

CPU = torch.device("cpu")


def put(folder: Path, zone: str, microjoules: int, largest: int = 1_000_000) -> None:
    place = folder / zone
    place.mkdir(exist_ok=True)
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{largest}\n")


def test_joules_of_all_packages_also_where_a_counter_begins_anew(tmp_path: Path) -> None:
    put(tmp_path, "intel-rapl:0", 100_000)
    put(tmp_path, "intel-rapl:1", 900_000)
    put(tmp_path, "intel-rapl:0:0", 5)  # a part of the first package
    put(tmp_path, "intel-rapl:2", 5)  # both packages and what is around them
    (tmp_path / "intel-rapl:2" / "name").write_text("psys\n")
    meter = Meter(CPU, tmp_path)
    put(tmp_path, "intel-rapl:0", 350_000)
    put(tmp_path, "intel-rapl:1", 200_000)
    put(tmp_path, "intel-rapl:0:0", 999_999)
    put(tmp_path, "intel-rapl:2", 999_999)
    assert meter.read() == pytest.approx(0.25 + 0.3)
    assert meter.read() == 0
    put(tmp_path, "intel-rapl:0", 400_000)
    assert meter.read() == pytest.approx(0.05)


def test_a_machine_that_tells_nothing_and_one_that_stops_telling(tmp_path: Path) -> None:
    assert Meter(CPU, tmp_path / "none").read() is None
    assert Meter(torch.device("mps"), tmp_path).read() is None
    put(tmp_path, "intel-rapl:0", 0)
    meter = Meter(CPU, tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("no number")
    assert meter.read() is None


def test_a_run_with_a_part_that_is_not_known_has_no_energy(tmp_path: Path) -> None:
    put(tmp_path, "intel-rapl:0", 0)
    whole, resumed = Progress(energy_j=0.0), Progress(images_seen=64)
    clocks = [Clock(progress, Meter(CPU, tmp_path)) for progress in (whole, resumed)]
    put(tmp_path, "intel-rapl:0", 500_000)
    for clock in clocks:
        clock.tick()
    assert whole.energy_j == pytest.approx(0.5)
    assert resumed.energy_j is None
