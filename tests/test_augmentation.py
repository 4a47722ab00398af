"""Changed training images: each change by another way to it, and all of them drawn by seed and position alone."""

import colorsys
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from genbench.config import TrainingConfig
from genbench.data.augmentation import change, draw_changes
from genbench.data.batches import Batches, Resident, Streamed, order_of
from genbench.data.fetching import Staged
from genbench.data.order import Order
from genbench.images import to_float
from genbench.train.sharing import Share

NAMES = ("right", "down", "scale", "angle", "gamma", "contrast", "hue")
NOTHING = dict(zip(NAMES, (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0), strict=True))
SIDE = 16


def changed(images: Tensor, **values: float) -> Tensor:
    """Return images that are all changed alike."""
    row = torch.tensor([(NOTHING | values)[name] for name in NAMES])
    return change(images, row.repeat(len(images), 1))


def pictures(count: int = 4, channels: int = 3, side: int = SIDE) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def close(found: Tensor, expected: Tensor, atol: float = 2e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("side", [4, 16, 45, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_change_leaves_an_image_as_it_is(channels: int, side: int) -> None:
    images = pictures(2, channels, side)
    close(changed(images), images)


def test_a_translation_by_whole_pixels_is_a_shift_with_the_border_repeated() -> None:
    images = pictures()
    right, down = 3, -2
    across = torch.arange(SIDE).add(right).clamp(0, SIDE - 1)
    along = torch.arange(SIDE).add(down).clamp(0, SIDE - 1)
    close(changed(images, right=right / SIDE, down=down / SIDE), images[:, :, along][..., across])


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [16, 15])
def test_a_rotation_by_a_right_angle_is_a_turn_about_the_centre(side: int, quarters: int) -> None:
    images = pictures(side=side)
    close(changed(images, angle=quarters * math.pi / 2), images.rot90(quarters, (2, 3)), 1e-4)


def test_a_scale_reads_at_a_multiple_of_the_distance_from_the_centre() -> None:
    """A ramp has steps of 1/31; torch's cubic kernel (a = -0.75) bends it by a twentieth of a step."""
    ramp = torch.linspace(-0.5, 0.5, 32).repeat(1, 1, 32, 1)
    close(changed(ramp, scale=0.5), ramp / 2, 0.06 / 31)
    close(changed(ramp.mT, scale=1.5)[:, :, 8:-8], 1.5 * ramp.mT[:, :, 8:-8], 0.06 / 31)


def test_an_image_is_turned_before_it_is_moved() -> None:
    images = pictures()
    moved = changed(images, angle=math.pi / 2, right=2 / SIDE)
    close(moved[..., 3:-3, 3:-3], images.roll(-2, 3).rot90(1, (2, 3))[..., 3:-3, 3:-3], 1e-4)


def test_gamma_is_a_power_of_the_values_between_nothing_and_one() -> None:
    images = pictures()
    for gamma in (0.5, 1.07, 2.0):
        close(changed(images, gamma=gamma), 2 * ((images + 1) / 2) ** gamma - 1)


@pytest.mark.parametrize(
    ("contrast", "hue"), [(1.0, 0.01), (1.0, -0.3), (1.0, 0.9), (1.1, 0.0), (0.5, 0.0), (2.0, 0.2)]
)
def test_contrast_and_hue_are_those_of_the_standard_librarys_hsv(contrast: float, hue: float) -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3).mT.reshape(1, 3, 3, 9)
    colours = torch.cat([corners.flatten(2), (pictures(1) + 1).flatten(2) / 2], 2)  # greys, black and pure hues as well
    count = colours.shape[2]
    images = torch.nn.functional.pad(colours, (0, 17 * 17 - count)).reshape(1, 3, 17, 17)
    expected = []
    for red, green, blue in images[0].flatten(1).mT.tolist():
        h, s, v = colorsys.rgb_to_hsv(red, green, blue)
        expected.append(colorsys.hsv_to_rgb((h + hue) % 1.0, s**contrast, v**contrast))
    found = changed(2 * images - 1, contrast=contrast, hue=hue)
    close(found[0].flatten(1).mT, 2 * torch.tensor(expected) - 1, 1e-4)


def test_a_third_of_the_circle_exchanges_the_channels() -> None:
    images = pictures()
    close(changed(images, hue=1 / 3), images[:, [2, 0, 1]])
    close(changed(images, hue=-1 / 3), images[:, [1, 2, 0]])


def test_a_grey_image_is_changed_as_one_of_three_equal_channels() -> None:
    grey = pictures(channels=1)
    values = {"gamma": 1.1, "contrast": 0.8, "hue": 0.2, "angle": 0.02}
    close(changed(grey.expand(-1, 3, -1, -1), **values), changed(grey, **values).expand(-1, 3, -1, -1))
    close(changed(grey, contrast=0.8), 2 * ((grey + 1) / 2) ** 0.8 - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_in_range_and_each_image_has_its_own_change(channels: int) -> None:
    generator = np.random.default_rng(1)
    images = to_float(torch.from_numpy(generator.integers(0, 2, (64, channels, 16, 16)) * 255).to(torch.uint8))
    wild = torch.from_numpy(draw_changes(64, generator))
    wild[:, [0, 1, 3, 6]] *= 20
    found = change(images, wild)
    assert found.shape == images.shape
    assert bool(found.isfinite().all())
    assert -1 <= float(found.min()) < float(found.max()) <= 1
    for index in (0, 7, 63):
        close(change(images[index : index + 1], wild[index : index + 1]), found[index : index + 1])


def test_changes_have_the_strengths_of_the_papers_code() -> None:
    changes = draw_changes(200_000, np.random.default_rng(0)).astype(np.float64)
    logs = np.log(2) * np.log(changes[:, 4:6])
    normal = np.concatenate([changes[:, :4], logs, changes[:, 6:]], axis=1)
    means = (0, 0, 1, 0, 0.05**2, 0.05**2, 0)
    deviations = np.array([2 / 148, 2 / 148, 0.01, 0.01, 0.05, 0.05, 0.01])
    assert normal.mean(0) == pytest.approx(means, abs=5 * 0.05 / math.sqrt(200_000))
    assert normal.std(0) == pytest.approx(deviations, rel=0.01)
    assert np.abs(np.corrcoef(normal.T) - np.eye(7)).max() < 0.02
    assert np.abs(((normal - means) / deviations) ** 3).mean(0) == pytest.approx(np.full(7, 1.596), rel=0.03)  # normal


# Which image is changed how, and when.

ALL = TrainingConfig(images=1, batch_size=8, flip=True, augmentation="larsen2016")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
LABELS = (np.arange(20) % 2).astype(np.uint8)[:, None]


class Ahead(Streamed):
    """Streams as for a GPU, but to the CPU."""

    def stage(self, images_seen: int) -> Staged:
        return self._fetch(images_seen)


def batches(
    training: TrainingConfig = ALL,
    kind: str = "resident",
    share: Share | None = None,
    seed: int = 0,
    labelled: bool = True,
) -> Batches:
    order, size, whole = order_of(len(IMAGES), training, seed), training.batch_size, share or Share()
    labels = LABELS if labelled else None
    if kind == "resident":
        return Resident(
            order, size, whole, torch.from_numpy(IMAGES), None if labels is None else torch.from_numpy(labels)
        )
    cls = Streamed if kind == "streamed" else Ahead
    return cls(order, size, whole, IMAGES, labels, np.arange(len(IMAGES)), torch.device("cpu"))


def other(**values: object) -> TrainingConfig:
    return ALL.model_copy(update=values)


def stream(source: Batches, count: int) -> Tensor:
    return torch.cat([source.draw(first).images for first in range(0, count, source.batch_size)])[:count]


def test_an_image_is_changed_anew_in_every_epoch_and_only_a_little() -> None:
    training = other(flip=False)
    source = batches(training)
    order = order_of(len(IMAGES), training, 0)
    places = np.concatenate([order.epochs.get(number).places for number in range(2)])
    plain = to_float(torch.from_numpy(IMAGES[places]).permute(0, 3, 1, 2))
    found = stream(source, 40)
    versions = [found[np.flatnonzero(places == place)] for place in range(20)]
    assert all(not torch.equal(first, second) for first, second in versions)
    assert torch.equal(found, change(plain, torch.from_numpy(order.slice(0, 40).changes)))
    assert torch.equal(stream(batches(other(flip=False, augmentation="none")), 40), plain)


@pytest.mark.parametrize("batch_size", [2, 5, 20, 33])
def test_neither_batch_size_nor_the_way_there_matters(batch_size: int) -> None:
    whole = stream(batches(), 80)
    close(stream(batches(other(batch_size=batch_size)), 80), whole, 1e-6)
    later = batches()
    torch.rand(5)
    assert torch.equal(later.draw(48).images, whole[48:56])
    assert torch.equal(later.draw(16).images, whole[16:24])
    assert not torch.equal(stream(batches(seed=1), 80), whole)


def test_what_is_asked_for_changes_no_other_draw() -> None:
    plain, full = (order_of(20, training, 0).slice(0, 50) for training in (other(augmentation="none"), ALL))
    assert np.array_equal(plain.places, full.places)
    assert np.array_equal(plain.mirrored, full.mirrored)
    assert plain.changes is None
    assert full.changes is not None
    assert full.changes.shape == (50, 7)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("kind", ["streamed", "fetched"])
def test_wherever_the_images_lie_they_are_changed_alike(kind: str, labelled: bool) -> None:
    one, two = batches(labelled=labelled), batches(kind=kind, labelled=labelled)
    for images_seen in (0, 8, 16, 0, 200):
        first, second = one.draw(images_seen), two.draw(images_seen)
        assert torch.equal(first.images, second.images)
        assert first.images.is_contiguous(memory_format=torch.channels_last)
        assert (first.attributes is None, second.attributes is None) == (not labelled, not labelled)
        if first.attributes is not None and second.attributes is not None:
            assert torch.equal(first.attributes, second.attributes)


@pytest.mark.parametrize("kind", ["resident", "fetched"])
def test_processes_that_share_a_batch_change_it_as_one_would(kind: str) -> None:
    training = other(flip_whole_batches=True)
    for images_seen in (0, 16, 24):
        parts = [batches(training, kind, Share(rank, 4)).draw(images_seen).images for rank in range(4)]
        close(torch.cat(parts), batches(training, kind).draw(images_seen).images, 1e-6)


def test_whole_batches_are_mirrored_half_of_the_time_by_seed_and_position_alone() -> None:
    order = Order(30, 0, True, together=8)
    flips = order.slice(0, 8 * 1000).mirrored.reshape(1000, 8)
    assert (flips == flips[:, :1]).all()
    assert 430 <= flips[:, 0].sum() <= 570  # 500 ± 4.4 standard deviations
    assert not np.array_equal(flips[:500, 0], flips[500:, 0])
    again = Order(30, 0, True, together=8)
    assert [bool(again.slice(8 * n, 8).mirrored.all()) for n in (700, 3, 4, 2)] == flips[[700, 3, 4, 2], 0].tolist()
    assert not np.array_equal(Order(30, 1, True, together=8).slice(0, 8000).mirrored, flips.ravel())
    # An epoch that is a part of a batch, and one that is many.
    for size in (3, 1000):
        assert np.array_equal(Order(size, 0, True, together=8).slice(0, 8000).mirrored, flips.ravel())


def test_images_mirrored_one_by_one_are_those_that_always_were() -> None:
    """As every run drew them before images could be mirrored together or changed."""
    assert np.flatnonzero(Order(20, 7, True).slice(0, 20).mirrored).tolist() == [1, 2, 6, 10, 13, 14, 15, 16, 18, 19]
    assert Order(20, 7, True).slice(0, 6).places.tolist() == [4, 2, 19, 7, 1, 10]
