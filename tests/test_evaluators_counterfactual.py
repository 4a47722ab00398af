"""Edits against the true changed image: models whose edits are known score what they should."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import Blobs
from contexts import CPU, Untrained, config
from torch import Tensor, nn

import genbench_evaluators
from genbench.config import EvaluatorConfig
from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.interfaces import Batch, DataRequest, Dataset, ImageSet, Model, Posterior
from genbench.plugins import Plugins
from genbench.records import Score
from genbench_evaluators.counterfactual import MIN_ROOM, Part, image_errors, in_units, shortfall
from genbench_evaluators.uncertainty import resampled

SIZE, BASES, TEST = 4, 30, 80
NAMES = ("first", "second", "third")
STEP = 20
"""An attribute brightens its quarter of an image from 128 − 20 to 128 + 20, give or take what varies besides."""


class Quarters(Dataset):
    """Images of four flat quarters: each base is drawn with every combination of three attributes.

    An attribute's vector is then exactly its effect. `hidden` names an attribute that does not show beside the first.
    """

    def __init__(self, hidden: bool = False, mislabelled: tuple[int, ...] = (0, 1, 2), constant: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.hidden = hidden
        combinations = np.array(list(product((0, 1), repeat=3)), np.uint8)
        self.truth = np.tile(combinations, (BASES, 1))
        noise = rng.integers(-9, 10, (BASES, 4))
        noise[:, 3] = np.where(np.arange(BASES) % 2, 20, -20)
        self.noise = noise.repeat(8, 0)
        self.splits = np.where(np.arange(len(self.truth)) < TEST, 2, 0).astype(np.uint8)
        train = self.splits == 0
        self.labels = self.truth.copy()
        self.labels[train] = self.truth[train][:, mislabelled]
        if constant:
            self.labels[train, 2] = 1

    def draw(self, attributes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        levels = 128 + self.noise[rows]
        levels[:, :3] += STEP * (2 * attributes.astype(int) - 1)
        if self.hidden:
            levels[:, 2] = np.where(attributes[:, 0] == 1, 128 + self.noise[rows][:, 2], levels[:, 2])
        quarters = levels.astype(np.uint8).reshape(-1, 2, 2, 1)
        return quarters.repeat(SIZE // 2, 1).repeat(SIZE // 2, 2)

    def prepare(self, request: DataRequest | None = None) -> ImageSet:
        images = self.draw(self.truth, np.arange(len(self.truth)))
        return ImageSet(images, self.splits, self.labels, NAMES)

    def counterfactuals(self, indices: np.ndarray, attribute: str, size: int) -> np.ndarray:
        assert size == SIZE
        flipped = self.truth[indices]
        flipped[:, NAMES.index(attribute)] ^= 1
        return self.draw(flipped, indices)


class Exact(Untrained):
    """Knows how the images are made: z is the brightness of each quarter."""

    def encode(self, batch: Batch) -> Posterior:
        mean = nn.functional.avg_pool2d(batch.images, SIZE // 2).flatten(1)
        return Posterior(mean, torch.zeros_like(mean))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return nn.functional.interpolate(latents.unflatten(1, (1, 2, 2)), scale_factor=SIZE // 2)


class Deaf(Exact):
    """Reconstructs as well, but its code's sign depends on the base, so that vectors are nothing and edits too."""

    def encode(self, batch: Batch) -> Posterior:
        mean, _ = super().encode(batch)
        sign = mean[:, 3:].sign()
        return Posterior(torch.cat([mean[:, :3] * sign, mean[:, 3:]], 1), torch.zeros_like(mean))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(torch.cat([latents[:, :3] * latents[:, 3:].sign(), latents[:, 3:]], 1))


class Collapsed(Exact):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return torch.zeros(len(latents), 1, SIZE, SIZE)


class Dim(Exact):
    """Draws all at half the contrast."""

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents / 2)


class Careless(Exact):
    """Draws the sum of the first three latents, such that an edit of any moves the fourth quarter as far, once more."""

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        shift = latents[:, :3].sum(1, keepdim=True)
        return super().decode(torch.cat([latents[:, :3], latents[:, 3:] + shift], 1))


class Random(Exact):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.to_latent, self.to_image = nn.Linear(SIZE**2, 4), nn.Linear(4, SIZE**2)

    def encode(self, batch: Batch) -> Posterior:
        mean = self.to_latent(batch.images.flatten(1))
        return Posterior(mean, torch.zeros_like(mean))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return self.to_image(latents).tanh().unflatten(1, (1, SIZE, SIZE))


