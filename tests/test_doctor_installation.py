"""The doctor's checks of what is here: packages, plugins, folders, weights, and a published value made of them."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import bench as bench_module
import numpy as np
import pytest
import torch.nn.functional as F
from bench import Bench
from doctoring import make_ground, only, states
from scipy.linalg import sqrtm
from torch import Tensor

import genbench
from genbench.doctor import installed, packages, reference, weights
from genbench.doctor.findings import Ground, carry_out
from genbench.evaluate.extractors.weights import Published
from genbench.plugins import Plugins


@pytest.fixture
def ground(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return make_ground(bench, tmp_path, monkeypatch)


# Packages.


@pytest.mark.parametrize(
    ("found", "asked", "expected"),
    [
        ("2.6", ">=2.6", True),
        ("2.6.0+cu124", ">=2.6", True),
        ("2.15.0", ">=2.6", True),
        ("2.5.9", ">=2.6", False),
        ("0.4.0", ">=0.4,<0.5", True),
        ("0.5.0", "<0.5,>=0.4", False),
        ("0.5.0rc1", "<0.5,>=0.4", False),
        ("1.0", "==1.0.0", True),
        ("1.0", "!=1.0.0", False),
        ("1.0.1", "<=1.0", False),
        ("1.0", ">1.0", False),
        ("1.0", "", True),
        (None, ">=1", False),
    ],
)
def test_versions(found: str | None, asked: str, expected: bool) -> None:
    assert packages.satisfies(found, asked) is expected


@pytest.mark.parametrize("asked", ["~=1.0", ">=one"])
def test_a_condition_that_is_not_understood_is_not_passed_over(asked: str) -> None:
    with pytest.raises(ValueError, match="can't read"):
        packages.satisfies("1.0", asked)


def test_packages_that_are_too_old_or_missing_fail(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(states(packages.packages(ground)).values()) == {"ok"}
    real = packages._installed
    monkeypatch.setattr(packages, "_installed", lambda name: {"torch": "1.13"}.get(name) or real(name))
    assert states(packages.packages(ground))["torch"] == "failed"
    monkeypatch.setattr(packages, "_installed", lambda name: None if name == "click" else real(name))
    (other,) = (f for f in packages.packages(ground) if f.name == "other packages")
    assert (other.state, other.found) == ("failed", "click missing (>=8.1)")


def test_what_belongs_to_an_extra_is_not_asked_for() -> None:
    assert packages._wanted(["a>=1", 'b<2; extra == "bench"', "c"]) == {"a": ">=1", "c": ""}


# Plugins, cache, disk, data.


def test_broken_plugins_and_clashes_are_listed(ground: Ground) -> None:
    assert only(installed.plugins(ground)).state == "ok"

    class Twin:
        @genbench.hookimpl
        def genbench_models(self) -> Iterator[genbench.ModelSpec]:
            yield genbench.ModelSpec("gan", "", "x:Y")

    class Empty: ...

    worse = replace(ground, plugins=Plugins.of(bench_module.Extras(), bench_module.genbench_gan, Twin(), Empty()))
    found = list(installed.plugins(worse))
    assert [f.state for f in found] == ["failed", "failed", "failed"]
    assert "Empty" in found[0].found
    assert "`gan` is declared by" in found[1].found
    assert "there is no module `x`" in found[2].found


def test_the_cache_is_measured_and_left_as_it_is(ground: Ground) -> None:
    assert only(installed.cache(ground)).found.endswith("(not there yet)")
    assert not ground.cache.exists()
    (ground.cache / "moments" / "deep").mkdir(parents=True)
    (ground.cache / "moments" / "deep" / "file").write_bytes(bytes(3 * 2**20))
    found = {f.name: (f.state, f.found) for f in installed.cache(ground)}
    assert found == {"cache": ("ok", str(ground.cache)), "cached moments": ("ok", "3 MiB")}
    assert [path.name for path in ground.cache.rglob("*")] == ["moments", "deep", "file"]


def test_a_cache_that_can_not_be_written_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ground.cache.parent / "file"
    file.write_text("in the way")
    assert only(installed.cache(replace(ground, cache=file / "cache"))).state == "failed"

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(installed, "TemporaryFile", refuse)
    ground.cache.mkdir()
    found = only(installed.cache(ground))
    assert found.state == "failed"
    assert "Permission denied" in found.found


def test_a_disk_that_is_nearly_full_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(states(installed.disk(ground)).values()) == {"ok"}
    monkeypatch.setattr(installed.shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * 2**20))
    found = list(installed.disk(ground))
    assert [(f.state, f.found) for f in found] == [("failed", "100 MiB free")] * 2


def test_data_that_is_named_and_not_there_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(installed.data(ground)).state == "ok"
    monkeypatch.setenv("GENBENCH_DATA", str(ground.cache / "nowhere"))
    assert only(carry_out(ground, [("data", "genbench.doctor.installed:data")])).state == "failed"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1024, "1 KiB"), (5.25 * 2**30, "5.25 GiB"), (2**42, "4 TiB")]
)
def test_bytes_in_words(size: float, words: str) -> None:
    assert installed.in_words(size) == words


# Weights and reference values.


CONTENT = b"weights"
FAKE = Published(
    what="weights of a test",
    url="https://example.org/net.pth",
    files=("net.pth",),
    sha256=sha256(CONTENT).hexdigest()[:8],
    variable="GENBENCH_FAKE",
)


@pytest.mark.parametrize(
    ("content", "state", "told"),
    [(None, "skipped", "not here"), (CONTENT, "ok", "net.pth"), (b"damaged", "failed", "its SHA-256 begins with")],
)
def test_weights_are_looked_for_and_compared(
    ground: Ground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    state: str,
    told: str,
) -> None:
    monkeypatch.setattr(weights, "known", lambda: {"net": FAKE})
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    if content is not None:
        (tmp_path / "net.pth").write_bytes(content)
    found = only(weights.weights(ground))
    assert (found.name, found.state) == ("weights net", state)
    assert told in found.found
    assert found.state == "ok" or "https://example.org/net.pth" in str(found.hint)


def test_weights_that_are_named_and_not_there_fail(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "known", lambda: {"net": FAKE})
    monkeypatch.setenv("GENBENCH_FAKE", "/nowhere/net.pth")
    assert only(weights.weights(ground)).state == "failed"


def test_all_that_scores_are_computed_on_is_looked_for(ground: Ground) -> None:
    names = ("inception", "vgg16", "clip", "dinov2", "lpips alex", "lpips vgg", "lpips squeeze")
    assert states(weights.weights(ground)) == dict.fromkeys([f"weights {name}" for name in names], "skipped")


def test_reference_values_are_computed_only_where_they_are_asked_for(ground: Ground) -> None:
    found = only(reference.reference_fid(ground))
    assert (found.state, "--full" in found.found) == ("skipped", True)


def test_without_its_data_the_reference_is_skipped_with_the_road(ground: Ground) -> None:
    full = replace(ground, full=True)
    found = only(carry_out(full, [("reference fid", "genbench.doctor.reference:reference_fid")]))
    assert (found.state, found.found) == ("skipped", "CIFAR-10 is not here")
    assert "cifar-10-binary.tar.gz" in str(found.hint)
    assert not (ground.cache / "datasets").exists()


def test_without_weights_the_reference_is_skipped_with_the_road(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "_data", lambda _: None)
    found = only(carry_out(replace(ground, full=True), [("reference fid", "genbench.doctor.reference:reference_fid")]))
    assert (found.state, found.found) == ("skipped", "Inception's weights are not here")
    assert "weights-inception-2015-12-05-6726825d.pth" in str(found.hint)


class Colours:
    """A stand-in for Inception: the means of four quarters."""

    def __call__(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float(), 2).flatten(1)


@pytest.mark.parametrize(("off", "state"), [(0.0, "ok"), (0.049, "ok"), (0.06, "failed")])
def test_the_reference_is_that_of_training_and_validation_against_test(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, off: float, state: str
) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (120, 8, 8, 3), np.uint8)
    images[80:] //= 2
    places = {"train": np.arange(60), "validation": np.arange(60, 80), "test": np.arange(80, 120)}
    data = SimpleNamespace(images=images, indices=places.__getitem__)
    quarters = images.reshape(120, 2, 4, 2, 4, 3).mean((2, 4)).transpose(0, 3, 1, 2).reshape(120, 12)
    one, two = quarters[:80], quarters[80:]
    root = sqrtm(np.cov(one.T) @ np.cov(two.T)).real
    truth = ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(np.cov(one.T) + np.cov(two.T) - 2 * root)
    monkeypatch.setattr(reference, "_data", lambda _: data)
    monkeypatch.setattr(reference, "inception", lambda _: Colours())
    monkeypatch.setattr(reference, "VALUE", float(truth) + off)
    assert only(reference.reference_fid(replace(ground, full=True))).state == state
