"""Training batches: each image once an epoch, in an order and with flips that only seed and position decide."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from genbench.data.batches import Batches
from genbench.data.packed import PackedDataset
from genbench.images import to_float, to_uint8


def batches(count: int = 10, batch_size: int = 4, seed: int = 0, flip: bool = False) -> Batches:
    """Images whose every pixel is the image's own number, but for the first column, which is 255."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 4, 4).clone()
    images[..., 0] = 255
    attributes = (torch.arange(count) % 2).float()[:, None]
    return Batches(images, attributes, batch_size, seed, flip)


def drawn(source: Batches, images_seen: int) -> list[int]:
    """Return the numbers of the images of a batch; the third column is never mirrored onto the first."""
    return [int(n) for n in to_uint8(source.draw(images_seen).images)[:, 0, 0, 2]]


def stream(source: Batches, steps: int) -> list[int]:
    return [n for i in range(steps) for n in drawn(source, i * source.batch_size)]


def test_every_epoch_is_a_permutation_and_they_lie_end_to_end() -> None:
    order = stream(batches(count=10, batch_size=4), 15)
    epochs = [order[start : start + 10] for start in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert all(a != b for a, b in pairwise(epochs)), "every epoch has an order of its own"


@pytest.mark.parametrize("batch_size", [2, 3, 7, 10])
def test_the_batch_size_does_not_change_the_order(batch_size: int) -> None:
    source = batches(batch_size=batch_size)
    assert stream(source, -(-50 // batch_size))[:50] == stream(batches(batch_size=5), 10)


def test_a_data_set_smaller_than_a_batch_is_repeated() -> None:
    source = batches(count=3, batch_size=8)
    order = stream(source, 6)
    assert len(order) == 48
    assert all(sorted(order[start : start + 3]) == [0, 1, 2] for start in range(0, 48, 3))
    assert stream(batches(count=1, batch_size=2), 2) == [0, 0, 0, 0]


def test_a_batch_depends_on_its_position_alone() -> None:
    one, other = batches(flip=True), batches(flip=True)
    forwards = [one.draw(4 * i).images for i in range(9)]
    torch.rand(3)
    backwards = [other.draw(4 * i).images for i in reversed(range(9))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_drawing_leaves_torchs_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    batches(flip=True).draw(12)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_is_another_order() -> None:
    assert stream(batches(seed=0), 5) != stream(batches(seed=1), 5)


def test_flips_are_about_half_and_follow_the_seed_only() -> None:
    def flipped(source: Batches) -> list[bool]:
        """Return which images of an epoch are mirrored: their 255 stands on the right."""
        return [bool(x[0, 0, -1] == 1) for i in range(0, 250, 50) for x in source.draw(i).images]

    first = flipped(batches(250, 50, flip=True))
    assert 95 <= sum(first) <= 155  # 125 +- 30 is nearly four standard deviations
    assert flipped(batches(250, 50, flip=True)) == first
    assert first[:50] != first[50:100], "every batch has flips of its own"
    assert flipped(batches(250, 50, seed=1, flip=True)) != first
    assert not any(flipped(batches(250, 50, flip=False)))
    assert stream(batches(250, 50, flip=True), 5) == stream(batches(250, 50, flip=False), 5)


def test_an_image_is_mirrored_whole_and_not_turned() -> None:
    images = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4)
    source = Batches(images, None, 64, 0, flip=True)
    plain, mirrored = to_float(images)[0], to_float(images)[0].flip(2)
    seen = {torch.equal(x, plain) for x in source.draw(0).images if torch.equal(x, plain) or torch.equal(x, mirrored)}
    assert seen == {True, False}
    assert all(torch.equal(x, plain) or torch.equal(x, mirrored) for x in source.draw(0).images)


def test_attributes_stay_with_their_images() -> None:
    batch = batches(flip=True).draw(8)
    assert batch.attributes is not None
    assert batch.attributes[:, 0].tolist() == [n % 2 for n in drawn(batches(), 8)]
    assert batch.images_seen == 8


def test_only_the_training_split_is_drawn() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), dtype=np.uint8)
    splits = np.array([0, 1, 0, 2, 0, 0], dtype=np.uint8)
    attributes = np.eye(6, dtype=np.uint8)
    data = PackedDataset("d", 4, 1, "f", images, splits, attributes, tuple("abcdef"))
    source = Batches.of(data, 4, 0, False, torch.device("cpu"))
    batch = source.draw(0)
    assert sorted(stream(source, 1)) == [0, 2, 4, 5]
    assert batch.images.shape == (4, 1, 4, 4)
    assert batch.attributes is not None
    assert batch.attributes.dtype == torch.float32
    assert batch.attributes.argmax(1).tolist() == drawn(source, 0)


def test_a_data_set_without_attributes_gives_none() -> None:
    data = PackedDataset("d", 4, 1, "f", np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.uint8))
    assert Batches.of(data, 2, 0, False, torch.device("cpu")).draw(0).attributes is None


def test_every_level_survives_the_way_to_floats_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(levels)
    assert torch.equal(to_uint8(floats), levels)
    assert (float(floats.min()), float(floats.max())) == (-1, 1)
    torch.testing.assert_close(floats, -floats.flip(0))


def test_quantising_rounds_to_nearest_and_clamps() -> None:
    step = 2 / 255
    values = torch.tensor([-1.5, -1 + 0.4 * step, -1 + 0.6 * step, 1 - 0.6 * step, 1.5])
    assert to_uint8(values).tolist() == [0, 0, 1, 254, 255]
