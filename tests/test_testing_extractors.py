"""The kit's checks of feature extractors: those that are broken on purpose fail the very checks that are theirs."""

from pathlib import Path

import broken_extractors
import pytest

import genbench_evaluators
from genbench import GenbenchError
from genbench.findings import Finding
from genbench.plugins import Plugins
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.interface import carry_out, make_subject

NAMES = [name for name, _ in CHECKS["extractor"]]

BROKEN: dict[str, set[str]] = {
    "sound": set(),
    "short": {"features", "grey"},
    "double": {"features", "grey"},
    "graphed": {"features", "grey"},
    "fitted": {"features"},
    "colourful": {"grey"},
    "blind": {"tells apart"},
    "normalised": {"batch"},
    "numbered": {"batch"},
    "random": {"deterministic"},
    "drawing": {"random state"},
    "scribbling": {"nothing in place"},
    "listing": {"facts"},
    "hashless": {"facts"},
    "talking": {"warnings"},
}

SAID = {
    "short": "(2, 48), expected (2, 49)",
    "double": "torch.float64, expected torch.float32",
    "graphed": "carry a gradient",
    "fitted": "features of images of 100 px are (2, 40)",
    "random": "built anew, it gives other features",
    "drawing": "numpy and of torch",
    "listing": "fact 'grid' is list",
    "talking": "expected a tuple of sentences",
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.of(broken_extractors.Plugin())


def findings(plugins: Plugins, name: str) -> dict[str, Finding]:
    return {found.name: found for found in carry_out(plugins, "extractor", name, device="cpu")}


def failed(found: dict[str, Finding]) -> dict[str, str]:
    return {name: each.found for name, each in found.items() if each.state == "failed"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_extractor_fails_that_check_and_no_other(plugins: Plugins, name: str) -> None:
    found = failed(findings(plugins, name))
    assert set(found) == BROKEN[name]
    assert SAID.get(name, "") in " ".join(found.values())


def test_missing_weights_skip_all(plugins: Plugins) -> None:
    found = findings(plugins, "absent")
    assert {each.state for each in found.values()} == {"skipped"}
    assert all("its weights are not here" in each.found for each in found.values())
    assert list(found) == [BUILDS, *NAMES]


def test_a_name_that_needs_a_variant_is_skipped_and_not_unknown(plugins: Plugins) -> None:
    assert "`many` alone names no network" in findings(plugins, "many")["features"].found
    with pytest.raises(GenbenchError, match="unknown extractor `mani`"):
        make_subject(plugins, "extractor", "mani")


def test_extractors_have_no_settings(plugins: Plugins) -> None:
    with pytest.raises(GenbenchError, match="checked with its own settings alone"):
        make_subject(plugins, "extractor", "sound", ["grid=3"])


@pytest.mark.slow
def test_a_data_sets_own_classifier_is_tried_on_data_of_its_own(plugins: Plugins) -> None:
    found = findings(plugins, "attributes")
    assert failed(found) == {}
    assert {name for name, each in found.items() if each.state == "skipped"} == {"grey", "device"}


def test_real_weights_pass(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(shared / "weights"))
    found = findings(Plugins.of(genbench_evaluators), "torchvision:squeezenet1_0")
    assert failed(found) == {}
    assert {name for name, each in found.items() if each.state == "skipped"} == {"device"}


def test_weights_are_never_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GENBENCH_WEIGHTS", raising=False)
    found = findings(Plugins.of(genbench_evaluators), "torchvision:vgg16")
    assert {each.state for each in found.values()} == {"skipped"}
    assert "a check downloads nothing" in found[BUILDS].found
