"""The doctor's checks of what is computed: each is content with what is sound, and fails where it is broken."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench as bench_module
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench import Bench
from doctoring import make_ground, only, states
from scipy.linalg import sqrtm
from torch import Tensor

import genbench
from genbench.doctor import distances, hardware, routing, running
from genbench.doctor.findings import Ground, carry_out
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import kernel, moments, neighbours
from genbench.findings import Finding
from genbench.interfaces import Batch, Gradients
from genbench.plugins import Plugins
from genbench.train.sharing import Share
from genbench_gan.model import Gan


@pytest.fixture
def ground(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return make_ground(bench, tmp_path, monkeypatch)


# What comes of a check.


def fine(_: Ground) -> Iterator[Finding]:
    yield Finding("fine", "ok", "indeed")


def half(_: Ground) -> Iterator[Finding]:
    yield Finding("first half", "ok", "indeed")
    raise ZeroDivisionError("second half\nand more")


def wrong(_: Ground) -> Iterator[Finding]:
    raise GenbenchError("it is wrong", "mend it")


def elsewhere(_: Ground) -> Iterator[Finding]:
    raise NotApplicable("it is not here", "fetch it")


def test_a_check_that_raises_is_one_finding_and_stops_no_other(ground: Ground) -> None:
    names = ("fine", "half", "wrong", "elsewhere", "missing")
    places = [(name, f"{__name__}:{name}") for name in names] + [("nowhere", "genbench.doctor.nowhere:at_all")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genbench.doctor.findings.import_module", lambda name: _module(name))
        found = list(carry_out(ground, places))
    assert [(f.name, f.state) for f in found] == [
        ("fine", "ok"),
        ("first half", "ok"),
        ("half", "failed"),
        ("wrong", "failed"),
        ("elsewhere", "skipped"),
        ("missing", "failed"),
        ("nowhere", "failed"),
    ]
    assert found[2].found == "ZeroDivisionError: second half"
    assert (found[3].found, found[3].hint) == ("it is wrong", "mend it")
    assert (found[4].found, found[4].hint) == ("it is not here", "fetch it")


def _module(name: str) -> object:
    if name != __name__:
        raise ModuleNotFoundError(f"No module named {name!r}")
    return SimpleNamespace(fine=fine, half=half, wrong=wrong, elsewhere=elsewhere)


# Hardware.


def test_the_device_computes_what_it_should(ground: Ground) -> None:
    assert only(hardware.device(ground)).found.startswith(("cpu: ", "cuda: ", "mps: "))
    assert set(states(hardware.convolutions(ground)).values()) == {"ok"}
    assert "auto trains in" in only(hardware.precision(ground)).found


def test_tf32_does_not_pass_for_float32(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    true = F.conv2d

    def rounded(images: Tensor, kernel_: Tensor, **how: Any) -> Tensor:
        """Drop the 13 lowest bits of the mantissa, as TF32 does."""
        if images.dtype == torch.float32:
            images, kernel_ = (
                x + ((x.detach().view(torch.int32) & ~0x1FFF).view(torch.float32) - x.detach())
                for x in (images, kernel_)
            )
        return true(images, kernel_, **how)

    monkeypatch.setattr(F, "conv2d", rounded)
    assert states(hardware.convolutions(ground))["float32 convolution"] == "failed"


def test_a_wrong_evaluation_mode_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(hardware.evaluation_mode(ground)).state == "ok"
    monkeypatch.setattr(hardware, "exact", nullcontext)
    found = only(hardware.evaluation_mode(ground))
    assert found.state == "failed"
    assert "deterministic is False" in found.found


# Distances.


def test_the_closed_form_is_that_of_the_definition() -> None:
    a, b, expected = distances.gaussians()
    root = sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    means = float((a.mean - b.mean).square().sum())
    traces = float(a.covariance.trace() + b.covariance.trace())
    assert expected == pytest.approx(means + traces - 2 * float(np.trace(root).real), rel=1e-9)
    commutator = a.covariance @ b.covariance - b.covariance @ a.covariance
    assert float(commutator.abs().max()) > 1


def test_distances_are_sound(ground: Ground) -> None:
    for check in (distances.frechet, distances.kernel, distances.neighbours):
        assert set(states(check(ground)).values()) == {"ok"}, check.__name__


def test_a_wrong_frechet_distance_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    true = moments.frechet_distance

    def of_diagonals(a: moments.Moments, b: moments.Moments) -> float:
        return true(*(replace(m, covariance=m.covariance.diagonal().diag()) for m in (a, b)))

    monkeypatch.setattr(moments, "frechet_distance", of_diagonals)
    assert states(distances.frechet(ground)) == {"fid with itself": "ok", "fid of gaussians": "failed"}
    monkeypatch.setattr(moments, "frechet_distance", lambda a, b: true(a, b) + 1e-3)
    assert states(distances.frechet(ground)) == {"fid with itself": "failed", "fid of gaussians": "failed"}


@pytest.mark.parametrize("factor_and_shift", [(0.0, 0.0), (1.0, 1.0)])
def test_a_wrong_kernel_distance_fails(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, factor_and_shift: tuple[float, float]
) -> None:
    true, (factor, shift) = kernel.kernel_distance, factor_and_shift

    def broken(*arguments: Any, **options: Any) -> kernel.KernelDistance:
        found = true(*arguments, **options)
        return replace(found, value=factor * found.value + shift)

    monkeypatch.setattr(kernel, "kernel_distance", broken)
    assert only(distances.kernel(ground)).state == "failed"


@pytest.mark.parametrize("name", ["precision_recall", "density_coverage"])
def test_wrong_neighbourhoods_fail(ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    true: Callable[..., tuple[Tensor, Tensor]] = getattr(neighbours, name)
    monkeypatch.setattr(neighbours, name, lambda a, b, k: tuple(torch.ones_like(x) for x in true(a, b, k)))
    assert only(distances.neighbours(ground)).state == "failed"


# Gradient routing.


class Leaky(Gan):
    """Its decoder also gets a share of the discriminator's own gradient."""

    def gradients(self, batch: Batch) -> Gradients:
        found = super().gradients(batch)
        first, *rest = found.of["decoder"]
        assert first is not None
        return replace(found, of={**found.of, "decoder": (1.001 * first, *rest)})


