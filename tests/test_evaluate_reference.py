"""Reference statistics: what they are kept under, and who computes them."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import Tensor

from genbench.data.packed import PackedDataset, Split
from genbench.evaluate import reference
from genbench.evaluate.moments import Moments

CPU = torch.device("cpu")
DATA = PackedDataset(
    "noise", 8, 1, "f" * 64, np.zeros((9, 8, 8, 1), np.uint8), np.repeat([0, 2], [6, 3]).astype(np.uint8)
)
MOMENTS = Moments(3, torch.arange(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


@dataclass(frozen=True)
class Stub:
    """An extractor that extracts nothing."""

    name: str = "stub"
    size: int = 2
    weights_hash: str = "a" * 64
    facts: Mapping[str, str] = field(default_factory=lambda: {"library": "none 1.0"})

    def __call__(self, images: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Asked:
    """All that a place is asked for."""

    data: PackedDataset = DATA
    split: Split = "test"
    extractor: Stub = Stub()
    device: torch.device = CPU
    precision: str = "float32"

    def place(self) -> Path:
        return reference.place(Path("cache"), self.data, self.split, self.extractor, self.device, self.precision)


@pytest.mark.parametrize(
    "other",
    [
        Asked(data=replace(DATA, fingerprint="e" * 64)),
        Asked(data=replace(DATA, size=16)),
        Asked(data=replace(DATA, channels=3)),
        Asked(data=replace(DATA, splits=np.repeat([0, 2], [5, 4]).astype(np.uint8))),
        Asked(split="train"),
        Asked(extractor=Stub(name="other")),
        Asked(extractor=Stub(size=3)),
        Asked(extractor=Stub(weights_hash="b" * 64)),
        Asked(extractor=Stub(facts={"library": "none 1.1"})),
        Asked(device=torch.device("cuda", 1)),
        Asked(precision="bfloat16"),
    ],
)
def test_whatever_can_move_them_moves_their_place(other: Asked) -> None:
    assert other.place() != Asked().place()
    assert other.place().parent == Asked().place().parent


def test_what_cannot_move_them_does_not(tmp_path: Path) -> None:
    assert Asked(data=replace(DATA, name="renamed", notes=("a note",))).place() == Asked().place()
    assert Asked(device=torch.device("cuda", 1)).place() == Asked(device=torch.device("cuda")).place()


@pytest.mark.parametrize("library", ["torch", *reference.LIBRARIES])
def test_a_librarys_version_moves_their_place(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Asked().place()
    if library == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        known = reference.version
        monkeypatch.setattr(reference, "version", lambda name: "9.9" if name == library else known(name))
    assert Asked().place() != before


def test_another_way_of_measuring_moves_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Asked().place()
    monkeypatch.setattr(reference, "VERSION", reference.VERSION + 1)
    assert Asked().place() != before


def refuse() -> Moments:
    pytest.fail("computed again")


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "moments" / "some.safetensors"
    assert reference.obtain(path, lambda: MOMENTS) is MOMENTS
    found = reference.obtain(path, refuse)
    assert found.count == MOMENTS.count
    assert torch.equal(found.mean, MOMENTS.mean)
    assert torch.equal(found.covariance, MOMENTS.covariance)


@pytest.mark.parametrize("spoil", [lambda content: content[:-9], lambda content: b"", lambda content: b"not a tensor"])
def test_a_spoiled_file_is_written_anew(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "some.safetensors"
    reference.obtain(path, lambda: MOMENTS)
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    reference.obtain(path, lambda: MOMENTS)
    assert path.read_bytes() == whole


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    with pytest.raises(ZeroDivisionError):
        reference.obtain(path, lambda: Moments(1 // 0, MOMENTS.mean, MOMENTS.covariance))
    assert not path.exists()
    assert reference.obtain(path, lambda: MOMENTS) is MOMENTS


def test_of_concurrent_runs_one_computes(tmp_path: Path) -> None:
    path, start, computed = tmp_path / "some.safetensors", Barrier(4), []

    def compute() -> Moments:
        computed.append(1)
        return MOMENTS

    def run(_: int) -> int:
        start.wait()
        return reference.obtain(path, compute).count

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [3] * 4
    assert computed == [1]