class Generator(Exact):
    def encode(self, batch: Batch) -> Posterior:
        raise NotApplicable("Generator has no encoder")


Build = Callable[..., EvaluationContext]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(model: Model, source: Dataset | None = None, batch_size: int = 64, seed: int = 0) -> EvaluationContext:
        source = source or Quarters()
        images = source.prepare(DataRequest(None, tmp_path, SIZE))
        packed = PackedDataset(
            "quarters", SIZE, 1, "f", images.images, images.splits, images.attributes, images.attribute_names
        )
        return EvaluationContext(model, packed, config(seed, SIZE, 4), CPU, tmp_path, batch_size, source=source)

    return build


def run(context: EvaluationContext, **settings: object) -> Evaluation:
    part = EvaluatorConfig(name="counterfactual", settings=settings)
    found = evaluate(context, Plugins.of(genbench_evaluators), (part,), lambda line: None)
    assert found is not None
    assert not found.failures
    return found


def scores(context: EvaluationContext, **settings: object) -> tuple[Score, Score]:
    found = run(context, **settings)
    assert [s.name for s in found.scores] == ["counterfactual", "counterfactual-region"]
    return found.scores[0], found.scores[1]


def test_a_decoder_that_draws_the_truth_has_no_error(build: Build) -> None:
    whole, region = scores(build(Exact()))
    for found in (whole, region):
        assert found.value == pytest.approx(0, abs=1e-9)
        assert found.direction == "lower"
        assert found.warnings == ()
        assert all(found.details[name] == pytest.approx(0, abs=1e-9) for name in NAMES)
    change = (2 * STEP / 255) ** 2 / 4  # of one quarter
    assert whole.details["original"] == pytest.approx(change, rel=1e-6)
    assert whole.details["unedited"] == pytest.approx(change, rel=1e-5)
    assert region.details["outside"] == pytest.approx(0, abs=1e-9)
    assert whole.protocol["images"] == TEST
    assert whole.protocol["vector_images"] == 8 * BASES - TEST
    assert whole.protocol["invisible_flips"] == 0
    assert whole.protocol["evaluator"] == "counterfactual"


@pytest.mark.parametrize(("strength", "expected"), [(0.5, 0.25), (1.5, 0.25), (2.0, 1.0), (3.0, 4.0)])
def test_too_short_or_too_far_an_edit_misses_by_the_square(build: Build, strength: float, expected: float) -> None:
    whole, region = scores(build(Exact()), strength=strength)
    assert whole.value == pytest.approx(expected, rel=1e-4)
    assert region.value == pytest.approx(expected, rel=1e-4)
    assert whole.protocol["strength"] == strength


def test_edits_that_change_nothing_score_one(build: Build) -> None:
    whole, region = scores(build(Deaf()))
    assert whole.value == pytest.approx(1, abs=1e-6)
    assert region.value == pytest.approx(1, abs=1e-5)
    assert whole.details["floor"] == pytest.approx(0, abs=1e-9)
    assert whole.warnings == ()


def test_edits_of_the_wrong_attribute_miss_the_change_and_add_one(build: Build) -> None:
    whole, region = scores(build(Exact(), Quarters(mislabelled=(1, 0, 2))))
    # What should move stays, 1, and another quarter moves as far, up or down alike: 1 more, outside of the region.
    assert whole.details["first"] == pytest.approx(2, rel=1e-4)
    assert whole.details["second"] == pytest.approx(2, rel=1e-4)
    assert whole.details["third"] == pytest.approx(0, abs=1e-6)
    assert whole.value == pytest.approx(4 / 3, rel=1e-4)
    assert region.details["first"] == pytest.approx(1, rel=1e-4)
    assert region.details["outside"] == pytest.approx(2 / 3, rel=1e-4)


def test_a_permuted_column_scores_as_no_edit(build: Build) -> None:
    source = Quarters()
    train = source.splits == 0
    source.labels[train, 1] = np.random.default_rng(1).permutation(source.labels[train, 1])
    whole, _ = scores(build(Exact(), source))
    assert 0.7 < whole.details["second"] < 1.6
    assert whole.details["first"] == pytest.approx(0, abs=1e-6)


def test_what_moves_outside_of_the_region_is_told_apart(build: Build) -> None:
    whole, region = scores(build(Careless()))
    assert region.value == pytest.approx(0, abs=1e-6)
    assert region.details["outside"] == pytest.approx(1, rel=1e-4)
    # The truth's own reconstruction has the same fault.
    assert whole.value == pytest.approx(0, abs=1e-4)


