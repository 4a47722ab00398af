"""Data sets of classes: idx files, CIFAR-10's binary version, scikit-learn's digits, and what the package declares."""

import gzip
import io
import struct
import subprocess
import sys
import tarfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset
from genbench_datasets import genbench_datasets as declared
from genbench_datasets.cifar10 import Cifar10
from genbench_datasets.digits import Digits
from genbench_datasets.fetching import fetch
from genbench_datasets.idx import FashionMnist, Mnist, read_idx


def request(source: Path | None, size: int = 28, downloads: Path = Path("nowhere")) -> DataRequest:
    return DataRequest(source, downloads, size)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, compress: bool = False, train: int = 24, test: int = 3) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (train + test, 28, 28), np.uint8)
    labels = (np.arange(train + test) % 10).astype(np.uint8)
    for part, chosen in (("train", slice(None, train)), ("t10k", slice(train, None))):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx(array[chosen])
            path = folder / f"{part}-{kind}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(content) if compress else content)
    return images, labels


def test_idx_against_known_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000001 00000003 010203 0405ff"))
    assert read_idx(path, 3).tolist() == [[[1, 2, 3]], [[4, 5, 255]]]
    zipped = tmp_path / "x.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_idx(zipped, 3), read_idx(path, 3))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("00000801 00000002 0102", "not an idx file"),
        ("00000d03 00000001 00000001 00000001 01", "not an idx file"),
        ("00000803 00000002", "not an idx file"),
        ("", "not an idx file"),
        ("00000803 00000002 00000001 00000003 010203 0405", "announces 2×1×3 bytes and holds 5"),
        ("00000803 00000002 00000001 00000003 010203 0405 0607", "announces 2×1×3 bytes and holds 7"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "broken").write_bytes(bytes.fromhex(content))
    with pytest.raises(GenbenchError, match=f"broken.*{complaint}"):
        read_idx(tmp_path / "broken", 3)


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(bytes(10_000))[:-9])
    with pytest.raises(GenbenchError, match=r"cut\.gz: can't be read"):
        read_idx(path, 3)


@pytest.mark.parametrize("inside", ["MNIST/raw", "MNIST", "raw", "."])
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_found_and_split(tmp_path: Path, inside: str, compress: bool) -> None:
    images, labels = write_mnist(tmp_path / inside, compress)
    digits = Mnist().prepare(request(tmp_path))
    np.testing.assert_array_equal(digits.images[..., 0], images)
    assert digits.splits.tolist() == [0] * 22 + [1] * 2 + [2] * 3
    assert digits.attributes.argmax(1).tolist() == labels.tolist()
    assert (digits.attributes.sum(1) == 1).all()
    assert digits.attribute_names[3] == "digit-3"
    assert digits.notes == ("24 + 3 images instead of 60,000 + 10,000",)


def test_resizing_is_pillows(tmp_path: Path) -> None:
    images, _ = write_mnist(tmp_path)
    resized = Mnist().prepare(request(tmp_path, 32)).images
    expected = Image.fromarray(images[7]).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized[7, ..., 0], np.asarray(expected))


def test_the_two_sets_are_never_mistaken_for_each_other(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    with pytest.raises(GenbenchError, match="no FashionMNIST in"):
        FashionMnist().files(request(tmp_path / "MNIST" / "raw"))
    write_mnist(tmp_path / "fashion-mnist")
    with pytest.raises(GenbenchError, match="no MNIST in"):
        Mnist().files(request(tmp_path / "fashion-mnist"))
    assert len(FashionMnist().files(request(tmp_path / "fashion-mnist"))) == 4


def test_missing_idx_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="looked for train-images-idx3-ubyte") as caught:
        Mnist().files(request(tmp_path))
    assert str(tmp_path / "MNIST" / "raw") in caught.value.message
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(GenbenchError, match="half of MNIST: t10k-labels-idx1-ubyte missing"):
        Mnist().files(request(tmp_path))


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.full(24, 10, np.uint8)))
    with pytest.raises(GenbenchError, match="label 10, expected less than 10"):
        Mnist().prepare(request(tmp_path))
    labels.write_bytes(idx(np.zeros(23, np.uint8)))
    with pytest.raises(GenbenchError, match="24 images, but 23 labels"):
        Mnist().prepare(request(tmp_path))


@pytest.mark.parametrize(("dataset", "name"), [(Mnist(), "digit-7"), (FashionMnist(), "ankle-boot")])
def test_the_real_sets(shared: Path, dataset: Dataset, name: str) -> None:
    images = dataset.prepare(request(shared / "data"))
    assert np.bincount(images.splits).tolist() == [55_000, 5_000, 10_000]
    assert images.notes == ()
    assert name in images.attribute_names
    assert (images.attributes.sum(0) > 6_000).all()


