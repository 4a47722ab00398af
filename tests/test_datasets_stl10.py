"""STL-10: planes of columns turned into pictures, its splits, and no half of it taken for the whole."""

import gzip
import io
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import STL10

import genbench_datasets
from genbench.data.packed import fingerprint
from genbench.errors import GenbenchError
from genbench.findings import Finding
from genbench.interfaces import DataRequest, ImageSet
from genbench.plugins import Plugins
from genbench.testing.interface import carry_out
from genbench_datasets.settings import Stl10Settings
from genbench_datasets.stl10 import Stl10

TRAIN, UNLABELLED, TEST = 20, 70, 12
LABELLED = Stl10Settings(labelled=True)


def pictures(count: int, seed: int) -> np.ndarray:
    """Return smooth pictures (n, 96, 96, 3), rows before columns."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((96, 96))) for image in coarse])


def binary(images: np.ndarray) -> bytes:
    """Write images as the data set's page says: a channel after the other, and each column after column."""
    return b"".join(image[:, :, channel].tobytes(order="F") for image in images for channel in range(3))


def contents() -> dict[str, bytes]:
    return {
        "train_X.bin": binary(pictures(TRAIN, 1)),
        "train_y.bin": bytes(1 + place % 10 for place in range(TRAIN)),
        "unlabeled_X.bin": binary(pictures(UNLABELLED, 2)),
        "test_X.bin": binary(pictures(TEST, 3)),
        "test_y.bin": bytes(1 + place % 10 for place in range(TEST)),
    }


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return contents()


@pytest.fixture
def source(tmp_path: Path, files: dict[str, bytes]) -> Path:
    folder = tmp_path / "data" / "stl10_binary"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder.parent


def archived(folder: Path, members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change:
                change(info)
            tar.addfile(info, io.BytesIO(content))
    return folder


def inside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"stl10_binary/{name}": files[name] for name in reversed(files)}


def prepare(source: Path | None, settings: Stl10Settings | None = None, size: int = 96, **more: object) -> ImageSet:
    return Stl10(settings).prepare(DataRequest(source, Path("nowhere"), size, **more))  # type: ignore[arg-type]


def test_pictures_are_read_as_they_were_written(source: Path) -> None:
    images = prepare(source).images
    np.testing.assert_array_equal(
        images, np.concatenate([pictures(TRAIN, 1), pictures(UNLABELLED, 2), pictures(TEST, 3)])
    )


def test_pictures_are_those_of_torchvision(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STL10, "_check_integrity", lambda _self: True)  # it knows the official files' checksums
    ours = prepare(source, LABELLED)
    theirs = [each for split in ("train", "test") for each in STL10(str(source), split)]
    np.testing.assert_array_equal(ours.images, np.stack([np.asarray(image) for image, _ in theirs]))
    assert ours.attributes is not None
    assert ours.attributes.argmax(1).tolist() == [label for _, label in theirs]


def test_splits(source: Path) -> None:
    everything, labelled = prepare(source, size=16), prepare(source, LABELLED, 16)
    held_out = UNLABELLED // 20
    assert everything.splits.tolist() == [0] * (TRAIN + UNLABELLED - held_out) + [1] * held_out + [2] * TEST
    assert labelled.splits.tolist() == [0] * (TRAIN - TRAIN // 10) + [1] * (TRAIN // 10) + [2] * TEST
    assert everything.notes == ("20 + 70 + 12 images instead of 5,000 + 100,000 + 8,000",)
    assert labelled.notes == ("20 + 12 images instead of 5,000 + 8,000",)


def test_only_labelled_images_have_attributes(source: Path) -> None:
    assert prepare(source, size=16).attributes is None
    labelled = prepare(source, LABELLED, 16)
    assert labelled.attributes is not None
    assert labelled.attribute_names[7] == "monkey"
    assert labelled.attributes[7].tolist() == [0] * 7 + [1, 0, 0]


def test_resizing_is_pillows(source: Path) -> None:
    resized = prepare(source, size=64).images
    expected = [
        Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC) for image in pictures(UNLABELLED, 2)[::23]
    ]
    np.testing.assert_array_equal(resized[TRAIN : TRAIN + UNLABELLED : 23], np.stack([np.asarray(i) for i in expected]))


