"""benchmarks/speed/executors.py: what it makes of the times that it takes; nothing is timed here."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

from genbench.executors.interface import Terms

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(SPEED)
    yield importlib.import_module("executors")
    for name in ("executors", "report"):
        sys.modules.pop(name, None)


def test_overhead_is_what_many_runs_take_beyond_few_and_beyond_their_own(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"in one process": (0.5, 2.5), "local": (6.0, 9.0), "ray": (12.0, 18.0)}

    def alternate(sides: Mapping[str, object], repeats: int) -> Mapping[str, list[float]]:
        taken = {f"{name}, {count}": two[count == 12] for name, two in times.items() for count in (2, 12)}
        return {name: [seconds] * repeats for name, seconds in taken.items()}

    monkeypatch.setattr(script, "alternate", alternate)
    monkeypatch.setattr(script, "find_spec", lambda name: name)
    found = script.measure(2, 12, 3)
    assert found["in one process"] == {
        "run_s": pytest.approx([0.2] * 3),
        "overhead_s": [0.0] * 3,
        "start_s": pytest.approx([0.1] * 3),
    }
    assert found["local"]["overhead_s"] == pytest.approx([0.1] * 3)
    assert found["local"]["start_s"] == pytest.approx([5.4] * 3)
    assert found["ray"]["overhead_s"] == pytest.approx([0.4] * 3)
    assert found["ray"]["start_s"] == pytest.approx([10.8] * 3)


def test_runs_are_carried_out_and_must_go_well(script: Any, bench: Bench, tmp_path: Path) -> None:
    todo = script.jobs(2)
    assert [job.config.seed for job in todo] == [0, 1]
    terms = Terms(tmp_path, tmp_path / "cache", threads=1)
    execute = script.side(script.InProcess, terms, todo)
    execute()
    execute()  # in an empty store again
    with pytest.raises(RuntimeError, match="0 of 1 runs went well"):
        script.side(script.InProcess, Terms(tmp_path, Path(__file__), threads=1), todo[:1])()


def test_command_line(script: Any) -> None:
    args = script.parse(["--few", "1", "--many", "3"])
    assert (args.few, args.many, args.repeats, args.save) == (1, 3, 5, False)
    with pytest.raises(SystemExit):
        script.parse(["--few", "3", "--many", "3"])
