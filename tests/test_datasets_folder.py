"""A folder of images: order, splits, orientation, transparency, attributes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench.data.packed import fingerprint
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest
from genbench_datasets.folder import Folder
from genbench_datasets.settings import FolderSettings


def save(path: Path, colour=(10, 20, 30), size=(8, 8), **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **more)


def prepare(source: Path | None, attributes: str = "", **more):
    return Folder(FolderSettings(attributes)).prepare(DataRequest(source, Path("nowhere"), 8, **more))


def test_images_stand_in_the_order_of_their_paths_at_any_depth(tmp_path: Path) -> None:
    for level, name in enumerate(("b/2.png", "a.PNG", "b/1.bmp", "c/d/e.webp")):
        save(tmp_path / name, (level * 60,) * 3)
    (tmp_path / "notes.txt").write_text("no image")
    save(tmp_path / ".hidden" / "x.png")
    (tmp_path / "b" / "._1.png").write_bytes(b"a Mac's")
    images = prepare(tmp_path).images
    assert [round(level / 60) for level in images[:, 4, 4, 0]] == [1, 2, 0, 3]


def test_the_middle_square_is_resized(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = Image.fromarray(pixels[:, 6:26]).resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(prepare(tmp_path).images[0], np.asarray(expected))


def test_a_camera_held_upright_is_turned(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # the upper half is white; orientation 6 says: turn clockwise to view
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(prepare(tmp_path).images[0], np.rot90(pixels, -1))


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 200).save(tmp_path / "a.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.png")
    Image.fromarray(np.full((8, 8), 200 * 256, np.uint16)).save(tmp_path / "c.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "d.png")
    Image.new("RGB", (8, 8), (9, 9, 9)).quantize(4).save(tmp_path / "e.gif")
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "f.jpg")
    assert prepare(tmp_path).images[:, 3, 3].tolist() == [[v] * 3 for v in (200, 255, 200, 255, 9, 255)]


def test_folders_named_after_splits_are_the_splits(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/cats/b.png", "val/c.png", "test/d.png"):
        save(tmp_path / name)
    assert prepare(tmp_path).splits.tolist() == [2, 0, 0, 1]  # test, train, train, val


def test_a_missing_split_is_taken_from_the_training_images(tmp_path: Path) -> None:
    for number in range(60):
        save(tmp_path / "train" / f"{number}.png")
    save(tmp_path / "test" / "x.png")
    counts = np.bincount(prepare(tmp_path).splits)
    assert counts[2] == 1
    assert 1 <= counts[1] <= 15


def test_splits_by_hash_stay_when_images_come_and_go(tmp_path: Path) -> None:
    for number in range(120):
        save(tmp_path / f"{number:03}.png")
    before = prepare(tmp_path).splits
    counts = np.bincount(before, minlength=3) / 120
    assert abs(counts - (0.8, 0.1, 0.1)).max() < 0.1
    for number in range(0, 120, 2):
        (tmp_path / f"{number:03}.png").unlink()
    np.testing.assert_array_equal(prepare(tmp_path).splits, before[1::2])


def test_where_the_folder_lies_does_not_matter(tmp_path: Path) -> None:
    for place in ("one", "two"):
        for number in range(20):
            save(tmp_path / place / f"{number}.png", (number, 0, 0))
    assert fingerprint(prepare(tmp_path / "one")) == fingerprint(prepare(tmp_path / "two"))


def test_attributes_from_a_table_in_any_order(tmp_path: Path) -> None:
    for name in ("a.png", "s/b.png", "s/c.png"):
        save(tmp_path / name)
    (tmp_path / "t.csv").write_text("file,Red, Round\ns/c.png,1,-1\na.png,0,1\ns/b.png,-1,1\n")
    images = prepare(tmp_path, "t.csv")
    assert images.attribute_names == ("Red", "Round")
    assert images.attributes.tolist() == [[0, 1], [0, 1], [1, 0]]
    files = Folder(FolderSettings("t.csv")).files(DataRequest(tmp_path, tmp_path, 8))
    assert list(files) == [tmp_path, tmp_path / "s", tmp_path / "t.csv"]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("file,Red\na.png,1\n", "1 images have no row: b.png"),
        ("file,Red\na.png,1\nb.png,0\nc.png,1\n", "1 images have a row, but are not there: c.png"),
        ("file,Red\na.png,1\nb.png,2\n", "row 3: expected a path and 1 values"),
        ("file,Red\na.png,1\na.png,1\n", "row 3: a.png stands twice"),
        ("file,Red\na.png\n", "row 2"),
        ("file\na.png\nb.png\n", "no attributes"),
        ("", "not a CSV file"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, table: str, complaint: str) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(GenbenchError, match=complaint):
        prepare(tmp_path, "t.csv")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="no folder of images named"):
        prepare(None)
    with pytest.raises(GenbenchError, match="no images below"):
        prepare(tmp_path)
    save(tmp_path / "a.png")
    with pytest.raises(GenbenchError, match="not a folder"):
        prepare(tmp_path / "a.png")
    with pytest.raises(GenbenchError, match=r"no attributes file .*t\.csv"):
        prepare(tmp_path, "t.csv")
    save(tmp_path / "train" / "b.png")
    with pytest.raises(GenbenchError, match=r"1 images lie outside .*: a\.png"):
        prepare(tmp_path)


def test_a_bad_image_is_named_or_skipped_with_its_attributes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "t.csv").write_text("file,Red\na.png,1\nb.png,1\nc.png,0\n")
    with pytest.raises(GenbenchError, match=r"b\.png: unreadable"):
        prepare(tmp_path, "t.csv")
    images = prepare(tmp_path, "t.csv", skip_bad_images=True)
    assert images.skipped_images == ("b.png",)
    assert images.attributes.tolist() == [[1], [0]]


def test_many_bad_images_among_many_good_ones(tmp_path: Path) -> None:
    levels = {f"{number:03}.png": number for number in range(200)}
    bad = {f"{number:03}.png" for number in (0, 1, 63, 64, 65, 100, 128, 199)}
    for name, level in levels.items():
        if name in bad:
            (tmp_path / name).write_bytes(b"bad")
        else:
            save(tmp_path / name, (level,) * 3)
    images = prepare(tmp_path, skip_bad_images=True)
    assert images.skipped_images == tuple(sorted(bad))
    assert images.images[:, 3, 3, 0].tolist() == [level for name, level in levels.items() if name not in bad]


def test_images_are_written_where_they_are_told_to(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", (number,) * 3)
    places: list[np.ndarray] = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        places.append(np.empty(shape, np.uint8))
        return places[-1]

    whole = prepare(tmp_path, allocate=allocate)
    assert whole.images is places[0]
    (tmp_path / "1.png").write_bytes(b"bad")
    some = prepare(tmp_path, allocate=allocate, skip_bad_images=True)
    assert np.shares_memory(some.images, places[1])
    assert some.images[:, 0, 0, 0].tolist() == [0, 2, 3]
