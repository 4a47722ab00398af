"""Similarities in closed form, per image, and in float32 whatever they are given."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.stats import t as students
from torch import Tensor

from genbench import GenbenchError
from genbench.interfaces import Similarity, View
from genbench.train.weighting import WeightedSimilarity
from genbench_similarities.elementwise import L1, Bce, Charbonnier, DisL, Mse, StudentT
from genbench_similarities.settings import CharbonnierSettings, DisLSettings, ElementwiseSettings, StudentTSettings

SUM, MEAN = ElementwiseSettings(), ElementwiseSettings(reduction="mean")
PIXELS: dict[str, Callable[[ElementwiseSettings], Similarity]] = {"mse": Mse, "l1": L1, "bce": Bce}


def constant(value: float, n: int = 2) -> View:
    return View(torch.full((n, 3, 4, 4), value, dtype=torch.float64))


def noise(seed: int, n: int = 5, low: float = -0.9) -> View:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(n, 3, 4, 4, generator=generator, dtype=torch.float64)
    return View(values * (0.9 - low) + low, {"down3": values.flatten(1) * 7, "down2": values[:, 0]})


CLOSED = {
    "mse": 48 * 0.5 * 0.7**2,
    "l1": 48 * 0.7,
    # of probability (1 - 0.2) / 2 = 0.4 when the truth is (1 + 0.5) / 2 = 0.75
    "bce": -48 * (0.75 * math.log(0.4) + 0.25 * math.log(0.6)),
}


@pytest.mark.parametrize("name", PIXELS)
def test_closed_form_of_constant_images(name: str) -> None:
    value = PIXELS[name](SUM)(constant(0.5), constant(-0.2))
    assert value.shape == (2,)
    assert value.tolist() == pytest.approx([CLOSED[name]] * 2, rel=1e-12)


@pytest.mark.parametrize("name", PIXELS)
def test_mean_divides_by_the_elements_of_an_image(name: str) -> None:
    value = PIXELS[name](MEAN)(constant(0.5), constant(-0.2))
    assert value.tolist() == pytest.approx([CLOSED[name] / 48] * 2, rel=1e-12)


def test_dis_l_is_half_the_squared_distance_of_the_layer_and_sees_nothing_else() -> None:
    real = View(torch.zeros(2, 3, 4, 4), {"down3": torch.tensor([[1.0, 2.0], [0.0, 0.0]]), "down2": torch.ones(2, 9)})
    fake = View(torch.ones(2, 3, 4, 4), {"down3": torch.tensor([[4.0, -2.0], [0.0, 0.0]]), "down2": torch.zeros(2, 9)})
    assert DisL(DisLSettings())(real, fake).tolist() == [12.5, 0]
    assert DisL(DisLSettings(layer="down2"))(real, fake).tolist() == [4.5, 4.5]
    assert DisL(DisLSettings(reduction="mean"))(real, fake).tolist() == [6.25, 0]


def test_dis_l_by_default_takes_an_mlps_second_hidden_layer() -> None:
    real, fake = ({"hidden1": torch.zeros(1, 2), "hidden2": torch.full((1, 2), v)} for v in (1.0, 3.0))
    images = torch.zeros(1, 1, 4, 4)
    assert DisL(DisLSettings())(View(images, real), View(images, fake)).tolist() == [4]


def test_dis_l_of_an_unknown_layer_names_those_there_are() -> None:
    with pytest.raises(GenbenchError, match="no layer `dwn3`") as caught:
        DisL(DisLSettings(layer="dwn3"))(noise(0), noise(1))
    assert caught.value.hint == "did you mean `down3` or `down2`? its layers: down3, down2"


def test_dis_l_without_its_default_layers_says_so() -> None:
    view = View(torch.zeros(1, 1, 4, 4), {"other": torch.zeros(1, 2)})
    with pytest.raises(GenbenchError, match="no layer `default`"):
        DisL(DisLSettings())(view, view)


@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_charbonniers_cost_is_a_smoothed_absolute_value(epsilon: float) -> None:
    value = Charbonnier(CharbonnierSettings(epsilon=epsilon))(constant(0.5), constant(-0.2))
    assert value.tolist() == pytest.approx([48 * (math.hypot(0.7, epsilon) - epsilon)] * 2, rel=1e-12)


def test_charbonniers_cost_of_small_errors_keeps_its_digits_in_float32() -> None:
    real, fake = (View(torch.full((1, 1, 8, 8), value)) for value in (0.0, 1e-5))
    value = Charbonnier(CharbonnierSettings())(real, fake)
    assert value.item() == pytest.approx(64 * (math.hypot(1e-5, 1e-3) - 1e-3), rel=1e-5)


@pytest.mark.parametrize(("degrees", "scale"), [(4.0, 0.1), (1.0, 2.0)])
def test_students_likelihood_is_scipys_up_to_its_constant(degrees: float, scale: float) -> None:
    value = StudentT(StudentTSettings(degrees=degrees, scale=scale))(constant(0.5), constant(-0.2))
    likelihood = students(degrees, scale=scale).logpdf
    assert value.tolist() == pytest.approx([48 * (likelihood(0) - likelihood(0.7))] * 2, rel=1e-12)


def test_students_likelihood_of_endless_degrees_is_the_gaussians() -> None:
    settings = StudentTSettings(degrees=1e9, scale=1.0)
    torch.testing.assert_close(StudentT(settings)(noise(0), noise(1)), Mse(SUM)(noise(0), noise(1)), rtol=1e-8, atol=0)


ALL: dict[str, Similarity] = {
    **{name: cls(SUM) for name, cls in PIXELS.items()},
    "charbonnier": Charbonnier(CharbonnierSettings()),
    "student-t": StudentT(StudentTSettings()),
    "dis-l": DisL(DisLSettings()),
}


@pytest.mark.parametrize("name", ALL)
def test_an_images_value_depends_on_no_other_image(name: str) -> None:
    real, fake = noise(0), noise(1)
    together = ALL[name](real, fake)
    for i in range(5):
        alone = ALL[name](
            *(View(v.images[i : i + 1], {k: f[i : i + 1] for k, f in v.features.items()}) for v in (real, fake))
        )
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_no_reconstruction_is_better_than_the_image_itself(name: str) -> None:
    real, fake = noise(0), noise(1)
    assert bool((ALL[name](real, fake) > ALL[name](real, real)).all())


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    real, fake = noise(0, n=1), noise(1, n=1)

    def value(images: Tensor) -> Tensor:
        seen: Tensor = ALL[name](real, View(images, {"down3": images.flatten(1) * 2}))
        return seen.sum()

    real = View(real.images, {"down3": real.images.flatten(1) * 2})
    assert torch.autograd.gradcheck(value, fake.images.clone().requires_grad_())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(name: str, half: torch.dtype) -> None:
    """At 64x64x3 the summed squares of features pass float16's largest number, 65,504."""
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(2, 3, 64, 64, generator=generator).mul(2).sub(1).to(half) for _ in range(2))
    views = [View(x, {"down3": x * 40}) for x in (real, fake)]
    value = WeightedSimilarity(ALL[name], 1.0)(*views)
    exact = ALL[name](*(View(v.images.double(), {k: f.double() for k, f in v.features.items()}) for v in views))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_cross_entropy_stays_finite_where_tanh_saturates(edge: float) -> None:
    images = torch.full((1, 1, 2, 2), edge, requires_grad=True)
    value = Bce(SUM)(View(torch.full((1, 1, 2, 2), -edge)), View(images))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert images.grad is not None
    assert bool(images.grad.isfinite().all())