def test_archive_and_folder_are_the_same_set(source: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    for settings in (Stl10Settings(), LABELLED):
        expected = fingerprint(prepare(source, settings, 16))
        for name, members in (("a", inside(files)), ("b", {f"./{path}": c for path, c in inside(files).items()})):
            folder = archived(tmp_path / name, members)
            assert fingerprint(prepare(folder, settings, 16)) == expected
            assert fingerprint(prepare(folder / "stl10_binary.tar.gz", settings, 16)) == expected
    assert fingerprint(prepare(source / "stl10_binary", LABELLED, 16)) == expected


def test_a_whole_archive_goes_over_half_a_folder(source: Path, files: dict[str, bytes]) -> None:
    expected = fingerprint(prepare(source, size=16))
    archived(source, inside(files))
    (source / "stl10_binary" / "test_X.bin").unlink()
    assert fingerprint(prepare(source, size=16)) == expected


def test_files_are_all_that_is_read(source: Path) -> None:
    folder = source / "stl10_binary"
    for settings, names in (
        (Stl10Settings(), ["train_X.bin", "unlabeled_X.bin", "test_X.bin"]),
        (LABELLED, ["train_X.bin", "test_X.bin", "train_y.bin", "test_y.bin"]),
    ):
        assert list(Stl10(settings).files(DataRequest(source, Path("nowhere"), 96))) == [folder / n for n in names]


def test_images_are_not_gathered_in_memory(
    source: Path, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genbench_datasets.pictures._cores", lambda: 2)
    many = {**files, "unlabeled_X.bin": files["unlabeled_X.bin"] * 12}
    (source / "stl10_binary" / "unlabeled_X.bin").write_bytes(many["unlabeled_X.bin"])
    images = np.empty((TRAIN + 12 * UNLABELLED + TEST, 16, 16, 3), np.uint8)
    for place in (source, archived(tmp_path / "archive", inside(many))):
        tracemalloc.start()
        prepare(place, size=16, allocate=lambda shape: images.reshape(shape))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < len(many["unlabeled_X.bin"]) / 2


@pytest.mark.parametrize(
    ("spoiled", "settings", "complaint"),
    [
        ({"unlabeled_X.bin": None}, Stl10Settings(), r"half of STL-10: unlabeled_X\.bin missing"),
        ({"train_y.bin": None}, LABELLED, r"half of STL-10: train_y\.bin missing"),
        ({"test_X.bin": b"cut"}, Stl10Settings(), r"test_X\.bin: 3 bytes, expected a multiple of 27,648"),
        ({"test_X.bin": b""}, Stl10Settings(), r"test_X\.bin: 0 bytes"),
        ({"test_y.bin": bytes([1] * 11)}, LABELLED, r"test_y\.bin: 11 labels for 12 images"),
        ({"test_y.bin": bytes([0] * 12)}, LABELLED, "labels 0 to 10, expected 1 to 10"),
        ({"test_y.bin": bytes([11] * 12)}, LABELLED, "labels 1 to 11, expected 1 to 10"),
    ],
)
def test_bad_files_are_named(
    source: Path, spoiled: dict[str, bytes | None], settings: Stl10Settings, complaint: str
) -> None:
    for name, content in spoiled.items():
        path = source / "stl10_binary" / name
        path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(GenbenchError, match=complaint):
        prepare(source, settings)


def test_a_bad_archive_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = archived(tmp_path / "a", inside(files)) / "stl10_binary.tar.gz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:-4] + b"1234", whole[: len(whole) // 2], whole[:100], b"", b"no archive" * 999):
        path.write_bytes(content)
        with pytest.raises(GenbenchError, match=r"stl10_binary\.tar\.gz: not a whole archive") as caught:
            prepare(path)
        assert "get stl10_binary.tar.gz again" in str(caught.value.hint)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-20_000]))
    with pytest.raises(GenbenchError, match="not a whole archive"):
        prepare(path)


