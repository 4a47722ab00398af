"""The kit's checks of data sets: those that are broken on purpose fail the very checks that are theirs."""

import os
import socket
from pathlib import Path

import broken_datasets
import numpy as np
import pytest

import genbench_datasets
from genbench import GenbenchError
from genbench.findings import Finding
from genbench.plugins import Plugins
from genbench.testing import datasets_trial
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.interface import carry_out, make_subject
from genbench.testing.offline import offline

NAMES = [name for name, _ in CHECKS["dataset"]]
ALL_OF_IMAGES = {*NAMES} - {"defaults", "missing files", "order of files"}

BROKEN: dict[str, set[str]] = {
    "sound": set(),
    "other": {BUILDS},
    "little": {"defaults"},
    "untrained": {"defaults"},
    "colourless": ALL_OF_IMAGES,
    "signed": ALL_OF_IMAGES,
    # What has but two values has two images that are the same.
    "shares": {"images", "disjoint", "counterfactuals"},
    "untested": {"splits"},
    "admitting": set(),
    "leaking": {"disjoint"},
    "unnamed": {"attributes"},
    "alike": {"attributes"},
    "talkative": {"facts"},
    "fixedsize": {"sizes"},
    "shuffling": {"sizes"},
    "fresh": {"stable"},
    "seeding": {"stable"},
    "misshapen": {"counterfactuals"},
    "keyed": {"counterfactuals"},
    "anything": {"counterfactuals"},
    "still": {"counterfactuals"},
    "redrawn": {"counterfactuals"},
    "placed": {"counterfactuals"},
    "listed": set(),
    "bytime": {"order of files"},
    "secret": {"stable"},
    "crashing": {"missing files"},
    "vague": {"missing files"},
    "hintless": {"missing files"},
    "making": {"missing files"},
}

SAID = {
    "little": "its default size is 8: convolutional networks take images of 16 to 256 px",
    "colourless": "images have the shape (90, 32, 32, 1), expected (90, 32, 32, 3)",
    "signed": "images are int64, expected uint8",
    "shares": "pixels are 0 to 1",
    "untested": "there are no test images",
    "leaking": "1 of 30 validation and test images stand in the training split too",
    "unnamed": "an attribute is called 'large '",
    "fixedsize": "asked for 16 px, it gives images of the shape (90, 32, 32, 1)",
    "shuffling": "its images at 16 px are not those at 32 px",
    "fresh": "another fingerprint",
    "seeding": "moves a global random state",
    "misshapen": "uint8 (64, 32, 32)",
    "keyed": "an unknown attribute raises KeyError",
    "anything": "an unknown attribute is flipped like any other",
    "redrawn": "no pixel stays as it is",
    "placed": "gives other images in another order",
    "secret": "it names no files, but reads some",
    "crashing": "with neither a folder nor a network it raises KeyError",
    "vague": "with an empty folder it says: the data is missing",
    "making": "though its files are not there",
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.of(broken_datasets.Plugin(), genbench_datasets)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where data is looked for, with thirty pictures whose times are in no order."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number, when in enumerate(rng.permutation(30)):
        path = folder / f"{number:02}.bytes"
        coarse = rng.integers(0, 256, (8, 8), np.uint8)
        path.write_bytes(np.kron(coarse, np.ones((4, 4), np.uint8)).tobytes())
        os.utime(path, (1e9 + when, 1e9 + when))
    monkeypatch.setenv("GENBENCH_DATA", str(folder))
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    return folder


def findings(plugins: Plugins, name: str, *settings: str) -> dict[str, Finding]:
    return {found.name: found for found in carry_out(plugins, "dataset", name, settings, device="cpu")}


def failed(found: dict[str, Finding]) -> dict[str, str]:
    return {name: each.found for name, each in found.items() if each.state == "failed"}


def skipped(found: dict[str, Finding]) -> set[str]:
    return {name for name, each in found.items() if each.state == "skipped"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_data_set_fails_that_check_and_no_other(plugins: Plugins, name: str) -> None:
    found = failed(findings(plugins, name))
    assert set(found) == BROKEN[name], found
    assert SAID.get(name, "") in " ".join(found.values())


def test_without_files_all_that_needs_them_is_skipped_with_the_reason(plugins: Plugins, data: Path) -> None:
    for path in data.iterdir():
        path.unlink()
    found = findings(plugins, "listed")
    assert failed(found) == {}
    assert skipped(found) == {*NAMES} - {"defaults", "missing files"}
    assert all(f"no pictures in {data}" in found[name].found for name in skipped(found))
    assert found["images"].hint == "put files that end in .bytes there"


def test_nothing_is_downloaded(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENBENCH_DATA")
    found = findings(plugins, "mnist")
    assert failed(found) == {}
    assert "a check downloads nothing" in found["images"].found
    with offline(), pytest.raises(OSError, match="a check downloads nothing"):
        socket.create_connection(("127.0.0.1", 9))


@pytest.mark.parametrize(("name", "settings"), [("digits", ()), ("toyfaces", ("dataset.count=200",))])
def test_generated_data_sets_pass(plugins: Plugins, name: str, settings: tuple[str, ...]) -> None:
    found = findings(plugins, name, *settings)
    assert failed(found) == {}
    assert skipped(found) == {"order of files"} | ({"counterfactuals"} if name == "digits" else set())
    assert found["missing files"].found == "needs no files"


@pytest.mark.parametrize("name", ["folder", "celeba", "mnist", "fashion-mnist", "cifar10", "lfw", "stl10"])
def test_data_sets_say_what_is_missing(plugins: Plugins, name: str, data: Path) -> None:
    found = findings(plugins, name)
    assert failed(found) == {}
    assert found["missing files"].state == "ok"
    assert found["images"].state == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["celeba", "mnist"])
def test_real_data_passes(plugins: Plugins, name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_DATA", str(shared / "data"))
    found = findings(plugins, name)
    assert failed(found) == {}
    assert skipped(found) == {"counterfactuals"}
    assert found["disjoint"].found == "no image stands in two splits"


def test_a_folder_of_pictures_passes(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    for split, count in (("train", 20), ("validation", 5), ("test", 5)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (5, 7, 3), np.uint8)
            Image.fromarray(pixels).resize((70, 60)).save(folder / split / f"{number}.png")
    monkeypatch.setenv("GENBENCH_DATA", str(folder))
    found = findings(plugins, "folder")
    assert failed(found) == {}
    assert skipped(found) == {"attributes", "counterfactuals"}
    assert "has the same fingerprint" in found["order of files"].found


def test_large_data_sets_are_not_prepared_again(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets_trial, "MANY", 89)
    found = findings(plugins, "sound")
    assert skipped(found) == {"sizes", "stable", "order of files"}
    assert found["stable"].found == "preparing 90 images again takes too long"


def test_settings_are_the_data_sets_own(plugins: Plugins) -> None:
    for text in ("dataset.counts=10", "count=10", "network.width=1"):
        with pytest.raises(GenbenchError):
            make_subject(plugins, "dataset", "toyfaces", [text])
