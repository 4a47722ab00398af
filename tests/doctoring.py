"""What the doctor's checks are tried on."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from bench import Bench

from genbench.doctor.findings import Ground
from genbench.findings import Finding


def make_ground(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Return a ground without data and weights."""
    for name in ("GENBENCH_DATA", "GENBENCH_WEIGHTS", "GENBENCH_INCEPTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    return Ground(bench.plugins, folder / "cache")


def states(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.name: finding.state for finding in findings}


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding
