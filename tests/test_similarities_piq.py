"""piq's metrics as similarities: against piq called directly, finite differences, and what piq has."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import piq
import pytest
import torch
from piq_pairs import as_piq_says, pair, slope
from torch import Tensor

import genbench_piq
from genbench.errors import GenbenchError
from genbench.interfaces import Similarity, View
from genbench.plugins import Plugins
from genbench.testing.interface import find_check, make_subject
from genbench_piq import catalogue, formulas
from genbench_piq.catalogue import LEFT_OUT, METRICS, Metric
from genbench_piq.mending import Mended

ROOT = Path(__file__).resolve().parents[1]
FORMULAS = [metric for metric in METRICS.values() if not metric.settings]
SMALL = [metric for metric in FORMULAS if metric.side < 100]
NAMED = pytest.mark.parametrize("metric", FORMULAS, ids=lambda metric: metric.name)


def build(metric: Metric) -> Similarity:
    return getattr(formulas, metric.exported)()


@NAMED
def test_values_are_piqs_own_bit_for_bit(metric: Metric) -> None:
    real, fake = (images.float() for images in pair(max(metric.side, 64)))
    similarity = build(metric)
    found = similarity(View(real), View(fake))
    assert found.shape == (2,)
    assert found.dtype == torch.float32
    # Image by image: sums of a whole batch may be taken in another order.
    alone = [similarity(View(r), View(f)) for r, f in zip(real.split(1), fake.split(1), strict=True)]
    assert torch.equal(torch.cat(alone), as_piq_says(metric, real, fake))


@pytest.mark.parametrize("metric", SMALL, ids=lambda metric: metric.name)
def test_gradients_are_those_of_finite_differences_in_float64(metric: Metric) -> None:
    real, fake = pair(max(metric.side, 32))
    similarity = build(metric)
    _, gradient = slope(similarity, real, fake)
    direction = torch.randn(fake.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-7
    with torch.no_grad():
        ahead, behind = (similarity(View(real), View(fake + way * step * direction)) for way in (1, -1))
    assert ahead.dtype == torch.float64
    expected = (gradient * direction).flatten(1).sum(1)
    usual = gradient.flatten(1).norm(dim=1)
    assert (((ahead - behind) / (2 * step) - expected).abs() / usual).max() < 1e-3


@pytest.mark.parametrize("metric", SMALL, ids=lambda metric: metric.name)
def test_where_piqs_gradient_is_not_a_number_ours_is(metric: Metric) -> None:
    real, fake = (images.float() for images in pair(max(metric.side, 32)))
    flat, black = torch.zeros_like(real), -torch.ones_like(real)
    similarity = build(metric)
    for first, second in ((real, real), (real, flat), (flat, fake), (flat, flat), (black, black), (real, -real)):
        value, gradient = slope(similarity, first, second)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
    own = similarity(View(real), View(real))
    assert (own <= similarity(View(real), View(fake)) + 1e-6).all()


@pytest.mark.parametrize("metric", SMALL, ids=lambda metric: metric.name)
def test_an_image_costs_the_same_in_any_company(metric: Metric) -> None:
    real, fake = pair(max(metric.side, 32))
    similarity = build(metric)
    together, gradient = slope(similarity, real, fake)
    for place in range(2):
        alone, own = slope(similarity, real[place : place + 1], fake[place : place + 1])
        torch.testing.assert_close(alone[0], together[place], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(own[0], gradient[place], rtol=1e-6, atol=1e-12)


@NAMED
def test_the_least_side_is_where_piq_begins_to_tell_anything(metric: Metric) -> None:
    def says_something(side: int) -> bool:
        real, fake = (images.float() for images in pair(side, 1))
        try:
            value, gradient = slope(build(metric), real, fake)
        except (ValueError, RuntimeError):
            return False
        return bool(value.isfinite().all() and gradient.isfinite().all() and gradient.any())

    assert says_something(metric.side)
    if metric.side > 1:
        assert not says_something(metric.side - 1)


@pytest.mark.parametrize("metric", SMALL, ids=lambda metric: metric.name)
def test_grey_images_do_and_cost_what_piq_says_of_them(metric: Metric) -> None:
    real, fake = (images.float() for images in pair(max(metric.side, 32), channels=1))
    value, gradient = slope(build(metric), real, fake)
    assert gradient.shape == real.shape
    assert gradient.any()
    seen = [images.expand(-1, 3, -1, -1) if metric.colour else images for images in (real, fake)]
    torch.testing.assert_close(value, as_piq_says(metric, *seen), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["piq-dss", "piq-fsim", "piq-gmsd", "piq-haarpsi", "piq-srsim", "piq-ssim"])
def test_no_value_of_an_image_is_read_in_python(name: str) -> None:
    subject = make_subject(Plugins.of(genbench_piq), "similarity", name, device="cpu")
    find_check("similarity", "no values read")(subject)


def test_a_saturated_decoder_still_gets_a_gradient() -> None:
    real, fake = (images.float() for images in pair(32))
    beyond = torch.where(fake.abs() > 0.5, fake.sign() * (1 + 1e-3), fake)
    for metric in SMALL:
        if metric.side <= 32:
            value, gradient = slope(build(metric), real, beyond)
            assert value.isfinite().all()
            assert gradient.isfinite().all()
            assert gradient[fake.abs() > 0.5].any()


def test_white_is_as_informative_as_black_to_vif_and_a_turned_hue_is_nothing_to_gmsd() -> None:
    # What docs/piq.md says these don't see, so that nobody takes it for a fault of a run.
    real, _ = (0.5 * images for images in pair(64))
    brighter = real + 0.3
    swapped = real + torch.tensor([0.114, 0.0, -0.299], dtype=torch.float64)[:, None, None]  # no change of luma
    assert build(METRICS["VIFLoss"])(View(real), View(brighter)).max() < 0.01
    assert build(METRICS["GMSDLoss"])(View(real), View(swapped)).max() < 1e-3
    assert build(METRICS["MDSILoss"])(View(real), View(swapped)).min() > 0.1


# What piq has


def test_information_weights_end_a_run_at_an_image_without_detail() -> None:
    real, fake = ((images.float() + 1) / 2 for images in pair(161, 1))
    loss = piq.InformationWeightedSSIMLoss(reduction="none")
    with pytest.raises(torch.linalg.LinAlgError):
        loss(fake, torch.full_like(real, 0.5))
    assert loss(fake, real).isfinite().all()


NEWER = '''
import torch
from torch.nn.modules.loss import _Loss

class NewLoss(_Loss):
    """The mean absolute difference, of images in [0, 1]."""
    def __init__(self, reduction="mean", data_range=1.0):
        super().__init__(reduction=reduction)
    def forward(self, x, y):
        assert 0 <= x.min() and x.max() <= 1 and x.shape[1] == 3
        return (x - y).abs().mean((1, 2, 3))

class Child(NewLoss):
    pass

class AloneLoss(_Loss):
    def __init__(self, reduction="mean"): ...
    def forward(self, x, weights=None): ...

class Sets(_Loss):
    def __init__(self, reduction="mean"): ...
    def forward(self, x_features, y_features): ...

class NoReduction(_Loss):
    def forward(self, x, y): ...
'''
TRAINED = "class Learned:\n    def __init__(self, reduction): torch.load('w.pt')\n    def forward(self, x, y): ...\n"


def test_a_newer_piqs_metrics_show_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "NewLoss, Child, AloneLoss, Sets, NoReduction"
    (tmp_path / "__init__.py").write_text(
        f"from .newer import {names}, helper\nfrom .trained import Learned\nfrom .ssim import ssim, SSIMLoss\n"
        "from .lost import Lost\nimport torch\n"
    )
    (tmp_path / "newer.py").write_text(NEWER)
    (tmp_path / "trained.py").write_text(TRAINED)
    assert [metric.name for metric in catalogue.declared(tmp_path)] == ["piq-new", "piq-child", "piq-ssim"]

    scope: dict[str, Any] = {}
    exec(NEWER, scope)
    monkeypatch.setattr(piq, "NewLoss", scope["NewLoss"], raising=False)
    monkeypatch.setattr(genbench_piq, "installed", lambda: tmp_path)
    plugins = Plugins.of(genbench_piq)
    assert plugins.broken == ()
    similarity = plugins.resolve(plugins.similarity("piq-new").target)()
    real, fake = (images.float() for images in pair(8, channels=1))
    expected = ((real - (fake * 2).clamp(-1, 1)).abs() / 2).flatten(1).mean(1)
    torch.testing.assert_close(similarity(View(real), View(fake * 2)), expected)
    assert "never tried" in type(similarity).__doc__
    with pytest.raises(GenbenchError, match="has no `Elsewhere`"):
        plugins.resolve("genbench_piq.formulas:Elsewhere")


def test_without_piq_nothing_is_declared_and_who_asks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genbench_piq, "installed", lambda: None)
    plugins = Plugins.of(genbench_piq)
    assert plugins.broken == ()
    assert plugins.specs("similarities") == []
    with pytest.raises(GenbenchError) as caught:
        plugins.similarity("piq-ssim")
    assert "piq is not installed (`pip install 'genbench[piq]'`)" in str(caught.value.hint)
    with pytest.raises(GenbenchError) as caught:
        plugins.model("piq-ssim")
    assert "piq is not installed" not in str(caught.value.hint)


def test_a_piq_without_sources_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda name: SimpleNamespace(origin=None))
    assert catalogue.installed() is None


def test_listing_imports_neither_piq_nor_torch() -> None:
    code = (
        "import sys; from genbench.plugins import Plugins\n"
        "names = [s.name for s in Plugins.load().specs('similarities')]\n"
        "assert 'piq-ssim' in names, names\n"
        "print(sorted({'piq', 'torch', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_page_shows_what_is_registered_and_why_the_rest_is_not() -> None:
    page = (ROOT / "docs" / "piq.md").read_text()
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    for metric in METRICS.values():
        cells = [cell.strip() for cell in rows.pop(metric.name).split("|")]
        assert cells[2] == metric.summary
        assert cells[3] == str(metric.side)
        assert cells[4] == (metric.blind or "–")
    assert {name: row.split("|")[2].strip() for name, row in rows.items()} == dict(LEFT_OUT)


# The mends


def mended(images: Tensor, **options: bool) -> Mended:
    return Mended(images, {}, **options)


def test_roots_and_broken_powers_have_no_slope_at_zero_and_else_their_own() -> None:
    base = torch.tensor([0.0, 1e-12, 0.25, 4.0], dtype=torch.float64, requires_grad=True)
    exponent = torch.tensor(0.3, dtype=torch.float64)
    for power in (torch.sqrt, lambda x: x**0.3, lambda x: x.pow(2.4), lambda x: torch.pow(x, exponent)):
        plain = power(base)
        with mended(base):
            value = power(base)
        assert torch.equal(value, plain)
        (expected,) = torch.autograd.grad(plain.sum(), base)
        (found,) = torch.autograd.grad(value.sum(), base)
        assert found[0] == 0
        torch.testing.assert_close(found[1:], expected[1:])
    with mended(base):
        assert torch.autograd.grad((base**2).sum(), base)[0].tolist() == (2 * base).tolist()
        assert (2.0**base).tolist() == pytest.approx([2.0**b for b in base.tolist()])
        assert (torch.tensor([2, 3]) ** 2).tolist() == [4, 9]


def test_precision_and_images_are_kept_apart() -> None:
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    with mended(images):
        assert torch.zeros(2).dtype == torch.float64
        assert torch.zeros(2, dtype=torch.int64).dtype == torch.int64
        assert images.float().dtype == torch.float64
        assert torch.arange(3).float().dtype == torch.float32
        assert torch.min(images).flatten().tolist() == images.flatten(1).amin(1).tolist()
        assert torch.max(images).flatten().tolist() == images.flatten(1).amax(1).tolist()
        assert torch.max(images[0]) == images[0].amax()


def test_constants_are_made_once_and_nobody_can_spoil_them() -> None:
    images, constants = torch.rand(1, 1, 2, 2), {}
    for _ in range(2):
        with Mended(images, constants):
            made = torch.tensor([1.0, 2.0], dtype=images.dtype, device=images.device)
            assert made.tolist() == [1.0, 2.0]
            made += 1
    assert len(constants) == 1
    with Mended(images, constants):
        assert torch.tensor([1.0, 3.0]).tolist() == [1.0, 3.0]


def test_constants_that_are_read_lie_on_the_cpu_until_they_meet_the_images() -> None:
    images, constants = torch.rand(1, 1, 2, 2, device="meta"), {}
    for _ in range(2):
        with Mended(images, constants, reads=True):
            places = torch.arange(2, device=images.device)
            assert places[1].item() == 1
            assert (images * places).device.type == "meta"
            assert torch.cat([images[0, 0, 0], places]).device.type == "meta"
    assert len(constants) == 1
