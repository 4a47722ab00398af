"""The kit's checks of evaluators: those that are broken on purpose fail the very checks that are theirs."""

from dataclasses import replace
from functools import cache

import broken_evaluators
import numpy as np
import pytest
import torch
from torch import Tensor

import genbench_evaluators
import genbench_similarities
from genbench import GenbenchError
from genbench.findings import Finding
from genbench.images import to_float, to_uint8
from genbench.interfaces import Batch
from genbench.plugins import Plugins
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.evaluators_context import PLAIN, Circumstances, EvaluatorSubject
from genbench.testing.evaluators_oracle import COUNTS, LATENT, MARKS, Grade, Oracle, Remembered, scenes
from genbench.testing.interface import carry_out, find_check, finding, make_subject

NAMES = [name for name, _ in CHECKS["evaluator"]]

BROKEN: dict[str, set[str]] = {
    "other": {BUILDS},
    "twice": {"results"},
    "notfinite": {"results"},
    "ragged": {"results"},
    "empty": {"results"},
    "numbers": {*NAMES} - {"device"},
    "bare": {"protocol"},
    "uncounted": {"protocol"},
    "secretive": {"settings"},
    "undersampled": {"sampled"},
    "oversampled": {"sampled"},
    "unsaid": {"sampled"},
    "rising": {"direction"},
    "contrast": {"direction"},
    "bybatch": {"batch size"},
    "signs": {"batch size"},
    "first": {"order"},
    "fresh": {"random state"},
    "global": {"random state"},
    "retraining": {"nothing in place"},
    "scribbling": {"nothing in place"},
    "crashing": {"not applicable"},
}

SAID = {
    "twice": "two scores are called `error`",
    "numbers": "it yielded float, expected Score, Check or Sheet",
    "bare": "lacks what holds for all scores",
    "uncounted": "with a 6th of the test images left out",
    "secretive": "with `channel` first instead of all",
    "undersampled": "declares that samples don't move its scores, but they do",
    "oversampled": "declares that samples move its scores, but they don't",
    "unsaid": "with fewer samples, `edges` is",
    "rising": "`error` says that higher is better, but is 0, ",
    "contrast": "with more and more noise",
    "bybatch": "in batches of 7, `error` is",
    "signs": "in batches of 7, `check worst` is",
    "first": "with the images in reverse order",
    "fresh": "a second evaluation gives another `error`",
    "global": "numpy's global generator",
    "crashing": "a model without an encoder: ValueError: no encoder",
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.of(broken_evaluators.Plugin(), genbench_evaluators, genbench_similarities)


def findings(plugins: Plugins, name: str, *settings: str) -> dict[str, Finding]:
    return {found.name: found for found in carry_out(plugins, "evaluator", name, settings, device="cpu")}


def failed(found: dict[str, Finding]) -> dict[str, str]:
    return {name: each.found for name, each in found.items() if each.state == "failed"}


def skipped(found: dict[str, Finding]) -> set[str]:
    return {name for name, each in found.items() if each.state == "skipped"}


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "other"])
def test_a_broken_evaluator_fails_the_check_that_is_its_own(plugins: Plugins, name: str) -> None:
    check = "results" if name == "numbers" else next(iter(BROKEN[name]))
    subject = make_subject(plugins, "evaluator", name, device="cpu")
    found = finding(subject, check, find_check("evaluator", check))
    assert found.state == "failed"
    assert SAID.get(name, "") in found.found


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_evaluator_fails_no_other_check(plugins: Plugins, name: str) -> None:
    assert set(failed(findings(plugins, name))) == BROKEN[name]


@pytest.mark.parametrize("name", ["sound", "sampling"])
def test_a_sound_evaluator_passes(plugins: Plugins, name: str) -> None:
    found = findings(plugins, name)
    assert failed(found) == {}
    assert skipped(found) == {"device"}
    assert list(found) == [BUILDS, *NAMES]
    assert found["settings"].found == "other values of power, channel; not tried: weights"
    assert found["direction"].found == "worse with noise, blur"


WITHOUT_SETTINGS = {"settings", "device"}
FIRST_PARTY: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "mse": ((), WITHOUT_SETTINGS),
    "rate": ((), WITHOUT_SETTINGS | {"direction"}),
    "similarity": ((), {"device"}),
}
SLOW_FIRST_PARTY: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "health": ((), WITHOUT_SETTINGS | {"protocol", "sampled", "direction"}),
    "counterfactual": ((), {"device"}),
    "psnr": ((), WITHOUT_SETTINGS),
    "ssim": ((), WITHOUT_SETTINGS),
    "ms-ssim": ((), WITHOUT_SETTINGS),
    "fd": ((), {"device"}),
    "kid:attributes": (("evaluation.kid.subset_size=100",), {"device"}),
    "density-coverage:attributes": ((), {"device"}),
    "attributes": ((), {"device"}),
}


@pytest.mark.parametrize("name", [*FIRST_PARTY, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_FIRST_PARTY)])
def test_first_party_evaluators_pass(plugins: Plugins, name: str) -> None:
    settings, left = (FIRST_PARTY | SLOW_FIRST_PARTY)[name]
    found = findings(plugins, name, *settings)
    assert failed(found) == {}
    assert skipped(found) == left
    if name == "counterfactual":
        assert found["direction"].found == "worse with warped latents, other pictures"


