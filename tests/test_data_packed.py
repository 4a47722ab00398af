"""A packed data set is read back as it was written, or not at all."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from genbench.data import packed as packed_module
from genbench.data.packed import drafting, fingerprint, read_packed
from genbench.interfaces import ImageSet


def image_set(**changes):
    rng = np.random.default_rng(0)
    fields = {
        "images": rng.integers(0, 256, (6, 4, 4, 3), np.uint8),
        "splits": np.array([0, 0, 1, 2, 0, 2], np.uint8),
        "attributes": rng.integers(0, 2, (6, 2), np.uint8),
        "attribute_names": ("Smiling", "Eyeglasses"),
        "notes": ("a note",),
        "skipped_images": ("bad.jpg",),
    }
    return ImageSet(**{**fields, **changes})


def write(folder: Path, images: ImageSet) -> None:
    with drafting(folder) as draft:
        draft.finish("toy", images)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = image_set()
    write(tmp_path / "set", written)
    read = read_packed(tmp_path / "set")
    assert read is not None
    assert (read.name, read.size, read.channels) == ("toy", 4, 3)
    for name in ("images", "splits", "attributes"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert read.attribute_names == written.attribute_names
    assert (read.notes, read.skipped_images) == (written.notes, written.skipped_images)
    assert read.fingerprint == fingerprint(written)
    assert [read.indices(split).tolist() for split in ("train", "validation", "test")] == [[0, 1, 4], [2], [3, 5]]


def test_images_are_mapped_writable_for_torch_and_never_changed_on_disk(tmp_path: Path) -> None:
    write(tmp_path / "set", image_set())
    first = read_packed(tmp_path / "set")
    assert isinstance(first.images, np.memmap)
    tensor = torch.from_numpy(first.images)  # would warn, and so fail, if it were read-only
    tensor[0, 0, 0, 0] += 1
    assert read_packed(tmp_path / "set").images[0, 0, 0, 0] == tensor[0, 0, 0, 0] - 1


def test_a_set_without_attributes(tmp_path: Path) -> None:
    write(tmp_path / "set", image_set(attributes=None, attribute_names=()))
    assert read_packed(tmp_path / "set").attributes is None


@pytest.mark.parametrize(
    "changes",
    [
        {"images": np.zeros((6, 4, 4, 3), np.uint8)},
        {"splits": np.array([0, 0, 1, 2, 2, 0], np.uint8)},
        {"attributes": np.zeros((6, 2), np.uint8)},
        {"attributes": None},
        {"attribute_names": ("Eyeglasses", "Smiling")},
    ],
)
def test_the_fingerprint_sees_every_change_of_content(changes) -> None:
    assert fingerprint(image_set(**changes)) != fingerprint(image_set())


def test_the_fingerprint_sees_content_alone() -> None:
    turned = np.asfortranarray(image_set().images)
    assert fingerprint(image_set(images=turned, notes=(), skipped_images=())) == fingerprint(image_set())


def test_the_same_bytes_in_another_shape_are_another_set() -> None:
    images = np.zeros((6, 4, 4, 3), np.uint8)
    assert fingerprint(image_set(images=images)) != fingerprint(image_set(images=images.reshape(6, 3, 4, 4)))


@pytest.mark.parametrize("name", ["meta.json", "images.npy", "splits.npy", "attributes.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "longer"])
def test_a_damaged_folder_is_not_read(tmp_path: Path, name: str, damage: str) -> None:
    folder = tmp_path / "set"
    write(folder, image_set())
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes({"cut": content[:-1], "empty": b"", "longer": content + b"x"}[damage])
    assert read_packed(folder) is None


@pytest.mark.parametrize("field", ["layout", "files", "notes", "fingerprint"])
def test_a_strange_meta_file_is_not_read(tmp_path: Path, field: str) -> None:
    folder = tmp_path / "set"
    write(folder, image_set())
    meta = json.loads((folder / "meta.json").read_text())
    for content in ({**meta, "layout": 999}, {k: v for k, v in meta.items() if k != field}, [], None):
        (folder / "meta.json").write_text(json.dumps(content))
        assert read_packed(folder) is None


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder, image_set())
    np.save(folder / "splits.npy", np.array([{}], object), allow_pickle=True)
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"]["splits.npy"] = (folder / "splits.npy").stat().st_size
    (folder / "meta.json").write_text(json.dumps(meta))
    assert read_packed(folder) is None


@pytest.mark.parametrize("fails_at", ["_write_array", "fingerprint", "sync_folder"])
def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch, fails_at: str) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_module, fails_at, fail)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "set", image_set())
    assert list(tmp_path.iterdir()) == []


def allocated(draft, images: np.ndarray) -> np.ndarray:
    array = draft.allocate(images.shape)
    array[...] = images
    return array


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_allocated_array_becomes_the_file_without_a_copy(tmp_path: Path) -> None:
    written = image_set()
    with drafting(tmp_path / "set") as draft:
        array = allocated(draft, written.images)
        (file,) = tmp_path.rglob("*.npy")
        inode = file.stat().st_ino
        draft.finish("toy", image_set(images=array))
    assert (tmp_path / "set" / "images.npy").stat().st_ino == inode
    assert names_in(tmp_path / "set") == {"meta.json", "images.npy", "splits.npy", "attributes.npy"}
    assert names_in(tmp_path) == {"set"}
    read = read_packed(tmp_path / "set")
    np.testing.assert_array_equal(read.images, written.images)
    assert read.fingerprint == fingerprint(written)
    write(tmp_path / "copied", written)
    assert (tmp_path / "set" / "images.npy").read_bytes() == (tmp_path / "copied" / "images.npy").read_bytes()


@pytest.mark.parametrize("part", [slice(None, 4), slice(2, None), slice(None, None, -1), slice(None, None, 2)])
def test_part_of_an_allocated_array_is_written_alone(tmp_path: Path, part: slice) -> None:
    whole = image_set()
    some = {name: getattr(whole, name)[part] for name in ("images", "splits", "attributes")}
    with drafting(tmp_path / "set") as draft:
        array = allocated(draft, whole.images)
        draft.finish("toy", image_set(**{**some, "images": array[part]}))
    read = read_packed(tmp_path / "set")
    np.testing.assert_array_equal(read.images, some["images"])
    assert read.fingerprint == fingerprint(image_set(**some))
    assert names_in(tmp_path / "set") == {"meta.json", "images.npy", "splits.npy", "attributes.npy"}


def test_what_was_allocated_in_vain_is_removed(tmp_path: Path) -> None:
    with drafting(tmp_path / "set") as draft:
        draft.allocate((9, 4, 4, 3))
        array = allocated(draft, image_set().images)
        assert draft.allocate((0, 4, 4, 3)).shape == (0, 4, 4, 3)
        draft.finish("toy", image_set(images=array))
    assert names_in(tmp_path / "set") == {"meta.json", "images.npy", "splits.npy", "attributes.npy"}
    assert read_packed(tmp_path / "set").fingerprint == fingerprint(image_set())


def test_where_nothing_can_be_mapped_arrays_lie_in_memory(tmp_path: Path, monkeypatch) -> None:
    def fail(path: Path, *more: object) -> None:
        path.write_bytes(b"half")
        raise OSError(number, "no")

    with monkeypatch.context() as patch, drafting(tmp_path / "set") as draft:
        number = errno.ENODEV
        patch.setattr(np.lib.format, "open_memmap", fail)
        draft.finish("toy", image_set(images=allocated(draft, image_set().images)))
        number = errno.ENOSPC
        with pytest.raises(OSError, match="no"):
            draft.allocate((6, 4, 4, 3))
    assert names_in(tmp_path / "set") == {"meta.json", "images.npy", "splits.npy", "attributes.npy"}
    assert read_packed(tmp_path / "set").fingerprint == fingerprint(image_set())


def test_a_draft_that_is_given_up_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    def give_up() -> None:
        with drafting(tmp_path / "set") as draft:
            draft.allocate((6, 4, 4, 3))
            raise RuntimeError("given up")

    with pytest.raises(RuntimeError):
        give_up()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "set", image_set())
    with pytest.raises(RuntimeError):
        give_up()
    assert names_in(tmp_path) == {"set"}
    assert read_packed(tmp_path / "set").fingerprint == fingerprint(image_set())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate here")
def test_room_is_taken_before_an_array_is_written_to(tmp_path: Path, monkeypatch) -> None:
    shape = (64, 32, 32, 3)

    def allocated_bytes(name: str) -> int:
        with drafting(tmp_path / name) as draft:
            assert not draft.allocate(shape).any()
            (file,) = tmp_path.rglob("*.npy")
            return file.stat().st_blocks * 512

    assert allocated_bytes("able") >= 64 * 32 * 32 * 3
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "no")))
    assert allocated_bytes("unable") >= 64 * 32 * 32 * 3
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        allocated_bytes("full")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images.npy").write_bytes(b"half")
    write(tmp_path / "set", image_set())
    assert read_packed(tmp_path / "set") is not None
