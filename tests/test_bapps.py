"""Agreement with people, on judgements of which it is known."""

import math
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from judgements import PREFERRING, SETS, write_bapps, write_triplet
from PIL import Image
from torch import Tensor

from genbench import bapps
from genbench.bapps import agreement, agreements, find, people
from genbench.errors import GenbenchError

CPU = torch.device("cpu")


def squared(real: Tensor, fake: Tensor) -> Tensor:
    return (real - fake).square().flatten(1).sum(1)


def perverse(real: Tensor, fake: Tensor) -> Tensor:
    return -squared(real, fake)


def test_the_share_of_people_who_agree_is_known(tmp_path: Path) -> None:
    sets = find(write_bapps(tmp_path))
    assert [triplets.name for triplets in sets] == list(SETS)
    np.testing.assert_allclose(sets[0].preferring, PREFERRING, rtol=1e-6)
    found = agreement({"squared": squared, "perverse": perverse}, sets, CPU)
    # It takes p0 in all but the last, where it can't choose.
    expected = [1 - 0.0, 1 - 0.2, 1 - 0.6, 0.5]
    against = [0.0, 0.2, 0.6, 0.5]
    for name, values in (("squared", expected), ("perverse", against)):
        for share in (*found[name].sets.values(), found[name].all):
            assert share.value == pytest.approx(np.mean(values), rel=1e-6)
        error = np.std(values, ddof=1) / 2
        assert found[name].sets["cnn"].error == pytest.approx(error, rel=1e-6)
        assert found[name].all.error == pytest.approx(error / math.sqrt(6), rel=1e-6)
    assert found["squared"].triplets == dict.fromkeys(SETS, 4)


def test_people_agree_with_one_another_as_often_as_two_draws_do(tmp_path: Path) -> None:
    found = people(find(write_bapps(tmp_path)))
    expected = np.mean([1.0, 0.04 + 0.64, 0.36 + 0.16, 1.0])
    assert found.all.value == pytest.approx(expected, rel=1e-6)
    assert found.sets["color"].value == pytest.approx(expected, rel=1e-6)


def test_all_is_the_mean_of_the_sets_whatever_their_sizes(tmp_path: Path) -> None:
    root = write_bapps(tmp_path)
    for index in range(4, 40):
        write_triplet(root / "2afc/val/cnn", f"{index:06}", 1.0, seed=index, same=False, side=64)
    found = agreement({"squared": squared}, find(root), CPU)["squared"]
    assert found.sets["cnn"].value == pytest.approx((1 + 0.8 + 0.4 + 0.5) / 40, rel=1e-6)
    assert found.all.value == pytest.approx(np.mean([share.value for share in found.sets.values()]))


def test_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triplets = find(write_bapps(tmp_path))[1]
    whole = agreements({"squared": squared}, triplets, CPU)["squared"]
    monkeypatch.setattr(bapps, "AT_A_TIME", 3)
    np.testing.assert_array_equal(agreements({"squared": squared}, triplets, CPU)["squared"], whole)


def test_patches_are_resized_as_the_authors_loader_does(tmp_path: Path) -> None:
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    write_bapps(tmp_path, side=256)
    values = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    path = tmp_path / "2afc/val/deblur/ref/000000.png"
    Image.fromarray(values).save(path)
    seen: list[Tensor] = []

    def keep(real: Tensor, fake: Tensor) -> Tensor:
        seen.append(real)
        return squared(real, fake)

    agreements({"keep": keep}, find(tmp_path)[3], CPU)
    theirs = Compose([Resize(64), ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    assert seen[0].shape == (4, 3, 64, 64)
    torch.testing.assert_close(seen[0][0], theirs(Image.open(path).convert("RGB")))


def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path) -> None:
    root = write_bapps(tmp_path) / "2afc/val"
    (root / "cnn/ref/._000000.png").write_bytes(b"")
    (root / "cnn/ref/Thumbs.db").write_bytes(b"")
    (root / ".DS_Store").write_bytes(b"")
    assert len(find(tmp_path)[1].stems) == 4


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).write_bytes(content)

    return change


def pipe(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return change


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }\n" % 10**15
LARGE_NPY = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER)) + HEADER
"""Says that it holds 8 PB."""

LARGE = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
LARGE_PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", LARGE) + chunk(b"IDAT", b"")
"""Says that it has 900 million pixels."""


def judge(values: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        np.save(root / "cnn/judge/000001.npy", values)  # type: ignore[arg-type]

    return change


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (remove("cnn/p1/000002.png"), r"cnn/p1/000002\.png is not there"),
        (remove("color/judge/000000.npy"), r"color/judge/000000\.npy is not there"),
        (write("cnn/judge/000001.npy", b""), r"000001\.npy: not a \.npy file that can be read"),
        (write("cnn/judge/000001.npy", pickle.dumps(0.5)), r"000001\.npy: not a \.npy file that can be read"),
        (judge(np.array([Dangerous()])), r"000001\.npy: not a \.npy file that can be read: Object arrays"),
        (judge(np.array([0.2, 0.4])), r"holds float64 of the shape \(2,\), expected one number from 0 to 1"),
        (judge(np.array([1.5])), r"holds 1\.5, expected one number from 0 to 1"),
        (judge(np.array([np.nan])), "holds nan, expected one number from 0 to 1"),
        (write("cnn/judge/000001.npy", LARGE_NPY), r"000001\.npy: not a \.npy file that can be read"),
        (write("cnn/p0/000003.png", LARGE_PNG), r"000003\.png: not a picture that can be read: Image size"),
        (pipe("cnn/p0/000003.png"), r"000003\.png is not there"),
        (judge(np.array(["a"])), "expected one number from 0 to 1"),
        (write("cnn/p0/000003.png", b"\x89PNG\r\n\x1a\nnothing"), r"000003\.png: not a picture that can be read"),
        (write("cnn/ref/000000.png", b""), r"000000\.png: not a picture that can be read"),
    ],
)
def test_what_is_missing_or_broken_is_named(change: Callable[[Path], None], complaint: str, tmp_path: Path) -> None:
    change(write_bapps(tmp_path) / "2afc/val")
    with pytest.raises(GenbenchError, match=complaint) as caught:
        agreement({"squared": squared}, find(tmp_path), CPU)
    assert caught.value.hint == "unpack the data set anew"


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    path = write_bapps(tmp_path) / "2afc/val/cnn/p1/000000.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(GenbenchError, match=r"000000\.png: not a picture"):
        agreements({"squared": squared}, find(tmp_path)[1], CPU)


def test_a_folder_that_is_none_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match=r"there is no folder .*2afc/val") as caught:
        find(tmp_path)
    assert "holds `2afc/val`" in str(caught.value.hint)
    (tmp_path / "2afc" / "val" / "cnn").mkdir(parents=True)
    with pytest.raises(GenbenchError, match="traditional, superres, deblur, color, frameinterp not there"):
        find(tmp_path)


def test_an_empty_set_is_told(tmp_path: Path) -> None:
    for name in SETS:
        for part in ("ref", "p0", "p1", "judge"):
            (tmp_path / "2afc" / "val" / name / part).mkdir(parents=True)
    with pytest.raises(GenbenchError, match="traditional: 0 triplets, expected two or more"):
        find(tmp_path)


def test_a_cost_that_is_no_number_is_told(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="cost is nan for a patch of BAPPS, traditional"):
        agreement({"nan": lambda real, fake: squared(real, fake) * math.nan}, find(write_bapps(tmp_path)), CPU)