def test_a_model_that_draws_half_the_change_is_let_off_by_one_score_alone(build: Build) -> None:
    whole, region = scores(build(Dim()))
    assert whole.value == pytest.approx(0, abs=1e-5)
    # A quarter 20 brighter than grey is drawn 10 brighter, of a change of 40; what varies besides adds to it.
    assert 1 / 16 < region.value < 1.2 / 16
    assert region.value == pytest.approx(region.details["floor"], rel=1e-4)


def test_a_collapsed_model_scores_one_with_a_warning(build: Build) -> None:
    whole, region = scores(build(Collapsed()))
    assert whole.value == 1
    assert not set(NAMES) & set(whole.details)
    assert len(whole.warnings) == 1
    assert "less than 1% of the change" in whole.warnings[0]
    assert region.value == pytest.approx(region.details["unedited"])


def test_an_attribute_that_is_not_drawn_has_no_value_of_its_own(build: Build) -> None:
    class Partial(Exact):
        def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
            return super().decode(latents * torch.tensor([1.0, 0, 1, 1]))

    found = run(build(Partial()))
    whole, region = found.scores
    assert whole.value == pytest.approx(0, abs=1e-5)
    assert set(NAMES) & set(whole.details) == {"first", "third"}
    assert len(whole.warnings) == 1
    assert ", for second: these hardly count" in whole.warnings[0]
    assert region.details["second"] > 0.2
    assert [row[found.sheets[0].columns.index("counterfactual")] is None for row in found.sheets[0].rows] == [
        False,
        True,
        False,
    ]


def test_where_there_is_no_room_the_error_is_held_against_the_least() -> None:
    def errors(**parts: float) -> Tensor:
        return torch.tensor([parts.get(part.name.lower(), 0.0) for part in Part], dtype=torch.float64)

    assert shortfall(errors(original=1, unedited=5, floor=4, edited=4.25)).item() == pytest.approx(0.25)
    assert shortfall(errors(original=1, unedited=5, floor=4, edited=3.5)).item() == pytest.approx(-0.5)
    for floor in (5.0, 5 - MIN_ROOM / 2, 7.0):
        found = shortfall(errors(original=1, unedited=5, floor=floor, edited=5.5)).item()
        assert found == pytest.approx(1 + 0.5 / MIN_ROOM)
        assert shortfall(errors(original=1, unedited=5, floor=floor, edited=5)).item() == 1


def test_errors_are_numpys() -> None:
    rng = np.random.default_rng(0)
    images = [rng.uniform(-1, 1, (6, 3, 4, 4)) for _ in range(5)]
    original, truth = images[:2]
    truth[:, :, :2] = original[:, :, :2]  # only the lower half changes
    truth[5] = original[5]
    found = image_errors(*(torch.from_numpy(image) for image in images)).numpy()
    unit = [(image + 1) / 2 for image in images]

    def mse(a: np.ndarray, b: np.ndarray, rows: slice) -> np.ndarray:
        squares = np.zeros_like(a)
        squares[:, :, rows] = (a - b)[:, :, rows] ** 2
        return squares.mean((1, 2, 3)) * (np.arange(6) < 5)

    everything, low, up = slice(None), slice(2, None), slice(0, 2)
    for part, image in zip((Part.ORIGINAL, Part.UNEDITED, Part.FLOOR, Part.EDITED), (0, 2, 3, 4), strict=True):
        np.testing.assert_allclose(found[part], mse(unit[image], unit[1], everything), rtol=1e-12)
    for part, image in zip((Part.REGION_UNEDITED, Part.REGION_FLOOR, Part.REGION_EDITED), (2, 3, 4), strict=True):
        np.testing.assert_allclose(found[part], mse(unit[image], unit[1], low), rtol=1e-12)
    np.testing.assert_allclose(found[Part.OUTSIDE], mse(unit[4], unit[2], up), rtol=1e-12)


def test_flips_that_do_not_show_are_left_out(build: Build) -> None:
    half = TEST // 2  # have the first attribute, beside which the third does not show
    found = run(build(Dim(), Quarters(hidden=True)))
    assert [s.protocol["invisible_flips"] for s in found.scores] == [half, half]
    (sheet,) = found.sheets
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    assert [row["flips"] for row in rows] == [TEST, TEST, half]
    assert [row["invisible_flips"] for row in rows] == [0, 0, half]
    assert rows[2]["original_mse"] == pytest.approx((2 * STEP / 255) ** 2 / 4, rel=1e-6)


