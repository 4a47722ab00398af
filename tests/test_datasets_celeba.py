"""CelebA: the paper's crop, attributes by name, and no half data set taken for a whole one."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench.data.packed import fingerprint
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest
from genbench_datasets.celeba import Celeba

NAMES = [f"{number:06}.jpg" for number in range(1, 6)]
ATTRIBUTES = ("Smiling", "Eyeglasses", "Male")
VALUES = {name: [(place >> bit) & 1 for bit in range(3)] for place, name in enumerate(NAMES)}
SPLITS = dict(zip(NAMES, [0, 0, 1, 2, 0], strict=True))


def jpeg(seed: int, size=(178, 218)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_attributes(folder: Path, names=NAMES, order=ATTRIBUTES, count=None) -> None:
    lines = [str(len(names) if count is None else count), " ".join(order) + " "]
    for name in names:
        values = dict(zip(ATTRIBUTES, VALUES[name], strict=True))
        lines.append(name + " " + " ".join(f"{1 if values[attribute] else -1:2}" for attribute in order))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")


def write_partition(folder: Path, names=NAMES) -> None:
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} {SPLITS[name]}\n" for name in names))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        (folder / "img_align_celeba" / name).write_bytes(jpeg(seed))
    write_attributes(folder)
    write_partition(folder)
    return folder


def zip_images(source: Path, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(source / "img_align_celeba.zip", "w", compression) as archive:
        for name in reversed(NAMES):
            archive.write(source / "img_align_celeba" / name, f"img_align_celeba/{name}")
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not an image")
    shutil.rmtree(source / "img_align_celeba")


def request(source: Path | None, downloads: Path = Path("nowhere"), size: int = 64, **more) -> DataRequest:
    return DataRequest(source, downloads, size, **more)


def prepare(source: Path, **more):
    return Celeba().prepare(request(source, **more))


@pytest.mark.parametrize("size", [32, 64, 148])
def test_the_crop_is_the_papers(source: Path, size: int) -> None:
    faces = prepare(source, size=size)
    for place, name in enumerate(NAMES):
        with Image.open(source / "img_align_celeba" / name) as whole:
            rows_and_columns = Image.fromarray(np.asarray(whole)[40:188, 15:163])
        expected = np.asarray(rows_and_columns.resize((size, size), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(faces.images[place], expected)


def test_a_halved_image_is_cropped_in_proportion_and_noted(source: Path) -> None:
    official = prepare(source).images
    for seed, name in enumerate(NAMES):
        whole = Image.open(io.BytesIO(jpeg(seed)))
        halved = whole.resize((89, 109), Image.Resampling.BOX)
        halved.save(source / "img_align_celeba" / name, quality=98)
    faces = prepare(source)
    assert np.abs(faces.images.astype(int) - official).mean() < 4
    assert any("89×109" in note and "not comparable" in note for note in faces.notes)


def test_a_subset_is_noted_and_official_sizes_are_not(source: Path) -> None:
    (note,) = prepare(source).notes
    assert "5 of 202,599" in note


def test_splits_and_attributes(source: Path) -> None:
    faces = prepare(source)
    assert faces.splits.tolist() == [0, 0, 1, 2, 0]
    assert faces.attribute_names == ATTRIBUTES
    assert faces.attributes.tolist() == [VALUES[name] for name in NAMES]


def test_attributes_are_read_by_name(source: Path) -> None:
    write_attributes(source, names=NAMES[::-1], order=("Male", "Smiling", "Eyeglasses"))
    faces = prepare(source)
    for column, name in enumerate(faces.attribute_names):
        assert faces.attributes[:, column].tolist() == [VALUES[file][ATTRIBUTES.index(name)] for file in NAMES]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_and_folder_are_the_same_set(source: Path, compression: int) -> None:
    (source / "img_align_celeba" / "._000001.jpg").write_bytes(b"a Mac's")
    from_folder = fingerprint(prepare(source))
    zip_images(source, compression)
    assert fingerprint(prepare(source)) == from_folder


def test_it_is_found_from_its_parent_and_in_the_official_layout(source: Path) -> None:
    expected = fingerprint(prepare(source))
    assert fingerprint(prepare(source.parent)) == expected
    for folder, name in (
        ("Anno", "list_attr_celeba.txt"),
        ("Eval", "list_eval_partition.txt"),
        ("Img", "img_align_celeba"),
    ):
        (source / folder).mkdir()
        (source / name).rename(source / folder / name)
    assert fingerprint(prepare(source)) == expected


def test_files_are_all_that_is_read(source: Path) -> None:
    lists = [source / "list_attr_celeba.txt", source / "list_eval_partition.txt"]
    assert list(Celeba().files(request(source))) == [source / "img_align_celeba", *lists]
    (source / "img_align_celeba").rename(source / "unpacked")
    (source / "img_align_celeba").mkdir()
    (source / "unpacked").rename(source / "img_align_celeba" / "img_align_celeba")
    assert list(Celeba().files(request(source))) == [source / "img_align_celeba" / "img_align_celeba", *lists]
    assert len(prepare(source).images) == 5
    (source / "img_align_celeba" / "img_align_celeba").rename(source / "unpacked")
    (source / "img_align_celeba").rmdir()
    (source / "unpacked").rename(source / "img_align_celeba")
    zip_images(source)
    assert list(Celeba().files(request(source))) == [source / "img_align_celeba.zip", *lists]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_an_unreadable_image_is_named_or_skipped(source: Path, zipped: bool, damage: str) -> None:
    bad = source / "img_align_celeba" / NAMES[1]
    content = bad.read_bytes()
    bad.write_bytes({"truncated": content[: len(content) // 2], "garbage": b"garbage" * 100, "empty": b""}[damage])
    if zipped:
        zip_images(source)
    with pytest.raises(GenbenchError, match=rf"img_align_celeba.*{NAMES[1]}: unreadable") as caught:
        prepare(source)
    assert "--skip-bad-images" in str(caught.value.hint)
    faces = prepare(source, skip_bad_images=True)
    assert faces.skipped_images == (NAMES[1],)
    kept = [name for name in NAMES if name != NAMES[1]]
    assert faces.attributes.tolist() == [VALUES[name] for name in kept]
    assert faces.splits.tolist() == [SPLITS[name] for name in kept]
    assert len(faces.images) == 4


def test_all_images_bad_is_an_error_even_when_bad_ones_are_skipped(source: Path) -> None:
    for name in NAMES:
        (source / "img_align_celeba" / name).write_bytes(b"bad")
    with pytest.raises(GenbenchError, match="none of 5 images"):
        prepare(source, skip_bad_images=True)


def spoil(source: Path, how: str) -> None:
    images = source / "img_align_celeba"
    if how == "images missing":
        (images / NAMES[1]).unlink()
        (images / NAMES[3]).unlink()
    elif how == "rows missing":
        write_attributes(source, NAMES[:3])
    elif how == "partition short":
        write_partition(source, NAMES[:4])
    elif how == "partition long":
        write_attributes(source, NAMES[:4])
        (images / NAMES[4]).unlink()
    elif how == "count":
        write_attributes(source, count=7)
    elif how in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (source / how).unlink()
    elif how == "no images":
        shutil.rmtree(images)
    elif how == "cut row":
        path = source / "list_attr_celeba.txt"
        path.write_text(path.read_text().rstrip()[:-3])
    elif how == "strange split":
        (source / "list_eval_partition.txt").write_text(f"{NAMES[0]} 3\n")
    elif how == "blank line":
        path = source / "list_eval_partition.txt"
        path.write_text("\n" + path.read_text())
    elif how == "cut zip":
        zip_images(source)
        archive = source / "img_align_celeba.zip"
        archive.write_bytes(archive.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (
            "images missing",
            r"2 images named in list_attr_celeba.txt are missing from .*: 000002.jpg, 000004.jpg \(3 im",
        ),
        ("rows missing", "2 images in .* have no row in .*list_attr_celeba.txt: 000004.jpg, 000005.jpg"),
        ("partition short", "1 images .* have no row in .*list_eval_partition.txt: 000005.jpg"),
        ("partition long", "1 images named in list_eval_partition.txt have no row in .*list_attr_celeba.txt"),
        ("count", "announces 7 images and lists 5"),
        ("list_attr_celeba.txt", "list_attr_celeba.txt missing"),
        ("list_eval_partition.txt", "list_eval_partition.txt missing"),
        ("no images", "img_align_celeba.zip or img_align_celeba/ missing"),
        ("cut row", "line 7: expected a file name and 3 values"),
        ("strange split", "line 1: expected a file name and 0, 1 or 2"),
        ("blank line", "line 1: expected a file name and 0, 1 or 2"),
        ("cut zip", "img_align_celeba.zip: not a whole zip archive"),
    ],
)
def test_half_a_data_set_is_an_error_that_says_what_is_missing(source: Path, how: str, complaint: str) -> None:
    spoil(source, how)
    with pytest.raises(GenbenchError, match=complaint):
        prepare(source)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="no CelebA in") as caught:
        Celeba().files(request(tmp_path))
    assert str(tmp_path) in caught.value.message
    assert "list_eval_partition.txt" in caught.value.message


def test_a_failed_download_says_which_files_to_put_where(tmp_path: Path, monkeypatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("quota exceeded")

    monkeypatch.setattr("torchvision.datasets.CelebA", fail)
    with pytest.raises(GenbenchError, match="quota exceeded") as caught:
        Celeba().files(request(None, tmp_path))
    assert str(tmp_path / "celeba") in caught.value.message
    for name in ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"):
        assert name in str(caught.value.hint)


def test_an_earlier_download_is_found(source: Path, monkeypatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CelebA", None)
    assert len(Celeba().prepare(request(None, source.parent)).images) == 5


def plain(shared: Path, numbers: range, size: int) -> np.ndarray:
    """Return real faces as Pillow and zipfile alone make them: halved images, cropped in proportion."""
    box = (15 * 89 / 178, 40 * 109 / 218, 163 * 89 / 178, 188 * 109 / 218)
    with zipfile.ZipFile(shared / "data" / "celeba" / "img_align_celeba.zip") as archive:
        files = [io.BytesIO(archive.read(f"img_align_celeba/{number:06}.jpg")) for number in numbers]
    whole = [Image.open(file).convert("RGB") for file in files]
    return np.stack([np.asarray(w.resize((size, size), Image.Resampling.BICUBIC, box=box)) for w in whole])


def test_the_real_subset(shared: Path) -> None:
    faces = Celeba().prepare(request(shared / "data", size=16))
    assert np.bincount(faces.splits).tolist() == [6344, 828, 828]
    assert faces.attributes.shape == (8000, 40)
    assert len(faces.notes) == 2
    np.testing.assert_array_equal(faces.images[::100], plain(shared, range(1, 8001, 100), 16))
    smiling = faces.attributes[:, faces.attribute_names.index("Smiling")]
    assert 0.4 < smiling.mean() < 0.6  # 48 % of all of CelebA