def test_an_archive_that_is_damaged_otherwise_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    """By compression of another kind, and by headers that tell nonsense."""
    path = archived(tmp_path / "a", inside(files)) / "stl10_binary.tar.gz"
    squeezed = bytearray(lzma.compress(gzip.decompress(path.read_bytes()), preset=0))
    half = len(squeezed) // 2
    squeezed[half : half + 64] = bytes(64)
    path.write_bytes(squeezed)
    with pytest.raises(GenbenchError, match="not a whole archive"):
        prepare(path)

    def nonsense(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"GNU.sparse.map": "0,x", "GNU.sparse.size": "9"}

    with pytest.raises(GenbenchError, match="not a whole archive"):
        prepare(archived(tmp_path / "b", inside(files), nonsense))


def test_an_archive_of_something_else_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    few = {path: content for path, content in inside(files).items() if "unl" not in path}
    with pytest.raises(GenbenchError, match=r"not STL-10's binary archive: unlabeled_X\.bin missing"):
        prepare(archived(tmp_path / "few", few))
    for name in ("../test_X.bin", "/test_X.bin", "stl10_binary/../../x"):
        with pytest.raises(GenbenchError, match="leads out of it: not the official archive"):
            prepare(archived(tmp_path / "out", {**inside(files), name: b""}))
    with pytest.raises(GenbenchError, match=r"stl10_binary/test_X\.bin stands twice"):
        prepare(archived(tmp_path / "twice", {**inside(files), "./stl10_binary/test_X.bin": b""}))

    def link(info: tarfile.TarInfo) -> None:
        if info.name.endswith("test_X.bin"):
            info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0

    with pytest.raises(GenbenchError, match=r"test_X\.bin missing"):
        prepare(archived(tmp_path / "link", inside(files), link))
    assert {path.name for path in tmp_path.iterdir()} == {"few", "out", "twice", "link"}, "nothing was unpacked"


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenbenchError, match=r"no STL-10 in .*looked for stl10_binary/train_X\.bin") as caught:
        Stl10().files(DataRequest(tmp_path, Path("nowhere"), 96))
    assert str(tmp_path) in caught.value.message
    assert "stl10_binary.tar.gz" in str(caught.value.hint)

    def fail(url: str, root: str, filename: str, md5: str) -> None:
        assert (filename, md5) == (STL10.filename, STL10.tgz_md5)
        assert url == STL10.url
        raise OSError("connection reset")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)
    with pytest.raises(GenbenchError, match="connection reset") as caught:
        Stl10().files(DataRequest(None, tmp_path, 96))
    assert str(tmp_path) in str(caught.value.hint)


def test_an_earlier_download_is_used(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.download_url", None)
    downloads = archived(tmp_path / "downloads", inside(files))
    images = Stl10().prepare(DataRequest(None, downloads, 16))
    assert len(images.images) == TRAIN + UNLABELLED + TEST


@pytest.mark.parametrize("settings", [(), ("labelled=true",), ("blur=0.8",)])
def test_it_passes_the_checks(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GENBENCH_DATA", str(source))
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    found: list[Finding] = list(
        carry_out(Plugins.of(genbench_datasets), "dataset", "stl10", [f"dataset.{s}" for s in settings], device="cpu")
    )
    assert {each.name: each.found for each in found if each.state == "failed"} == {}
    lacking = {"counterfactuals"} if "labelled=true" in settings else {"attributes", "counterfactuals"}
    assert {each.name for each in found if each.state == "skipped"} == lacking