def test_missing_weights_are_looked_for_once_and_skip_all(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENBENCH_WEIGHTS", raising=False)
    for name, reason in (("absent", "its weights are not here"), ("downloading", "a check downloads nothing")):
        found = findings(plugins, name)
        assert skipped(found) == {*NAMES}
        assert all(reason in found[check].found for check in NAMES if check != "device")


def test_settings_are_the_evaluators_own(plugins: Plugins) -> None:
    subject = make_subject(plugins, "evaluator", "kid:attributes", ["evaluation.kid.subset_size=7"], "cpu")
    assert isinstance(subject, EvaluatorSubject)
    assert subject.component.settings["subset_size"] == 7
    assert subject.component.label == "kid:attributes"
    for text in ("evaluation.kid.subsetsize=7", "evaluation.fid.reference=train", "gamma=1"):
        with pytest.raises(GenbenchError):
            make_subject(plugins, "evaluator", "kid", [text], "cpu")


# The oracle is what it says that it is.


@cache
def images(split: int = 2) -> tuple[Tensor, Tensor]:
    """Return the scenes of a split, and their images."""
    found = scenes(3)
    chosen = torch.arange(len(found.splits))[found.splits == split]
    return chosen, found.images(chosen, found.marks[chosen])


def encoded(oracle: Oracle, pixels: Tensor) -> Tensor:
    return oracle.encode(Batch(to_float(pixels))).mean


@pytest.mark.parametrize("grade", [Grade(), Grade(warped=1.0)])
def test_a_perfect_oracle_gives_back_what_it_is_shown(grade: Grade) -> None:
    _, pixels = images()
    oracle = Oracle(scenes(3), grade)
    assert torch.equal(to_uint8(oracle.decode(encoded(oracle, pixels))), pixels)


def test_an_oracle_takes_what_it_never_saw_for_what_is_nearest() -> None:
    _, pixels = images()
    oracle = Oracle(scenes(3), Grade())
    blemished = pixels.clone()
    blemished[:, :, 3, 3] ^= 1
    assert torch.equal(encoded(oracle, blemished), encoded(oracle, pixels))


def test_attribute_vectors_are_exact_where_latents_are_not_warped() -> None:
    found = scenes(3)
    train = found.splits == 0
    for warped, exact in ((0.0, True), (1.0, False)):
        oracle = Oracle(found, Grade(warped=warped))
        source = Remembered(found, torch.arange(len(found.splits)))
        chosen, pixels = images()
        latents = encoded(oracle, found.images(torch.nonzero(train).flatten(), found.marks[train]))
        for k, name in enumerate(MARKS):
            has = found.marks[train][:, k]
            vector = latents[has].mean(0) - latents[~has].mean(0)
            assert vector[k].item() == pytest.approx(2, abs=1e-5)
            if exact:
                assert vector.abs().sum().item() == pytest.approx(2, abs=1e-4)
            towards = 1 - 2 * found.marks[chosen][:, k, None].float()
            edited = to_uint8(oracle.decode(encoded(oracle, pixels) + towards * vector))
            truth = torch.from_numpy(source.counterfactuals(chosen.numpy(), name, 32)).permute(0, 3, 1, 2)
            right = (edited == truth).flatten(1).all(1).float().mean().item()
            assert right == 1 if exact else right < 0.5


def test_samples_of_the_prior_are_many_of_the_scenes_and_latents_are_about_the_prior() -> None:
    oracle = Oracle(scenes(3), Grade())
    drawn = oracle.decode(torch.randn(500, LATENT, generator=torch.Generator().manual_seed(0)))
    assert len(drawn.flatten(1).unique(dim=0)) > 250
    codes = scenes(3).latents(0.0)
    assert codes.mean(0).abs().max() < 0.1
    assert (codes.std(0) - 1).abs().max() < 0.1


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_pictures_goes_astray(share: float) -> None:
    _, pixels = images()
    shown = Oracle(scenes(3), Grade(astray=share)).decode(encoded(Oracle(scenes(3), Grade()), pixels))
    lost = (to_uint8(shown) != pixels).flatten(1).any(1).float().mean().item()
    assert lost == pytest.approx(share, abs=0 if share == 0 else 0.08)


def test_circumstances_are_as_they_say(plugins: Plugins) -> None:
    subject = EvaluatorSubject(plugins, "mse")
    usual = subject.context(PLAIN)
    backwards = subject.context(replace(PLAIN, arranged="reversed"))
    wrong = subject.context(replace(PLAIN, mislabelled=True))
    fewer = subject.context(replace(PLAIN, arranged="fewer"))
    assert np.array_equal(usual.dataset.images[::-1], backwards.dataset.images)
    assert np.array_equal(usual.dataset.images, wrong.dataset.images)
    assert not np.array_equal(usual.dataset.attributes, wrong.dataset.attributes)
    assert {each.dataset.fingerprint for each in (usual, backwards, wrong, fewer)} == {usual.dataset.fingerprint}
    assert subject.context(Circumstances(channels=1)).dataset.fingerprint != usual.dataset.fingerprint
    assert (usual.count("train"), usual.count("validation"), usual.count("test")) == COUNTS
    assert fewer.count("train") == COUNTS[0]
    assert 128 < fewer.count("test") < COUNTS[2]
    flipped = [each.counterfactuals("test", "patch") for each in (usual, backwards)]
    assert torch.equal(flipped[0].flip(0), flipped[1])


def test_real_features_are_kept_apart_but_classifiers_are_shared(plugins: Plugins) -> None:
    subject = EvaluatorSubject(plugins, "mse")
    first = subject._cache("first")
    for part in ("classifiers", "moments", "features"):
        (first / part).mkdir()
    assert [path.name for path in subject._cache("second").iterdir()] == ["classifiers"]
    del subject
    assert not first.exists()


def test_another_device_is_tried(plugins: Plugins) -> None:
    # `cpu:0` is the CPU by another name, which stands in for a device that is not here.
    subject = make_subject(plugins, "evaluator", "sound", device="cpu:0")
    found = finding(subject, "device", find_check("evaluator", "device"))
    assert (found.state, found.found) == ("ok", "cpu:0: off by 0e+00 at most")