def cifar_batches(count: int = 10) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    batches = {}
    for name in names:
        records = rng.integers(0, 256, (count, 3073), np.uint8)
        records[:, 0] = np.arange(count) % 10
        batches[name] = records.tobytes()
    return batches


def write_tar(path: Path, batches: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_cifar_from_folder_and_archive(tmp_path: Path) -> None:
    batches = cifar_batches()
    folder = tmp_path / "a" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, content in batches.items():
        (folder / name).write_bytes(content)
    (tmp_path / "b").mkdir()
    write_tar(tmp_path / "b" / "cifar-10-binary.tar.gz", batches)
    images = Cifar10().prepare(request(tmp_path / "a", 32))
    for source in (folder, tmp_path / "b", tmp_path / "b" / "cifar-10-binary.tar.gz"):
        np.testing.assert_array_equal(Cifar10().prepare(request(source, 32)).images, images.images)
    record = np.frombuffer(batches["data_batch_2.bin"], np.uint8).reshape(-1, 3073)[3]
    assert images.images[13, 5, 9].tolist() == [record[1 + plane * 1024 + 5 * 32 + 9] for plane in range(3)]
    assert images.splits.tolist() == [0] * 45 + [1] * 5 + [2] * 10
    assert images.attribute_names[int(record[0])] == "cat"
    assert images.attributes[13].argmax() == record[0]
    assert Cifar10().prepare(request(tmp_path / "a", 16)).images.shape == (60, 16, 16, 3)


def test_cifar_errors_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(GenbenchError, match="is a pickle, which genbench never reads") as caught:
        Cifar10().files(request(tmp_path))
    assert "cifar-10-binary.tar.gz" in str(caught.value.hint)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(b"")
    with pytest.raises(GenbenchError, match=r"half of CIFAR-10: data_batch_2\.bin"):
        Cifar10().files(request(tmp_path))
    archive = tmp_path / "cifar-10-binary.tar.gz"
    write_tar(archive, {**cifar_batches(), "data_batch_3.bin": b"cut"})
    with pytest.raises(GenbenchError, match=r"data_batch_3\.bin: 3 bytes, expected a multiple of 3073"):
        Cifar10().prepare(request(archive, 32))
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(GenbenchError, match="not CIFAR-10's binary archive"):
        Cifar10().prepare(request(archive, 32))


def test_digits_are_scikit_learns() -> None:
    known = load_digits()
    digits = Digits().prepare(request(None, 8))
    np.testing.assert_allclose(digits.images[..., 0], known.images * 255 / 16, atol=0.5)
    assert np.bincount(digits.splits).tolist() == [1257, 180, 360]
    np.testing.assert_array_equal(digits.attributes.argmax(1), known.target)
    assert Digits().prepare(request(None, 32)).images.shape == (1797, 32, 32, 1)


def test_a_failed_download_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch) -> None:
    def half(url: str, root: str, filename: str, md5: str) -> None:
        Path(root, filename).write_bytes(b"half")
        raise OSError("connection reset")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", half)
    for dataset in (Mnist(), Cifar10()):
        with pytest.raises(GenbenchError, match="connection reset") as caught:
            dataset.files(request(None, downloads=tmp_path))
        assert "--data" in str(caught.value.hint)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_second_address_is_tried(tmp_path: Path, monkeypatch) -> None:
    def download(url: str, root: str, filename: str, md5: str) -> None:
        if "first" in url:
            raise OSError("down")
        Path(root, filename).write_bytes(b"whole")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    fetch(("https://first/x", "https://second/x"), tmp_path / "x", "md5")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_finished_download_is_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.download_url", None)
    write_mnist(tmp_path / "MNIST" / "raw", compress=True)
    assert len(Mnist().files(request(None, downloads=tmp_path))) == 4
    write_tar(tmp_path / "cifar-10-binary.tar.gz", cifar_batches())
    assert Cifar10().files(request(None, downloads=tmp_path)) == (tmp_path / "cifar-10-binary.tar.gz",)


def test_every_declared_set_can_be_built() -> None:
    specs = list(declared())
    read = {"mnist", "fashion-mnist", "cifar10", "celeba", "lfw", "stl10", "folder"}
    assert {"toyfaces", "digits", *read} == {s.name for s in specs}
    for spec in specs:
        module, _, name = spec.target.partition(":")
        target = getattr(import_module(module), name)
        if spec.settings is None:
            built = target()
        else:
            module, _, name = spec.settings.partition(":")
            built = target(getattr(import_module(module), name)())
        assert isinstance(built, Dataset)


def test_declaring_imports_nothing_heavy() -> None:
    code = (
        "import sys, genbench_datasets, genbench_datasets.settings; list(genbench_datasets.genbench_datasets());"
        "print(*({'numpy', 'torch', 'PIL', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
