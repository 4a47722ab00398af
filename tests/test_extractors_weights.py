"""Weights of extractors: where they are looked for, and that only tensors of the right file come of them."""

import io
import pickle
import warnings as python_warnings
import zipfile
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.extractors import weights
from genbench.evaluate.extractors.weights import Published, hash_in, obtain, read

CONTENT = b"some weights"
DIGEST = sha256(CONTENT).hexdigest()
FILE = f"network-{DIGEST[:8]}.pth"
PUBLISHED = Published("weights of a network", f"https://example.org/{FILE}", (FILE, "network.safetensors"), DIGEST[:8])


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that torch's hub keeps files in; there is no network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)

    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise URLError("no network")

    monkeypatch.setattr(weights, "urlopen", refuse)
    return tmp_path / "hub" / "checkpoints"


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    asked: list[str] = []

    def give(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr(weights, "urlopen", give)
    return asked


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("vgg16-397923af.pth", "397923af"),
        ("weights-inception-2015-12-05-6726825d.pth", "6726825d"),
        ("mnasnet0.5_top1_67.823-3ffadce67e.pth", "3ffadce67e"),
        (f"clip-vit-b-32-{DIGEST}.pt", DIGEST),
        ("squeezenet1_0.safetensors", ""),
        ("ViT-B-32.pt", ""),
        ("alexnet-owt.pth", ""),
        ("network-0123abc.pth", ""),
    ],
)
def test_hashes_that_names_carry(file: str, expected: str) -> None:
    assert hash_in(file) == expected


def test_where_weights_are_looked_for(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, CONTENT)
    assert obtain(PUBLISHED) == hub / FILE
    assert (hub / FILE).read_bytes() == CONTENT
    assert asked == [PUBLISHED.url]
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(folder))
    assert obtain(PUBLISHED) == hub / FILE
    (folder / "network.safetensors").touch()
    assert obtain(PUBLISHED) == folder / "network.safetensors"
    (folder / FILE).touch()
    assert obtain(PUBLISHED) == folder / FILE
    named = tmp_path / "named.pth"
    named.touch()
    assert obtain(PUBLISHED, str(named)) == named
    assert asked == [PUBLISHED.url]


def test_what_the_user_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenbenchError, match="setting `weights`: no file at"):
        obtain(PUBLISHED, str(tmp_path / "gone.pth"))
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(GenbenchError, match="GENBENCH_WEIGHTS: no folder at"):
        obtain(PUBLISHED)


def test_without_weights_it_is_said_what_to_put_where(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no network") as caught:
        obtain(PUBLISHED)
    assert str(tmp_path) not in caught.value.message
    for text in (PUBLISHED.url, str(hub / FILE), weights.FOLDER_VARIABLE, "setting `weights`"):
        assert text in (caught.value.hint or "")


def test_a_download_of_something_else_is_not_kept(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"sign in to this network")
    with pytest.raises(NotApplicable, match=f"expected {DIGEST[:8]}"):
        obtain(PUBLISHED)
    assert not (hub / FILE).exists()


def test_a_name_whose_hash_its_content_has_not_is_an_error_with_both(tmp_path: Path) -> None:
    path = tmp_path / "network-0123abcd.pth"
    torch.save({"weight": torch.ones(2)}, path)
    digest = sha256(path.read_bytes()).hexdigest()
    with pytest.raises(GenbenchError, match=f"SHA-256 0123abcd, its content has {digest[:8]}"):
        read(path, PUBLISHED)
    right = path.rename(tmp_path / f"network-{digest[:10]}.pth")
    assert read(right, PUBLISHED).sha256 == digest


def test_tensors_come_of_each_format(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).float(), "b": torch.ones(1)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "w.pth", "old.pth"):
        found = read(tmp_path / name, PUBLISHED)
        assert found.sha256 == sha256((tmp_path / name).read_bytes()).hexdigest()
        assert set(found.tensors) == {"a", "b"}
        assert torch.equal(found.tensors["a"], tensors["a"])


class Trap:
    """What unpickles to a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("what", ["trap", "trapped archive", "text", "whole network", "numbers", "empty", "gone"])
def test_files_of_something_else_are_refused_and_run_nothing(tmp_path: Path, what: str) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if what == "trap":
        torch.save(Trap(sprung), path)
    elif what == "trapped archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/constants.pkl", b"")
            archive.writestr("net/data.pkl", pickle.dumps(Trap(sprung)))
    elif what == "text":
        path.write_text("not weights")
    elif what == "whole network":
        torch.save(nn.Linear(2, 2), path)
    elif what == "numbers":
        torch.save({"weight": [1.0, 2.0]}, path)
    elif what == "empty":
        path.touch()
    with pytest.raises(GenbenchError, match=r"weights\.pth"):
        read(path, PUBLISHED)
    assert not sprung.exists()


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))  # type: ignore[no-any-return]


class Outer(nn.Module):
    """Holds what TorchScript keeps beside tensors: lists, numbers, half precision, a transposed and a shared tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.sides = [1, 2]
        self.names = ["a", "b"]
        self.rate = 0.5
        self.transposed = nn.Parameter(torch.randn(4, 3).T)
        self.shared = nn.Parameter(self.transposed.detach()[1:])
        self.register_buffer("halved", torch.randn(5).half())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * self.rate * self.sides[0]) + self.halved.float().sum()  # type: ignore[no-any-return]


def test_a_torchscript_archive_gives_the_tensors_of_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    network = Outer()
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(path))
    found = read(path, PUBLISHED).tensors
    expected = network.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_a_torchscript_archive_that_was_cut_is_refused(tmp_path: Path) -> None:
    path, cut = tmp_path / "network.pt", tmp_path / "cut.pt"
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        torch.jit.script(Outer()).save(str(path))
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(cut, "w") as rest:
        for name in whole.namelist():
            content = whole.read(name)
            rest.writestr(name, content[: len(content) // 2] if "/data/" in name else content)
    with pytest.raises(GenbenchError, match=r"cut\.pt: not weights of a network"):
        read(cut, PUBLISHED)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_refused_pickle_brings_no_advice_to_load_it_all_the_same(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=protocol))
    with pytest.raises(GenbenchError) as caught:  # torch's warning of protocol 4 would be an error here
        read(path, PUBLISHED)
    assert "no file of plain tensors" in caught.value.message
    assert "weights_only" not in caught.value.message


def test_weights_of_another_network_are_refused_with_what_differs(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError) as caught, weights.fitting(tmp_path / "w.pth", PUBLISHED):
        nn.Linear(2, 2).load_state_dict({"other": torch.zeros(1)})
    assert 'Missing key(s) in state_dict: "weight", "bias"' in caught.value.message
    assert "\n" not in caught.value.message
