"""Sensitivities against closed forms, what their statistics promise, and what they show on faces."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor

from genbench import sensitivity
from genbench.config import DataConfig
from genbench.data.packed import PackedDataset
from genbench.data.preparation import prepare
from genbench.distortions import BY_NAME
from genbench.errors import GenbenchError
from genbench.evaluate.judging import Judge
from genbench.images import to_float
from genbench.report.sensitivity import details, draw, in_words, overview
from genbench.sensitivity import (
    LEVELS,
    Costs,
    Measure,
    Sensitivity,
    applicable,
    choose,
    describe,
    equivalents,
    mean,
    measure,
    median,
)
from genbench.specs import DatasetSpec
from genbench_datasets.celeba import Celeba
from genbench_similarities.structural import Ssim

CPU = torch.device("cpu")


def squared(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (real - fake).square().flatten(1).sum(1)


def of(function: Callable[[Tensor], Tensor]) -> Measure:
    """Return a similarity that is a function of the squared error."""
    return lambda real, fake: function(squared(real, fake))


def pictures(count: int = 12, side: int = 16, channels: int = 3) -> Tensor:
    """Return uint8 images of few values far from both ends, so that no small distortion is cut off."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(90, 166, (count, channels, side // 4, side // 4), generator=generator)
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8)


def described(similarity: Measure, images: Tensor, name: str = "it") -> Sensitivity:
    return describe(name, {}, measure(similarity, images, applicable(images)[0], CPU))


def values(found: Sensitivity, distortion: str) -> list[float]:
    (curve,) = [curve for curve in found.curves if curve.distortion == distortion]
    return [point.median.value for point in curve.points]


def costs_of(images: Tensor, *distortions: str) -> Costs:
    return measure(squared, images, [BY_NAME[name] for name in distortions], CPU)


def test_noise_costs_as_much_as_itself() -> None:
    images = pictures()
    noise = costs_of(images).noise
    levels = np.array(LEVELS)[:, None]
    np.testing.assert_allclose(equivalents(noise, noise), levels.repeat(len(images), 1), rtol=1e-12)
    # Where nothing is cut off, squared error is a power law, so that it holds between the levels, too.
    between = to_float(images)
    worse = BY_NAME["noise"].apply(between, 0.0123)
    found = equivalents(squared(between, worse).double().numpy(), noise)
    np.testing.assert_allclose(found, 0.0123, rtol=1e-4)


def test_squared_error_of_noise_and_of_contrast_is_known() -> None:
    images = pictures()
    costs, real = costs_of(images, "contrast"), to_float(images)
    values = real[0].numel()
    level = LEVELS.index(0.05)
    np.testing.assert_allclose(costs.noise[level], 0.5 * values * (2 * 0.05) ** 2, rtol=1e-5)
    mean_luma = (real * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1).mean((1, 2))
    root_mean_square = (real - mean_luma[:, None, None, None]).square().flatten(1).mean(1).sqrt().numpy()
    lost = BY_NAME["contrast"].strengths[1]
    np.testing.assert_allclose(costs.distorted["contrast"][1], 0.5 * values * (lost * root_mean_square) ** 2, rtol=1e-4)
    # What a distortion and noise cost alike: half of the root mean square difference, the range being 2 wide.
    np.testing.assert_allclose(
        equivalents(costs.distorted["contrast"], costs.noise)[1], lost * root_mean_square / 2, rtol=1e-3
    )


def test_a_shifted_ramp_costs_as_much_as_noise_of_its_slope() -> None:
    ramp = (100 + 3 * torch.arange(16)).to(torch.uint8).expand(4, 1, 16, 16)
    found = costs_of(ramp, "shift")
    step = 3 / 255
    # The mirror image at the left side goes back by as much as the rest went forth.
    one = BY_NAME["shift"].strengths.index(1)
    np.testing.assert_allclose(equivalents(found.distorted["shift"], found.noise)[one], step, rtol=1e-3)


def test_an_increasing_function_of_a_similarity_has_its_curves() -> None:
    images = pictures()
    plain = described(squared, images)
    for function in (torch.sqrt, torch.log1p, lambda cost: 7 * cost + 3):
        other = described(of(function), images)
        for curve, alike in zip(plain.curves, other.curves, strict=True):
            for point, same in zip(curve.points, alike.points, strict=True):
                assert same.median.value == pytest.approx(point.median.value, rel=0.02), curve.distortion
        assert other.another.value == pytest.approx(plain.another.value, rel=0.02)


