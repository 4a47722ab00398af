"""LFW: the middle of each face, nobody in two splits, Kumar's attributes, and no half of it taken for the whole."""

import io
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import LFWPeople

import genbench_datasets
from genbench.data.packed import fingerprint
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, ImageSet
from genbench.plugins import Plugins
from genbench.testing.interface import carry_out
from genbench_datasets.lfw import Lfw
from genbench_datasets.lfw_lists import read_attributes, read_people
from genbench_datasets.settings import LfwSettings

PEOPLE = {
    f"{first}_{last}": 1 + number % 3
    for number, (first, last) in enumerate(
        (first, last)
        for first in ("Abdel", "Beth", "Carla", "Dick", "Eva", "Fidel")
        for last in ("Al-Hakim", "Li", "Oz")
    )
}
NAMES = sorted(
    f"{person}/{person}_{number:04}.jpg" for person, count in PEOPLE.items() for number in range(1, count + 1)
)
TESTING = set(list(PEOPLE)[::3])
HEADER = ("Male", "Black Hair", "5 o' Clock Shadow", "Strong Nose-Mouth Lines")


def jpeg(seed: int, size: tuple[int, int] = (250, 250)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def faces() -> dict[str, bytes]:
    return {name: jpeg(seed) for seed, name in enumerate(NAMES)}


@pytest.fixture
def source(tmp_path: Path, faces: dict[str, bytes]) -> Path:
    folder = tmp_path / "data"
    for name, content in reversed(faces.items()):
        path = folder / "lfw-deepfunneled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_lists(folder: Path, people: dict[str, int] = PEOPLE, testing: set[str] = TESTING) -> None:
    for name, listed in (("Train", people.keys() - testing), ("Test", testing)):
        lines = [f"{person}\t{people[person]}" for person in sorted(listed, reverse=True)]
        (folder / f"peopleDev{name}.txt").write_text("\n".join([str(len(lines)), *lines]) + "\n")


def scores(name: str) -> list[float]:
    return np.random.default_rng(NAMES.index(name)).normal(size=len(HEADER)).tolist()


def write_attributes(folder: Path, names: list[str] = NAMES, header: tuple[str, ...] = HEADER) -> None:
    lines = ["#\tlfw_attributes.txt\tsee the paper", "#\t" + "\t".join(("person", "imagenum", *header))]
    for name in names:
        person, number = name.split("/")[0].replace("_", " "), int(name[-8:-4])
        lines.append("\t".join([person, str(number), *(f"{score:.10f}" for score in scores(name))]))
    (folder / "lfw_attributes.txt").write_text("\n".join(lines) + "\n")


def archived(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "lfw-deepfunneled.tgz", "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder


def inside(faces: dict[str, bytes]) -> dict[str, bytes]:
    return {f"lfw-deepfunneled/{name}": faces[name] for name in reversed(faces)}


def prepare(source: Path | None, size: int = 64, settings: LfwSettings | None = None, **more: object) -> ImageSet:
    return Lfw(settings).prepare(DataRequest(source, Path("nowhere"), size, **more))  # type: ignore[arg-type]


def split_of(images: ImageSet, names: list[str] = NAMES) -> dict[str, set[int]]:
    splits: dict[str, set[int]] = defaultdict(set)
    for name, split in zip(names, images.splits, strict=True):
        splits[name.split("/")[0]].add(int(split))
    return splits


@pytest.mark.parametrize("size", [32, 64, 150])
def test_the_middle_of_each_face_in_the_order_of_names(source: Path, faces: dict[str, bytes], size: int) -> None:
    images = prepare(source, size).images
    assert len(images) == len(NAMES)
    for place in (0, 7, len(NAMES) - 1):
        whole = np.asarray(Image.open(io.BytesIO(faces[NAMES[place]])))
        middle = Image.fromarray(whole[50:-50, 50:-50])  # as the code of Larsen et al. 2016 crops
        np.testing.assert_array_equal(images[place], np.asarray(middle.resize((size, size), Image.Resampling.BICUBIC)))


def test_images_of_another_size_are_cropped_in_proportion_and_noted(source: Path, faces: dict[str, bytes]) -> None:
    official = prepare(source).images
    for name, content in faces.items():
        halved = Image.open(io.BytesIO(content)).resize((125, 125), Image.Resampling.BOX)
        halved.save(source / "lfw-deepfunneled" / name, quality=98)
    halves = prepare(source)
    assert np.abs(halves.images.astype(int) - official).mean() < 4
    assert any("125×125" in note and "not comparable" in note for note in halves.notes)


@pytest.mark.parametrize("official", [False, True])
def test_nobody_is_in_two_splits(source: Path, official: bool) -> None:
    if official:
        write_lists(source)
    images = prepare(source, 16)
    splits = split_of(images)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {0, 1, 2}
    if official:
        assert {person for person, found in splits.items() if found == {2}} == TESTING


def test_which_split_it_is_stands_in_the_notes(source: Path) -> None:
    assert any("split by a hash of their names" in note for note in prepare(source, 16).notes)
    write_lists(source)
    notes = prepare(source, 16).notes
    assert any("the official split" in note for note in notes)
    assert not any("hash" in note for note in notes)
    assert any(f"{len(NAMES)} of 13,233" in note for note in notes)


def test_a_persons_split_does_not_depend_on_the_others(source: Path) -> None:
    before = split_of(prepare(source, 16))
    leaving = list(PEOPLE)[::4]
    for person in leaving:
        shutil.rmtree(source / "lfw-deepfunneled" / person)
    names = [name for name in NAMES if name.split("/")[0] not in leaving]
    after = split_of(prepare(source, 16), names)
    assert after == {person: splits for person, splits in before.items() if person not in leaving}


def test_hashed_shares_are_as_those_of_the_official_lists() -> None:
    from genbench_datasets.lfw import TESTED, VALIDATED
    from genbench_datasets.pictures import share

    shares = np.array([share(f"Somebody_{number}") for number in range(5749)])
    assert abs((shares >= TESTED).mean() - 1711 / 5749) < 0.02
    assert abs((shares < VALIDATED).mean() - 0.1) < 0.02


def test_a_positive_score_has_the_attribute(source: Path) -> None:
    assert prepare(source, 16).attributes is None
    write_attributes(source)
    images = prepare(source, 16)
    assert images.attribute_names == ("Male", "Black_Hair", "5_o_Clock_Shadow", "Strong_Nose-Mouth_Lines")
    assert images.attributes is not None
    np.testing.assert_array_equal(images.attributes, np.array([scores(name) for name in NAMES]) > 0)


def test_images_without_a_row_are_left_out_and_counted(source: Path) -> None:
    whole = prepare(source, 16)
    rows = NAMES[:5] + NAMES[7:]
    write_attributes(source, rows[::-1])
    images = prepare(source, 16)
    np.testing.assert_array_equal(images.images, np.delete(whole.images, [5, 6], axis=0))
    assert images.splits.tolist() == np.delete(whole.splits, [5, 6]).tolist()
    assert images.attributes is not None
    np.testing.assert_array_equal(images.attributes, np.array([scores(name) for name in rows]) > 0)
    assert any("2 images without a row in lfw_attributes.txt are left out" in note for note in images.notes)
    assert any(f"{len(NAMES)} of 13,233" in note for note in images.notes)


def test_archive_and_folder_are_the_same_set(source: Path, tmp_path: Path, faces: dict[str, bytes]) -> None:
    (source / "lfw-deepfunneled" / ".DS_Store").write_bytes(b"a Mac's")
    person = NAMES[0].split("/")[0]
    (source / "lfw-deepfunneled" / person / "._a_0001.jpg").write_bytes(b"a Mac's")
    expected = fingerprint(prepare(source, 16))
    hidden = {"lfw-deepfunneled/._x_0001.jpg": b"a Mac's", "lfw-deepfunneled/README": b"read me"}
    folder = archived(tmp_path / "a", {**inside(faces), **hidden})
    nested = archived(tmp_path / "b", {f"./lfw-deepfunneled/{name}": c for name, c in inside(faces).items()})
    for place in (folder, folder / "lfw-deepfunneled.tgz", nested):
        assert fingerprint(prepare(place, 16)) == expected


def test_an_archive_goes_over_a_folder_that_may_be_half_unpacked(source: Path, faces: dict[str, bytes]) -> None:
    expected = fingerprint(prepare(source, 16))
    archived(source, inside(faces))
    shutil.rmtree(source / "lfw-deepfunneled" / list(PEOPLE)[5])
    assert fingerprint(prepare(source, 16)) == expected


def test_it_is_found_where_people_put_it(source: Path, tmp_path: Path) -> None:
    write_lists(source)
    write_attributes(source)
    expected = fingerprint(prepare(source, 16))
    assert fingerprint(prepare(source / "lfw-deepfunneled", 16)) == expected
    (source / "lfw-deepfunneled").rename(source / "inner")
    (source / "lfw-deepfunneled").mkdir()
    (source / "inner").rename(source / "lfw-deepfunneled" / "lfw-deepfunneled")
    assert fingerprint(prepare(source, 16)) == expected
    source.rename(tmp_path / "lfw")
    assert fingerprint(prepare(tmp_path, 16)) == expected


def test_files_are_all_that_is_read(source: Path, tmp_path: Path, faces: dict[str, bytes]) -> None:
    write_lists(source)
    folder = source / "lfw-deepfunneled"
    lists = [source / "peopleDevTrain.txt", source / "peopleDevTest.txt"]
    found = list(Lfw().files(DataRequest(source, Path("nowhere"), 64)))
    assert found == [folder, *(folder / person for person in sorted(PEOPLE)), *lists]
    other = archived(tmp_path / "a", inside(faces))
    write_attributes(other)
    assert list(Lfw().files(DataRequest(other, Path("nowhere"), 64))) == [
        other / "lfw-deepfunneled.tgz",
        other / "lfw_attributes.txt",
    ]


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_an_unreadable_image_is_named_or_skipped(
    source: Path, tmp_path: Path, faces: dict[str, bytes], archive: bool, damage: str
) -> None:
    name, whole = NAMES[3], faces[NAMES[3]]
    content = {"truncated": whole[: len(whole) // 2], "garbage": b"garbage" * 100, "empty": b""}[damage]
    if archive:
        source = archived(tmp_path / "a", inside({**faces, name: content}))
    else:
        (source / "lfw-deepfunneled" / name).write_bytes(content)
    write_attributes(source)
    with pytest.raises(GenbenchError, match=rf"{name}: unreadable") as caught:
        prepare(source, 16)
    assert "--skip-bad-images" in str(caught.value.hint)
    images = prepare(source, 16, skip_bad_images=True)
    assert images.skipped_images == (name,)
    kept = [each for each in NAMES if each != name]
    assert images.attributes is not None
    np.testing.assert_array_equal(images.attributes, np.array([scores(each) for each in kept]) > 0)
    assert len(images.splits) == len(images.images) == len(kept)


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("image", r"1 people of .* have other images in .* than these say: Abdel_Al-Hakim \(0 of 1\)"),
        ("stranger", "1 people with images in .* stand in none of .*peopleDevTrain.txt and .*: Zoe_Zed"),
        ("half", r"half of the official split: .*peopleDevTrain.txt is there, peopleDevTest.txt is not"),
        ("both", "1 people stand in both .*peopleDevTrain.txt and .*"),
        ("row", r"1 images named in .*lfw_attributes.txt are missing from .*: Zoe_Zed/Zoe_Zed_0001.jpg"),
        ("name", "1 images are not named like Aaron_Eckhart/Aaron_Eckhart_0001.jpg: Beth_Li/Beth_Lo_0001.jpg"),
    ],
)
def test_half_a_data_set_is_an_error_that_says_what_is_missing(source: Path, how: str, complaint: str) -> None:
    folder = source / "lfw-deepfunneled"
    if how != "row":
        write_lists(source)
    if how == "image":
        (folder / NAMES[0]).unlink()
    elif how == "stranger":
        (folder / "Zoe_Zed").mkdir()
        (folder / "Zoe_Zed" / "Zoe_Zed_0001.jpg").write_bytes(jpeg(1))
    elif how == "half":
        (source / "peopleDevTest.txt").unlink()
    elif how == "both":
        (source / "peopleDevTest.txt").write_text("1\nBeth_Li\t2\n")
    elif how == "row":
        write_attributes(source)
        path = source / "lfw_attributes.txt"
        path.write_text(path.read_text() + "Zoe Zed\t1\t0\t0\t0\t0\n")
    elif how == "name":
        (folder / "Beth_Li" / "Beth_Lo_0001.jpg").write_bytes(jpeg(1))
    with pytest.raises(GenbenchError, match=complaint):
        prepare(source)


def test_a_bad_archive_is_named(tmp_path: Path, faces: dict[str, bytes]) -> None:
    path = archived(tmp_path / "a", inside(faces)) / "lfw-deepfunneled.tgz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[: len(whole) // 2], b"", b"no archive" * 999):
        path.write_bytes(content)
        with pytest.raises(GenbenchError, match=r"lfw-deepfunneled\.tgz: not a whole archive"):
            prepare(path)
    for name in ("../Eve_Oz/Eve_Oz_0001.jpg", "/Eve_Oz/Eve_Oz_0001.jpg"):
        with pytest.raises(GenbenchError, match="leads out of it"):
            prepare(archived(tmp_path / "out", {**inside(faces), name: jpeg(1)}))
    with pytest.raises(GenbenchError, match=f"1 images stand twice in it: {NAMES[0]}"):
        prepare(archived(tmp_path / "twice", {**inside(faces), f"other/{NAMES[0]}": jpeg(1)}))
    with pytest.raises(GenbenchError, match="no images in it"):
        prepare(archived(tmp_path / "none", {"lfw-deepfunneled/README": b"read me"}))
    with pytest.raises(GenbenchError, match="an image in it has 16,777,217 bytes: not the official archive"):
        prepare(archived(tmp_path / "large", {**inside(faces), "a/A_B/A_B_0001.jpg": bytes(2**24 + 1)}))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "out", "twice", "none", "large"}, "nothing was unpacked"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: expected the number of people"),
        ("Beth_Li\t2\n", "line 1: expected the number of people"),
        ("2\nBeth_Li\t2\n", "announces 2 people and lists 1"),
        ("2\nBeth_Li\t2\nEva_Oz\n", "line 3: expected a person's name and the number of images"),
        ("2\nBeth_Li\t2\n\nEva_Oz\t1\n", "line 3: expected a person's name and the number of images"),
        ("2\nBeth_Li\t2\nBeth_Li\t2\n", "line 3: Beth_Li stands twice"),
    ],
)
def test_a_bad_list_of_people_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(GenbenchError, match=f"people.txt: {complaint}"):
        read_people(tmp_path / "people.txt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: expected #"),
        ("Beth Li\t1\t0.5\n", "line 1: expected #"),
        ("# made by us\nBeth Li\t1\t0.5\n", "line 1: expected #"),
        ("# person imagenum Male\nBeth Li\t1\t0.5\n", "line 1: expected #"),
        ("#\tperson\timagenum\tBig Lips\tBig_Lips\n", "line 1: a name stands twice"),
        ("#\tperson\timagenum\tMale\nBeth Li\t1\t0.5\t1\n", "line 2: expected a person's name"),
        ("#\tperson\timagenum\tMale\nBeth Li\t1\tyes\n", "line 2: expected a person's name"),
        ("#\tperson\timagenum\tMale\nBeth Li\t1\tnan\n", "line 2: expected a person's name"),
        ("#\tperson\timagenum\tMale\nBeth Li\tone\t0.5\n", "line 2: expected a person's name"),
        ("#\tperson\timagenum\tMale\nBeth Li\t1\t0.5\nBeth Li\t2\n", "line 3: expected a person's name"),
        ("#\tperson\timagenum\tMale\nBeth Li\t1\t0.5\n\nBeth Li\t2\t1\n", "line 3: expected a person's name"),
        (
            "#\tperson\timagenum\tMale\nBeth Li\t1\t0.5\nBeth Li\t1\t1\n",
            "line 3: Beth_Li/Beth_Li_0001.jpg stands twice",
        ),
    ],
)
def test_a_bad_list_of_attributes_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "attributes.txt").write_text(text)
    with pytest.raises(GenbenchError, match=rf"attributes\.txt: {complaint}"):
        read_attributes(tmp_path / "attributes.txt")


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lfw.tgz").write_bytes(b"")
    with pytest.raises(GenbenchError, match=r"no lfw-deepfunneled in .*lfw\.tgz is there, but .* aligned") as caught:
        Lfw().files(DataRequest(tmp_path, Path("nowhere"), 64))
    assert str(tmp_path) in caught.value.message
    assert "lfw-deepfunneled.tgz" in str(caught.value.hint)
    official = {**LFWPeople.checksums, LFWPeople.file_dict["deepfunneled"][1]: LFWPeople.file_dict["deepfunneled"][2]}
    asked = []

    def download(url: str, root: str, filename: str, md5: str) -> None:
        assert url == LFWPeople.download_url_prefix + filename
        assert md5 == official[filename]
        asked.append(filename)
        if filename.endswith(".tgz"):
            raise OSError("no such host")
        Path(root, filename).write_bytes(b"")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    with pytest.raises(GenbenchError, match=r"can't download lfw-deepfunneled\.tgz: .*no such host") as caught:
        Lfw().files(DataRequest(None, tmp_path, 64))
    assert str(tmp_path / "lfw") in str(caught.value.hint)
    assert asked == ["peopleDevTrain.txt", "peopleDevTest.txt", "lfw-deepfunneled.tgz"], "lists first"


def test_what_was_put_among_the_downloads_is_used(
    tmp_path: Path, faces: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.download_url", None)
    (tmp_path / "downloads").mkdir()
    archived(tmp_path / "downloads" / "lfw", inside(faces))
    images = Lfw().prepare(DataRequest(None, tmp_path / "downloads", 16))
    assert len(images.images) == len(NAMES)


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("settings", [(), ("dataset.blur=1.2",)])
def test_it_passes_the_checks(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: bool, settings: tuple[str, ...]
) -> None:
    if lists:
        write_lists(source)
        write_attributes(source)
    monkeypatch.setenv("GENBENCH_DATA", str(source))
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    found = list(carry_out(Plugins.of(genbench_datasets), "dataset", "lfw", settings, device="cpu"))
    assert {each.name: each.found for each in found if each.state == "failed"} == {}
    lacking = {"counterfactuals"} if lists else {"attributes", "counterfactuals"}
    assert {each.name for each in found if each.state == "skipped"} == lacking
