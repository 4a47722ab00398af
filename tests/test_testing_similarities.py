"""The kit's checks of similarities: those that are broken on purpose fail the very checks that are theirs."""

import random
from collections.abc import Callable
from functools import cache

import broken_similarities
import numpy as np
import pytest
import torch

import genbench_similarities
from genbench import GenbenchError, NotApplicable
from genbench.findings import Finding
from genbench.plugins import Plugins
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.interface import CheckFailed, carry_out, find_check, make_subject
from genbench.testing.pictures import dead_leaves, reconstruction
from genbench.testing.similarities import SimilaritySubject
from genbench.testing.similarities_devices import record
from genbench.train.graph import WouldWait

NAMES = [BUILDS, *dict(CHECKS["similarity"])]
GPU = {"device", "cuda graph"}
ALL_THAT_MEASURE = {*NAMES} - {BUILDS, "settings", "facts", "nothing to train", *GPU}
ALL_WITH_GRADIENTS = {
    *("gradient", "gradient at itself", "gradient anywhere", "finite differences", "batch size", "nothing in place"),
    *("random state", "inference mode", "sizes", "channels", "scale", "autocast", "channels_last", "no values read"),
}

BROKEN: dict[str, set[str]] = {
    "sound": set(),
    "notone": {BUILDS},
    "raises": ALL_THAT_MEASURE,
    "notensor": ALL_THAT_MEASURE,
    "scalar": ALL_THAT_MEASURE - {"cost"},
    "squeezes": {"shape", "batch size"},
    # What is rounded to float32 has differences that are rounded, too.
    "single": {"dtype", "finite differences"},
    # Nothing that is measured in float64 can be.
    "fixed": {"dtype", "worse costs more", "finite differences", "batch size", "order", "autocast"},
    "relative": {"finite", "gradient anywhere"},
    "enhancing": {"least for itself"},
    "reversed": {"least for itself", "worse costs more", "strongest distortion", "sizes", "channels"},
    "beside": {"least for itself"},
    "cancelling": {"worse costs more"},
    "forgiving": {"strongest distortion"},
    "blind": {"dtype", "worse costs more", *ALL_WITH_GRADIENTS},
    "quantised": {"gradient", "sizes", "channels", "scale"},
    "root": {"gradient at itself", "gradient anywhere"},
    "deviating": {"gradient anywhere"},
    "straight": {"finite differences"},
    "detached": {"finite differences"},
    # Where images hang together, one's slope is not that of its own value.
    "normalised": {"batch size", "finite differences"},
    "crossed": {"batch size", "finite differences"},
    "placed": {"order", "batch size"},
    "stops": {"batch size"},
    "inplace": {"nothing in place"},
    "clears": {"nothing in place"},
    "draws": {"random state"},
    "drawselsewhere": {"random state"},
    "noisy": {
        *("random state", "deterministic", "inference mode", "batch size", "order"),
        *("finite differences", "autocast", "channels_last"),
    },
    # Precision is measured between two that are built one after the other.
    "projected": {"deterministic", "autocast"},
    "learning": {"deterministic"},
    "keeps": {"inference mode"},
    "large": {"sizes"},
    "colours": {"channels"},
    "peeks": {"discriminator"},
    "unused": {"discriminator"},
    "wrongdefault": {"settings"},
    "thawed": {"settings"},
    "unwritable": {"settings"},
    "facts": {"facts"},
    "trains": {"nothing to train"},
    "tiny": {"scale"},
    "half": {"autocast"},
    "viewed": {"channels_last"},
    "branches": {"no values read"},
    "throughnumpy": {"no values read"},
    "onthecpu": {"no values read"},
}

# Torch's meta device has no autocast, so that what turns it on can't be tried there.
SKIPPED = {"notone": {*NAMES} - {BUILDS}, "half": GPU | {"no values read"}}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.of(broken_similarities.Plugin(), genbench_similarities)


@cache
def found(name: str) -> dict[str, Finding]:
    """Return what all checks find of a broken similarity, by their names."""
    findings = carry_out(Plugins.of(broken_similarities.Plugin()), "similarity", name, device="cpu")
    return {finding.name: finding for finding in findings}


def test_each_broken_similarity_is_tried(plugins: Plugins) -> None:
    declared = {spec.name for spec in Plugins.of(broken_similarities.Plugin()).specs("similarities")}
    assert declared == {*BROKEN, "absent", "downloads"}
    assert plugins.broken == ()