def test_the_size_of_a_batch_and_what_is_in_it_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(7)
    distortions = applicable(images)[0]
    together = measure(squared, images, distortions, CPU)
    monkeypatch.setattr(sensitivity, "AT_A_TIME", 3)
    parted = measure(squared, images, distortions, CPU)
    np.testing.assert_allclose(parted.noise, together.noise, rtol=1e-5)
    np.testing.assert_allclose(parted.another, together.another, rtol=1e-5)
    for name, costs in together.distorted.items():
        np.testing.assert_allclose(parted.distorted[name], costs, rtol=1e-4, atol=1e-6)


def test_each_image_is_held_against_the_next() -> None:
    images = pictures(5)
    real = to_float(images)
    expected = [float(squared(real[i : i + 1], real[(i + 1) % 5][None])) for i in range(5)]
    np.testing.assert_allclose(costs_of(images).another, expected, rtol=1e-6)


def test_costs_are_what_exceeds_that_of_an_image_to_itself() -> None:
    images = pictures(4)
    offset = torch.arange(4.0)

    def shifted(real: Tensor, fake: Tensor) -> Tensor:
        return squared(real, fake) + 100 * offset + 5

    np.testing.assert_allclose(measure(shifted, images, [], CPU).another, costs_of(images).another, rtol=1e-4)


def test_an_image_that_is_there_twice_makes_no_number_undefined() -> None:
    """The weakest noise costs it nothing, and neither does the other one."""
    images = pictures(8)
    images[1] = images[0]

    def tolerant(real: Tensor, fake: Tensor) -> Tensor:
        return ((real - fake).abs() - 0.02).relu().flatten(1).sum(1)

    noise = described(tolerant, images).noise.points
    assert noise[0].median.value == 0
    assert all(np.isfinite(point.median.value) for point in noise)


def test_the_least_noise_that_costs_as_much_is_within_the_levels() -> None:
    count = len(LEVELS)
    rising = np.arange(1.0, count + 1)[:, None] ** 2
    falling = rising.copy()
    falling[count // 2 :] = 0.5  # from its middle on, more noise costs less
    flat = np.zeros((count, 1))
    assert equivalents(np.array([0.0]), rising) == LEVELS[0]
    assert equivalents(np.array([-1.0]), rising) == LEVELS[0]
    assert equivalents(np.array([1e9]), rising) == LEVELS[-1]
    assert equivalents(np.array([9.0]), rising) == pytest.approx(LEVELS[2])
    assert equivalents(np.array([9.0]), falling) == pytest.approx(LEVELS[2])
    assert equivalents(rising[count - 1], falling) == LEVELS[-1]
    assert equivalents(np.array([1.0]), flat) == LEVELS[-1]
    between = float(equivalents(np.array([6.0]), rising)[0])
    assert LEVELS[1] < between < LEVELS[2]


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(6, 1, 6), (8, 1, 8), (10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)],  # Conover 1999, table A3
)
def test_the_interval_of_a_median_is_the_sign_tests(count: int, low: int, high: int) -> None:
    found = median(np.random.default_rng(0).permutation(np.arange(1.0, count + 1)))
    assert (found.low, found.high) == (low, high)
    assert found.value == (count + 1) / 2
    assert found.half_width == (high - low) / 2


def test_few_images_have_no_interval() -> None:
    found = median(np.array([3.0, 1.0, 2.0, 5.0, 4.0]))
    assert (found.value, found.low, found.high, found.half_width) == (3.0, None, None, None)
    endless = median(np.array([1.0, 2.0, 3.0, 4.0, np.inf, np.inf]))
    assert (endless.value, endless.low, endless.high) == (3.5, None, None)


def test_a_mean_has_its_standard_error() -> None:
    found = mean(np.array([1.0, 2.0, 3.0, 6.0]))
    assert (found.value, found.error) == pytest.approx((3.0, np.sqrt(14 / 3) / 2))


def packed(count: int) -> PackedDataset:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    return PackedDataset("numbered", 4, 1, "f" * 64, images, np.array([0] * (count - 5) + [2] * 5, np.uint8))


def test_images_are_drawn_once_each_from_their_split() -> None:
    data = packed(50)
    drawn = choose(data, "train", 20)
    assert drawn.shape == (20, 1, 4, 4)
    numbers = drawn[:, 0, 0, 0].tolist()
    assert len(set(numbers)) == 20
    assert max(numbers) < 45
    assert numbers != sorted(numbers)
    assert torch.equal(choose(data, "train", 10), drawn[:10]), "fewer are the first of more"
    assert sorted(choose(data, "test", 99)[:, 0, 0, 0].tolist()) == [45, 46, 47, 48, 49]
    with pytest.raises(GenbenchError, match="0 images in its validation split"):
        choose(data, "validation", 5)