class Forgetful(Gan):
    """Leaves a network where it is."""

    def gradients(self, batch: Batch) -> Gradients:
        found = super().gradients(batch)
        return replace(found, of={"decoder": found.of["decoder"]})


class Raising(Gan):
    def gradients(self, batch: Batch) -> Gradients:
        raise RuntimeError("no gradient")


class Leaks:
    @genbench.hookimpl
    def genbench_models(self) -> Iterator[genbench.ModelSpec]:
        settings = "genbench_gan.settings:GanSettings"
        for cls in (Leaky, Forgetful, Raising):
            name = cls.__name__.lower()
            yield genbench.ModelSpec(name, "", f"{__name__}:{cls.__name__}", settings, discriminator=True)


def test_every_model_with_a_discriminator_is_routed_right(ground: Ground) -> None:
    found = states(routing.routing(ground))
    assert found == dict.fromkeys(("routing gan", "routing vae-dis-l", "routing vaegan", "routing vaegan-pixel"), "ok")
    assert torch.get_default_dtype() == torch.float32


def test_leaking_gradients_fail(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = {f"{__name__}:{cls.__name__}": cls for cls in (Leaky, Forgetful, Raising)}
    resolve = Plugins.resolve
    monkeypatch.setattr(Plugins, "resolve", lambda self, target: targets.get(target) or resolve(self, target))
    plugins = Plugins.of(Leaks(), bench_module.genbench_gan, bench_module.genbench_datasets)
    found = {f.name: f for f in routing.routing(replace(ground, plugins=plugins))}
    assert {name: f.state for name, f in found.items()} == {
        "routing forgetful": "failed",
        "routing gan": "ok",
        "routing leaky": "failed",
        "routing raising": "failed",
    }
    assert found["routing leaky"].found.startswith("decoder gets another gradient")
    assert "discriminator" in found["routing forgetful"].found
    assert found["routing raising"].found == "RuntimeError: no gradient"


# Runs.


def test_a_tiny_run_ends_and_reads_back(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(running.tiny_run(ground)).state == "ok"
    read = running.read_record
    monkeypatch.setattr(running, "read_record", lambda path: read(path).model_copy(update={"images_seen": 0}))
    assert only(running.tiny_run(ground)).found == "its record does not read back"


def test_a_tiny_run_whose_score_fails_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = running.tiny
    monkeypatch.setattr(
        running, "tiny", lambda plugins, model, evaluators: tiny(plugins, model, evaluators=("failing",))
    )
    found = only(running.tiny_run(ground))
    assert (found.state, found.found) == ("failed", "failing: RuntimeError: no luck")


def test_randomness_that_is_not_seeded_fails(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(running.resuming(ground)).state == "ok"
    monkeypatch.setattr(Share, "seed", lambda *_: None)
    assert only(running.resuming(ground)).state == "failed"