def test_each_check_is_failed_by_something_but_those_that_need_a_gpu_and_the_cost() -> None:
    precise = set().union(*(failed for failed in BROKEN.values() if len(failed) <= 3))
    assert precise | GPU | {"cost"} >= {*NAMES} - {"gradient"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_similarity_fails_what_it_breaks_and_nothing_else(name: str) -> None:
    torch.manual_seed(0)  # some draw noise, which else might happen to be the same twice
    findings = found(name)
    assert list(findings) == NAMES
    assert {check for check, finding in findings.items() if finding.state == "failed"} == BROKEN[name]
    skipped = {check for check, finding in findings.items() if finding.state == "skipped"}
    assert skipped == SKIPPED.get(name, GPU)


@pytest.mark.parametrize(
    ("name", "check", "told", "hint"),
    [
        ("squeezes", "shape", "shape () for N images, expected (N,)", "flatten(1).sum(1)"),
        ("single", "dtype", "float32 for images of float64", "new_tensor"),
        ("fixed", "dtype", "for images of float64 it raises", "new_tensor"),
        ("relative", "finite", "where the real image is black", "denominators"),
        ("enhancing", "least for itself", "contrast raised by 0.1 costs less than the image itself", "least value"),
        ("beside", "least for itself", "moved by 0.003 down the gradient costs less", "least value"),
        ("cancelling", "worse costs more", "noise of 0.01 of the range costs", "must cost more"),
        ("stops", "batch size", "in batches of 1, its gradients differ", "reduce each image by itself"),
        ("reversed", "channels", "with 1 channel a reconstruction costs no more", "Needs(channels=3)"),
        ("forgiving", "strongest distortion", "the strongest contrast costs", "genbench score forgiving"),
        ("quantised", "gradient", "zero, for 4 of 4 images", "`round` has none"),
        ("root", "gradient at itself", "not finite where both images are equal", "sqrt(d + 1e-12)"),
        ("deviating", "gradient anywhere", "the fake image is black", "sqrt"),
        ("detached", "finite differences", "not that of finite differences", "detached"),
        ("normalised", "batch size", "in batches of 1", "reduce each image by itself"),
        ("inplace", "nothing in place", "writes to `real.images`", "add_"),
        ("clears", "nothing in place", "changes the mapping `fake.features`", "write to no tensor"),
        ("draws", "random state", "the random state of torch", "torch.Generator of its own"),
        ("drawselsewhere", "random state", "of numpy and of random", "torch.Generator of its own"),
        ("projected", "deterministic", "built anew", "fixed seed"),
        ("learning", "deterministic", "in evaluation mode", "dropout"),
        ("keeps", "inference mode", "no gradient afterwards", "register_buffer"),
        ("large", "sizes", "at 4 px it raises RuntimeError", "Needs(min_size=8)"),
        ("colours", "channels", "with 1 channel it raises RuntimeError", "Needs(channels=3)"),
        ("peeks", "discriminator", "does not declare", "Needs(discriminator=True)"),
        ("unused", "discriminator", "does not depend on `fake.features`", "leave `discriminator=True` out"),
        ("wrongdefault", "settings", "setting `scale` is 0.0: input should be greater than 0", "genbench show"),
        ("thawed", "settings", "no frozen dataclass", "frozen=True"),
        ("facts", "facts", "the fact 'network' is tensor", "plain values"),
        ("trains", "nothing to train", "1 of its parameters require a gradient", "requires_grad_(False)"),
        ("tiny", "scale", "leaves float32", "multiply the value"),
        ("viewed", "channels_last", "channels_last it raises view size", "`reshape` or `flatten`"),
        ("branches", "no values read", "reads the images' values in Python", "torch.where"),
        ("onthecpu", "no values read", "`mul` of tensors on cpu and theirs", "register it as a buffer"),
        ("raises", "shape", "raised ZeroDivisionError: nothing to divide (", "author of `raises`"),
        ("notone", BUILDS, "gives a NotOne, expected a genbench Similarity", "subclass"),
    ],
)
def test_what_fails_says_what_was_found_and_what_to_do(name: str, check: str, told: str, hint: str) -> None:
    finding = found(name)[check]
    whole = f"{finding.found} {finding.hint}"
    assert told in whole
    assert hint in str(finding.hint)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "the weights of `absent` are not here"),
        ("downloads", "it downloads something, and a check downloads nothing"),
    ],
)
def test_one_whose_weights_are_nowhere_is_skipped_with_the_reason(name: str, reason: str) -> None:
    findings = found(name)
    assert {finding.state for finding in findings.values()} == {"skipped"}
    assert {finding.found for finding in findings.values()} == {reason}
    assert all(finding.hint for finding in findings.values())
    assert len(findings) == len(NAMES)


@pytest.mark.parametrize("name", ["mse", "l1", "bce", "dis-l", "ssim", "student-t", "fourier"])
def test_sound_similarities_pass_all(plugins: Plugins, name: str) -> None:
    findings = list(carry_out(plugins, "similarity", name, device="cpu"))
    assert [f"{f.name}: {f.found}" for f in findings if f.state == "failed"] == []
    on_purpose = {"finite differences"} if name == "fourier" else set()  # whose gradient holds weights fixed
    assert {f.name for f in findings if f.state == "skipped"} == GPU | on_purpose


