"""A data set is prepared once, safely, and whatever decides its content decides whether it is prepared again."""

import os
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from genbench.config import DataConfig
from genbench.data.preparation import prepare
from genbench.data.sources import cache_folder, source_folder
from genbench.errors import GenbenchError
from genbench.interfaces import Dataset, ImageSet
from genbench.specs import DatasetSpec

SPEC = DatasetSpec("fake", "for tests", "fake:Fake", channels=1, size=4)


class Fake(Dataset):
    """Ten images of one level; counts its preparations."""

    def __init__(self, paths=(), **changes) -> None:
        self.prepared = 0
        self.paths = paths
        self.changes = changes

    def files(self, request):
        return self.paths

    def prepare(self, request):
        self.prepared += 1
        fields = {
            "images": np.full((10, request.size, request.size, 1), 7, np.uint8),
            "splits": np.array([0] * 8 + [1, 2], np.uint8),
        }
        return ImageSet(**{**fields, **self.changes})


class Allocating(Fake):
    """Puts its images where it is told to."""

    def prepare(self, request):
        images = super().prepare(request)
        array = request.allocate(images.images.shape)
        array[...] = images.images
        return replace(images, images=array)


def run(dataset, cache, *, spec=SPEC, source=None, size=4, **config):
    return prepare(spec, dataset, DataConfig(name="fake", size=size, **config), source, cache, lambda done, total: None)


def test_prepared_twice_decodes_once(tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"x")
    fake = Fake([file])
    first, second = run(fake, tmp_path / "cache"), run(fake, tmp_path / "cache")
    assert fake.prepared == 1
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.images, second.images)
    run(Fake([file]), tmp_path / "cache", source=None)


@pytest.mark.parametrize("change", ["content", "time", "renamed", "size", "settings", "skip", "version", "target"])
def test_whatever_decides_the_content_prepares_it_again(tmp_path: Path, change: str) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"x")
    os.utime(file, ns=(1, 1))
    fake = Fake([file])
    run(fake, tmp_path / "cache")
    config: dict[str, object] = {}
    if change == "content":
        file.write_bytes(b"xy")
        os.utime(file, ns=(1, 1))
    elif change == "time":
        os.utime(file, ns=(1, 2))
    elif change == "renamed":
        fake.paths = [file.rename(tmp_path / "other.bin")]
    elif change == "version":
        fake.version = 2
    else:
        other = DatasetSpec("fake", "for tests", "other:Fake", channels=1)
        changes = {"size": 8, "settings": {"seed": 1}, "skip": True, "target": other}
        config = {{"skip": "skip_bad_images", "target": "spec"}.get(change, change): changes[change]}
    run(fake, tmp_path / "cache", **config)
    assert fake.prepared == 2


@pytest.mark.parametrize(
    ("change", "prepared"),
    [("content", 2), ("time", 2), ("renamed", 2), ("added", 2), ("removed", 2), ("hidden", 1), ("below", 1)],
)
def test_a_folder_stands_for_the_files_in_it(tmp_path: Path, change: str, prepared: int) -> None:
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for name in ("a.bin", "b.bin", ".hidden", "below/c.bin"):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, ns=(1, 1))
    fake = Fake([folder])
    run(fake, tmp_path / "cache")
    if change == "content":
        (folder / "b.bin").write_bytes(b"xy")
        os.utime(folder / "b.bin", ns=(1, 1))
    elif change == "time":
        os.utime(folder / "b.bin", ns=(1, 2))
    elif change == "renamed":
        (folder / "b.bin").rename(folder / "c.bin")
    elif change == "removed":
        (folder / "b.bin").unlink()
    else:
        name = {"added": "c.bin", "hidden": ".hidden", "below": "below/d.bin"}[change]
        (folder / name).write_bytes(b"other")
    run(fake, tmp_path / "cache")
    assert fake.prepared == prepared


def test_where_other_data_lies_is_nothing_to_a_generated_set(tmp_path: Path) -> None:
    fake = Fake()
    run(fake, tmp_path / "cache")
    run(fake, tmp_path / "cache", source=tmp_path)
    assert fake.prepared == 1


