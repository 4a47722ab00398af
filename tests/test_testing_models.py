"""The kit's checks of models: those that are broken on purpose fail the very checks that are theirs."""

import broken_models
import numpy as np
import pytest
import torch

import genbench_gan
import genbench_similarities
import genbench_vae
import genbench_vaegan
from genbench import GenbenchError
from genbench.findings import Finding
from genbench.plugins import Plugins
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.interface import builds, carry_out, find_check, finding, make_subject
from genbench.testing.models_measures import strayed
from genbench.testing.models_trial import BATCH, ModelSubject

NAMES = [name for name, _ in CHECKS["model"]]

BROKEN: dict[str, tuple[str, ...]] = {
    "networkless": (BUILDS,),
    "idle": ("losses",),
    # What is not a number or a scalar, or is trained under another name, is met by all that trains.
    "infinite": ("losses", "state", "samples", "encoder", "resuming", "bfloat16", "sizes"),
    "unscalar": ("losses", "resuming", "bfloat16"),
    "dead": ("networks move",),
    "homeless": ("networks move",),
    "shared": ("networks move",),
    "leaky": ("gradient routing",),
    "ungated": ("gradient routing",),
    "unbounded": ("samples",),
    "unseeded": ("same seed", "resuming"),
    "numpy": ("random state",),
    "clamping": ("nothing in place",),
    "halved": ("encoder",),
    "demanding": ("encoder", "evaluation mode"),
    "centred": ("evaluation mode",),
    "forgetful": ("state",),
    "counting": ("resuming",),
    "onesize": ("sizes",),
    "numbered": ("phase",),
    "whimsical": ("phase",),
    "deaf": ("similarity",),
    "hiding": ("discriminator",),
    "telling": ("discriminator",),
    "coarse": ("bfloat16",),
}
"""Names of fakes, and the checks that they fail, the one that is theirs first."""

LONG = {"sizes", "resuming", "bfloat16", "gradient routing", "state"}
"""Checks that take most of the time, carried out where they should fail."""

SAID = {
    "idle": "`idle` has no loss",
    "infinite": "`encoder` is inf after 0 images",
    "dead": "encoder.unused.weight, encoder.unused.bias",
    "homeless": "no network has the parameter `prior`",
    "shared": "`decoder` and `twin` share a parameter",
    "leaky": "`decoder` gets another gradient than its own loss's: off by 1.0e+00",
    "ungated": "gates {}",
    "numpy": "draws from numpy's",
    "halved": "log_variance has the shape (16, 1), expected (16, 6)",
    "onesize": "16 px, grey, conv",
    "deaf": "declares `mse`, but its losses never use it",
    "hiding": "views without features",
    "telling": "no discriminator is declared",
    "coarse": "in bfloat16, training ended: ",
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.of(broken_models.Plugin(), genbench_vae, genbench_gan, genbench_vaegan, genbench_similarities)


def carried_out(plugins: Plugins, name: str, check: str) -> Finding:
    subject = make_subject(plugins, "model", name, device="cpu")
    return finding(subject, check, find_check("model", check))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_fails_the_check_that_is_its_own(plugins: Plugins, name: str) -> None:
    found = carried_out(plugins, name, BROKEN[name][0])
    assert found.state == "failed"
    assert SAID.get(name, "") in found.found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BROKEN if BROKEN[name] != (BUILDS,)])
def test_a_broken_model_fails_no_other_check(plugins: Plugins, name: str) -> None:
    asked = [check for check in NAMES if check in BROKEN[name] or check not in LONG]
    states = {check: carried_out(plugins, name, check).state for check in asked}
    assert {check for check, state in states.items() if state == "failed"} == set(BROKEN[name])


@pytest.mark.parametrize("name", ["vae", pytest.param("conditional", marks=pytest.mark.slow)])
def test_a_sound_model_passes(plugins: Plugins, name: str) -> None:
    found = {each.name: each for each in carry_out(plugins, "model", name, device="cpu")}
    assert {n: f.found for n, f in found.items() if f.state == "failed"} == {}
    assert {n for n, f in found.items() if f.state == "skipped"} == {"device"}
    assert list(found) == [BUILDS, *NAMES]


@pytest.mark.slow
def test_a_model_may_say_what_it_is_not_for(plugins: Plugins) -> None:
    found = carried_out(plugins, "refusing", "sizes")
    assert found.state == "ok"
    assert found.found.startswith("5 combinations; refused: 16 px, grey, conv (it is for colours)")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "vaegan", "vaegan-pixel", "vae-dis-l"])
def test_first_party_models_pass(plugins: Plugins, name: str) -> None:
    found = {each.name: each for each in carry_out(plugins, "model", name, device="cpu")}
    assert {n: f.found for n, f in found.items() if f.state == "failed"} == {}
    assert {n for n, f in found.items() if f.state == "skipped"} == (
        {"device", "encoder", "discriminator"} if name == "gan" else {"device"}
    )
    assert found["phase"].found == ("gan, vae" if name == "vae-dis-l" else "whole")


def test_every_part_of_training_is_looked_at(plugins: Plugins) -> None:
    subject = ModelSubject(plugins, "vae-dis-l")
    started = subject.start()
    assert started.positions == list(range(0, 8 * BATCH, BATCH))
    started.model.similarity_from = 10_000
    assert started.positions[-4:] == [10_000 + i * BATCH for i in range(4)]


def test_what_is_checked_is_what_a_run_configures(plugins: Plugins) -> None:
    subject = make_subject(plugins, "model", "vae-dis-l", ["margin=0.5"], "cpu")
    assert isinstance(subject, ModelSubject)
    config = subject.configure(subject.trial)
    assert config.model.settings["margin"] == 0.5
    assert config.similarity is not None
    assert (config.similarity.name, config.similarity.settings["layer"]) == ("dis-l", "first")


def test_settings_of_others_are_refused(plugins: Plugins) -> None:
    for text in ("network.width=1", "gama=1"):
        with pytest.raises(GenbenchError):
            make_subject(plugins, "model", "vae", [text], "cpu")


def test_checks_leave_the_callers_random_numbers_alone(plugins: Plugins) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    for check in ("samples", "random state", "state"):
        assert carried_out(plugins, "vae", check).state == "ok"
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_a_model_that_is_none_is_not_built(plugins: Plugins) -> None:
    import bench

    found = finding(ModelSubject(Plugins.of(bench.Extras()), "other"), BUILDS, builds)
    assert (found.state, "expected a genbench Model" in found.found) == ("failed", True)


def test_another_device_is_tried_as_a_run_would(plugins: Plugins) -> None:
    # `cpu:0` is the CPU by another name, which stands in for a device that is not here.
    subject = make_subject(plugins, "model", "vae", device="cpu:0")
    found = finding(subject, "device", find_check("model", "device"))
    assert (found.state, found.found) == ("ok", "cpu:0, eager: off by 0.0% of the way from eager steps")


def test_weights_that_went_another_way_are_told_from_those_that_rounding_moved(plugins: Plugins) -> None:
    subject = ModelSubject(plugins, "vae")
    start = {f"model/{name}": value.detach() for name, value in subject.start().model.named_parameters()}
    moved = {name: value + 1e-3 for name, value in start.items()}
    rounded = {name: value + 1e-6 for name, value in moved.items()}
    assert strayed(subject, moved, rounded) == pytest.approx(1e-3, rel=1e-2)
    assert strayed(subject, moved, {name: value - 2e-3 for name, value in moved.items()}) == pytest.approx(2, rel=1e-3)