def test_what_images_cannot_suffer_is_left_out() -> None:
    able, without = applicable(pictures(2, channels=1))
    assert "colour" not in [distortion.name for distortion in able]
    assert without == {"colour": "grey images have no colour to turn"}
    _, without = applicable(pictures(2, side=4))
    assert without == {"shift": "images of 4 px can't be moved by 4 px"}


@pytest.mark.parametrize(
    ("similarity", "complaint"),
    [
        (lambda real, fake: squared(real, fake).log(), "cost is -inf for an image and itself"),
        (lambda real, fake: squared(real, fake).mean(), r"has the shape \(\), expected \(12,\)"),
        (lambda real, fake: (real - fake).square().mean((2, 3)), r"has the shape \(12, 3\), expected \(12,\)"),
        (lambda real, fake: 0 * squared(real, fake), "`it` tells most images from no other"),
        (lambda real, fake: squared(real, fake) / (fake.amax((1, 2, 3)) < 0.99), "cost is inf for noise of"),
    ],
)
def test_a_cost_that_means_nothing_is_refused(similarity: Measure, complaint: str) -> None:
    with pytest.raises(GenbenchError, match=complaint) as caught:
        described(similarity, pictures())
    assert caught.value.exit_code == 1


def test_tables_say_what_was_measured_and_fit_a_terminal() -> None:
    images = pictures()
    found = [described(squared, images, "mse"), described(of(torch.sqrt), images, "laplacian-pyramid")]
    detailed, over = details(found), overview(found)
    assert max(map(len, [*detailed, *over])) <= 80
    lines = iter(detailed)
    while next(lines).split() != ["shift,", "px", "0.25", "0.5", "1", "2", "4"]:
        pass
    name, *cells = next(lines).replace(" ±", "±").split()
    assert name == "mse"
    shown = [float(cell.partition("±")[0]) for cell in cells]
    assert shown == pytest.approx([100 * value for value in values(found[0], "shift")], abs=0.5)
    (row,) = [line.split() for line in over if line.startswith("mse")]
    assert len(row) == 8
    assert float(row[2]) == pytest.approx(100 * values(found[0], "shift")[2], rel=0.05)
    said = " ".join(in_words(found))
    assert re.fullmatch(r"a shift of 1 px costs as much as noise of \S+ ±\S+ % under mse and of .*", said)


def test_what_lies_beyond_the_levels_is_said_to() -> None:
    rising = np.square(LEVELS)[:, None].repeat(8, 1)
    shifts = np.array([0.0, 1e-9, 1e-3, 0.9, 2.0])[:, None].repeat(8, 1)
    found = describe("it", {}, Costs(rising, {"shift": shifts}, np.full(8, 7.0)))
    lines = details([found])
    place = next(i for i, line in enumerate(lines) if line.startswith("shift"))
    cells = lines[place + 1].split()
    assert cells[1:3] == ["<0.2", "<0.2"]
    assert float(cells[3]) == pytest.approx(100 * np.sqrt(1e-3), rel=0.1)
    assert cells[-1] == ">100"
    assert lines[-6].split() == ["it", ">100"], "another image"


def test_the_figure_is_the_same_each_time_and_names_what_it_shows() -> None:
    images = pictures()
    found = [described(of(torch.sqrt), images, "_odd$name"), described(squared, images, "mse")]
    picture = draw(found, "drawn 16×16×3", "svg")
    assert picture == draw(found, "drawn 16×16×3", "svg")
    text = picture.decode()
    ElementTree.fromstring(text)
    for name in ("mse", "shift, px", "noise, % of the range", "colour, % of the circle", "drawn 16×16×3"):
        assert f"<!-- {name} -->" in text


def test_grey_images_have_a_figure_without_colour() -> None:
    text = draw([described(squared, pictures(channels=1), "mse")], "grey", "svg").decode()
    assert "<!-- jpeg, quality -->" in text
    assert "colour" not in text


def faces(shared: Path, cache: Path) -> PackedDataset:
    return prepare(
        DatasetSpec("celeba", "", "genbench_datasets.celeba:Celeba"),
        Celeba(),
        DataConfig(name="celeba", size=64),
        shared / "data",
        cache,
        lambda _done, _total: None,
    )


@pytest.mark.slow
def test_squared_error_punishes_a_shift_of_a_face_more_than_ssim_does(shared: Path, tmp_path: Path) -> None:
    images = choose(faces(shared, tmp_path), "test", 64)
    found = {}
    for name, similarity in (("mse", squared), ("ssim", Judge(Ssim()))):
        costs = measure(similarity, images, [BY_NAME["shift"]], CPU)
        found[name] = median(equivalents(costs.distorted["shift"], costs.noise)[2])
    assert found["mse"].low is not None
    assert found["ssim"].high is not None
    assert found["mse"].low > found["ssim"].high