def test_another_device_is_compared_with_the_cpu(plugins: Plugins) -> None:
    """`cpu:0` stands for one: it is the same, under another name."""
    subject = make_subject(plugins, "similarity", "ssim", device="cpu:0")
    assert find_check("similarity", "device")(subject) == "cpu:0: off by 0e+00 from the CPU"
    with pytest.raises(NotApplicable, match="only CUDA has graphs"):
        find_check("similarity", "cuda graph")(subject)


class Recorder:
    """Records on the CPU: what work does, or the failure that is asked for."""

    def __init__(self, waits: bool = False, fails: bool = False, forgets: bool = False) -> None:
        self.waits, self.fails, self.forgets = waits, fails, forgets

    def aside(self, work: Callable[[], None]) -> None:
        work()

    def aside_without_waiting(self, work: Callable[[], None]) -> None:
        if self.waits:
            raise WouldWait("it reads a tensor's value")
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return (lambda: None) if self.forgets else work


@pytest.mark.parametrize(
    ("recorder", "message"),
    [
        (Recorder(waits=True), "the host would wait for the device: it reads a tensor's value"),
        (Recorder(fails=True), "it can't be recorded: operation not permitted when stream is capturing$"),
        (Recorder(forgets=True), "replayed for other images, it is off by"),
    ],
)
def test_what_can_not_be_recorded_as_a_graph_says_why(plugins: Plugins, recorder: Recorder, message: str) -> None:
    subject = make_subject(plugins, "similarity", "dis-l", device="cpu")
    assert isinstance(subject, SimilaritySubject)
    assert record(subject, torch.device("cpu"), Recorder()) == "recorded, and replayed for other images"
    with pytest.raises(CheckFailed, match=message):
        record(subject, torch.device("cpu"), recorder)


def test_settings_are_those_of_a_run(plugins: Plugins) -> None:
    subject = make_subject(plugins, "similarity", "mse", ["similarity.reduction=mean"])
    assert subject.build().settings.reduction == "mean"
    by_mean = {f.name: f for f in carry_out(plugins, "similarity", "mse", ["similarity.reduction=mean"], "cpu")}
    assert by_mean["scale"].found == f"`auto` multiplies it by {3 * 32 * 32:.3g}"


@pytest.mark.parametrize(
    ("kind", "name", "settings", "message"),
    [
        ("metric", "mse", (), "unknown kind `metric`"),
        ("similarity", "mze", (), "unknown similarity `mze`"),
        ("similarity", "mse", ("similarity.reductoin=sum",), "`mse` has no setting `reductoin`"),
        ("similarity", "mse", ("similarity.reduction=max",), "setting `reduction` is 'max'"),
        ("similarity", "mse", ("gamma=1",), "a setting of the section `model`"),
        ("similarity", "mse:0.5+l1:0.5", (), "is a mixture"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_checked(
    plugins: Plugins, kind: str, name: str, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(GenbenchError, match=message):
        carry_out(plugins, kind, name, settings)


def test_an_unknown_device_is_refused(plugins: Plugins) -> None:
    with pytest.raises(GenbenchError, match="--device nowhere can't be used"):
        carry_out(plugins, "similarity", "mse", device="nowhere")


def test_the_checks_themselves_leave_random_states_and_threads_as_they_were(plugins: Plugins) -> None:
    def states() -> tuple[object, ...]:
        numpy = np.random.get_state(legacy=False)["state"]  # type: ignore[call-overload] # noqa: NPY002
        return torch.get_rng_state().tolist(), str(numpy), random.getstate(), torch.get_num_threads()

    before = states()
    list(carry_out(plugins, "similarity", "dis-l", device="cpu"))
    assert states() == before


def test_dead_leaves_are_the_same_for_the_same_seed_and_hold_flat_discs() -> None:
    pictures = dead_leaves(3, 3, 32, seed=5)
    assert pictures.dtype == torch.float64
    assert pictures.shape == (3, 3, 32, 32)
    assert float(pictures.abs().max()) <= 1
    assert torch.equal(dead_leaves(2, 3, 32, seed=5), pictures[:2])
    assert not torch.equal(dead_leaves(3, 3, 32, seed=6), pictures)
    pictures[:] = 0  # whoever is given pictures may do with them what they like
    assert dead_leaves(3, 3, 32, seed=5).std() > 0.3


def test_dead_leaves_look_alike_at_every_scale() -> None:
    """Halving the size of pictures leaves the power of their differences between neighbours nearly what it was."""
    large = dead_leaves(40, 1, 64)
    small = torch.nn.functional.avg_pool2d(large, 2)
    powers = [float((p[..., 1:] - p[..., :-1]).square().mean()) for p in (large, small)]
    assert 0.5 < powers[1] / powers[0] < 2


def test_a_reconstruction_is_near_its_image_and_never_quite_black_or_white() -> None:
    real = dead_leaves(4, 3, 32)
    fake = reconstruction(real)
    assert float(fake.abs().max()) <= 0.99
    assert 0 < float((fake - real).square().mean()) < 0.1
    assert reconstruction(real.float()).dtype == torch.float32