def test_the_sheet_has_all_numbers_of_each_attribute(build: Build) -> None:
    found = run(build(Exact(), Quarters(mislabelled=(1, 0, 2))))
    (sheet,) = found.sheets
    assert sheet.name == "counterfactual"
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    assert [row["attribute"] for row in rows] == list(NAMES)
    whole, region = found.scores
    for row in rows:
        assert row["counterfactual"] == whole.details[row["attribute"]]
        assert row["region_edited"] == region.details[row["attribute"]]
        value = (row["edited_mse"] - row["floor_mse"]) / (row["unedited_mse"] - row["floor_mse"])
        assert row["counterfactual"] == pytest.approx(value)
    mean = {part: np.mean([row[f"{part}_mse"] for row in rows]) for part in ("edited", "floor", "unedited", "original")}
    assert mean == {part: pytest.approx(whole.details[part]) for part in mean}


def test_attributes_without_a_vector_are_left_out_and_named(build: Build) -> None:
    whole, region = scores(build(Exact(), Quarters(constant=True)))
    assert whole.value == pytest.approx(0, abs=1e-6)
    assert set(NAMES) & set(whole.details) == {"first", "second"}
    assert whole.protocol["attributes"] == 2
    for found in (whole, region):
        assert len(found.warnings) == 1
        assert found.warnings[0].startswith("third left out: each of the 160")


def test_no_attribute_left_is_skipped(build: Build) -> None:
    source = Quarters()
    source.labels[source.splits == 0] = 0
    found = run(build(Exact(), source))
    assert found.scores == ()
    assert "no attribute can be edited: first left out" in found.skipped[0].reason


def test_batches_and_the_other_images_move_no_score(build: Build) -> None:
    few, many = (run(build(Random(), batch_size=size)) for size in (7, 64))
    for one, other in zip(few.scores, many.scores, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-6)
        assert one.uncertainty == pytest.approx(other.uncertainty, rel=1e-5)
        assert one.protocol == other.protocol
    assert few.scores[0].value != pytest.approx(0, abs=0.01)


def test_the_number_of_images_is_a_setting(build: Build) -> None:
    whole, _ = scores(build(Random()), images=16)
    everything, _ = scores(build(Random()), images=0)
    assert (whole.protocol["images"], everything.protocol["images"]) == (16, TEST)
    assert whole.value != everything.value
    one, region = scores(build(Random()), images=1)
    assert one.uncertainty is None
    assert region.uncertainty is None


def test_the_uncertainty_is_the_standard_error_over_images() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(1, len(Part), 400, generator=generator, dtype=torch.float64)
    errors[:, Part.ORIGINAL] = 1
    drawn = resampled(errors, 0)
    assert torch.equal(drawn, resampled(errors, 0))
    assert not torch.equal(drawn, resampled(errors, 1))
    edited = errors[0, Part.EDITED]
    found = in_units(drawn)[:, 0, Part.EDITED]
    assert found.mean().item() == pytest.approx(edited.mean().item(), rel=0.01)
    assert found.std().item() == pytest.approx(edited.std().item() / 20, rel=0.1)
    # Of a ratio, by the delta method.
    errors[0, Part.UNEDITED] = 3 + errors[0, Part.FLOOR] + 0.5 * edited
    top, bottom = edited - errors[0, Part.FLOOR], errors[0, Part.UNEDITED] - errors[0, Part.FLOOR]
    ratio = top.mean() / bottom.mean()
    expected = (top - ratio * bottom).std() / bottom.mean() / 20
    assert shortfall(resampled(errors, 0))[:, 0].std().item() == pytest.approx(expected.item(), rel=0.1)


def test_the_seed_moves_the_uncertainty_alone(build: Build) -> None:
    (first, _), (second, _) = (scores(build(Random(), seed=seed)) for seed in (0, 1))
    assert first.value == second.value
    assert first.uncertainty != second.uncertainty


@pytest.mark.parametrize(("model", "source", "reason"), [
    (Generator(), Quarters(), "Generator has no encoder"),
    (Exact(), Blobs(), "the data set has no counterfactuals"),
])  # fmt: skip
def test_what_has_no_truth_or_no_encoder_is_skipped(build: Build, model: Model, source: Dataset, reason: str) -> None:
    found = run(build(model, source))
    assert (found.scores, found.sheets) == ((), ())
    assert [u.reason for u in found.skipped] == [reason]