def test_two_at_once_prepare_once(tmp_path: Path) -> None:
    fake = Fake()
    started, go = threading.Event(), threading.Event()
    original = fake.prepare

    def slow(request):
        started.set()
        assert go.wait(10)
        return original(request)

    fake.prepare = slow
    prints: list[str] = []
    threads = [threading.Thread(target=lambda: prints.append(run(fake, tmp_path).fingerprint)) for _ in range(3)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert fake.prepared == 1
    assert len(prints) == 3
    assert len(set(prints)) == 1


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import genbench.data.packed as packed
import test_data_preparation as t
write, calls = packed._write_array, []
def killed(path, array):
    if calls:
        path.write_bytes(b"half"); os._exit(9)
    calls.append(1)
    return write(path, array)
packed._write_array = killed
t.run(t.Fake(), Path({cache!r}))
"""


def test_killed_half_way_leaves_nothing_that_is_read_as_good(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), cache=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert list((tmp_path / "datasets").glob("*.tmp"))
    fake = Fake()
    assert (run(fake, tmp_path).images == 7).all()
    assert fake.prepared == 1
    assert not list((tmp_path / "datasets").glob("*.tmp"))


KILLED_WHILE_DECODING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_data_preparation as t
class Dying(t.Allocating):
    def prepare(self, request):
        super().prepare(request)
        os._exit(9)
t.run(Dying(), Path({cache!r}))
"""


def test_killed_while_decoding_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = KILLED_WHILE_DECODING.format(tests=str(Path(__file__).parent), cache=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert list((tmp_path / "datasets").glob("*.tmp/*.npy"))
    assert (run(Allocating(), tmp_path).images == 7).all()
    assert not list((tmp_path / "datasets").glob("*.tmp"))


def test_a_draft_of_a_living_process_stays(tmp_path: Path) -> None:
    draft = tmp_path / "datasets" / "fake-8-0123456789abcdef.01234567.tmp"
    draft.mkdir(parents=True)
    with FileLock(tmp_path / "datasets" / ".fake-8-0123456789abcdef.lock"):
        run(Fake(), tmp_path)
        assert draft.is_dir()
    run(Fake(), tmp_path, size=16)
    assert not draft.exists()


def test_a_set_prepared_in_place_is_the_one_that_was_copied(tmp_path: Path) -> None:
    copied, in_place = run(Fake(), tmp_path / "a"), run(Allocating(), tmp_path / "b")
    assert in_place.fingerprint == copied.fingerprint
    np.testing.assert_array_equal(in_place.images, copied.images)


def test_the_images_of_a_set_prepared_in_place_take_no_memory(tmp_path: Path) -> None:
    class Large(Dataset):
        def prepare(self, request):
            images = request.allocate((2000, request.size, request.size, 1))  # 33 MB
            images[...] = 7
            return ImageSet(images, np.zeros(2000, np.uint8))

    tracemalloc.start()  # numpy's arrays are counted, maps are not
    try:
        run(Large(), tmp_path, size=128)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_damaged_cache_is_mended(tmp_path: Path) -> None:
    fake = Fake()
    run(fake, tmp_path)
    images = next((tmp_path / "datasets").glob("*/images.npy"))
    images.write_bytes(images.read_bytes()[:-1])
    assert (run(fake, tmp_path).images == 7).all()
    assert fake.prepared == 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"images": np.zeros((10, 4, 4, 1), np.float32)}, "images are float32, expected uint8"),
        ({"images": np.zeros((10, 4, 4, 3), np.uint8)}, r"shape \(10, 4, 4, 3\), expected \(10, 4, 4, 1\)"),
        ({"images": np.zeros((10, 4, 4), np.uint8)}, "shape"),
        ({"splits": np.zeros(9, np.uint8)}, "splits have the shape"),
        ({"splits": np.zeros(10, np.int64)}, "splits are int64"),
        ({"splits": np.arange(10, dtype=np.uint8)}, "splits hold 9"),
        ({"splits": np.ones(10, np.uint8)}, "no training image"),
        ({"attributes": np.zeros((10, 2), np.uint8), "attribute_names": ("a",)}, r"\(10, 2\), expected \(10, 1\)"),
        ({"attributes": np.full((10, 1), 2, np.uint8), "attribute_names": ("a",)}, "attributes hold 2"),
        ({"attributes": np.zeros((10, 1), bool), "attribute_names": ("a",)}, "attributes are bool"),
        ({"attributes": np.zeros((10, 2), np.uint8), "attribute_names": ("a", "a")}, "twice: a"),
        ({"attribute_names": ("a",)}, "1 attribute names, but no attributes"),
    ],
)
def test_nonsense_from_a_plugin_is_refused(tmp_path: Path, changes, complaint: str) -> None:
    with pytest.raises(GenbenchError, match=complaint) as caught:
        run(Fake(**changes), tmp_path)
    assert "fake" in caught.value.message
    assert not list((tmp_path / "datasets").glob("fake*"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder is needed")
    with pytest.raises(GenbenchError, match="can't write genbench's cache") as caught:
        run(Fake(), tmp_path / "cache")
    assert "GENBENCH_CACHE" in str(caught.value.hint)


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    for method in ("finish", "allocate"):
        monkeypatch.setattr(f"genbench.data.packed.Draft.{method}", full)
        with pytest.raises(GenbenchError, match="No space left") as caught:
            run(Allocating(), tmp_path)
        assert "free some space" in str(caught.value.hint)


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match=r"gone\.bin"):
        run(Fake([tmp_path / "gone.bin"]), tmp_path / "cache")


def test_a_plugins_own_failure_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    fake = Fake()
    fake.prepare = lambda request: (_ for _ in ()).throw(PermissionError("the user's file"))
    with pytest.raises(PermissionError, match="the user's file"):
        run(fake, tmp_path)


def test_the_environment_names_cache_and_source(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENBENCH_DATA", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"
    assert source_folder(None) == tmp_path
    with pytest.raises(GenbenchError, match="--data"):
        source_folder(tmp_path / "nowhere")
    monkeypatch.setenv("GENBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(GenbenchError, match="GENBENCH_DATA"):
        source_folder(None)
    monkeypatch.delenv("GENBENCH_DATA")
    monkeypatch.delenv("GENBENCH_CACHE")
    assert source_folder(None) is None
    assert cache_folder().name == "genbench"
