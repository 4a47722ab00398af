"""Training batches: each image once an epoch, in an order and with flips that only seed and position decide."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch

from genbench.config import Component, DataConfig, EvaluationConfig, NetworkConfig, RunConfig, TrainingConfig
from genbench.data.batches import Batches, Resident, Streamed, load_batches
from genbench.data.fetching import Fetcher, Staged
from genbench.data.order import Order
from genbench.data.packed import PackedDataset
from genbench.images import to_float, to_uint8
from genbench.train.sharing import Share


@pytest.fixture(params=["resident", "streamed", "fetched"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def batches(count: int = 10, batch_size: int = 4, seed: int = 0, flip: bool = False, kind: str = "resident") -> Batches:
    """Images whose every pixel is the image's own number, but for the first column, which is 255."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    images[:, :, 0] = 255
    return source(images, (np.arange(count) % 2).astype(np.uint8)[:, None], Order(count, seed, flip), batch_size, kind)


def source(
    images: npt.NDArray[np.uint8],
    attributes: npt.NDArray[np.uint8] | None,
    order: Order,
    batch_size: int,
    kind: str = "resident",
    share: Share | None = None,
) -> Batches:
    share = share or Share()
    if kind == "resident":
        flags = None if attributes is None else torch.from_numpy(attributes)
        return Resident(order, batch_size, share, torch.from_numpy(images), flags)
    train = np.arange(len(images))
    if kind == "streamed":
        return Streamed(order, batch_size, share, images, attributes, train, torch.device("cpu"))
    return Ahead(order, batch_size, share, images, attributes, train, torch.device("cpu"))


class Ahead(Streamed):
    """Streams as for a GPU, but to the CPU."""

    def stage(self, images_seen: int) -> Staged:
        return self._fetch(images_seen)


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
    images = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    drawn_images = source(images, None, Order(1, 0, True), 64).draw(0).images
    plain = to_float(torch.from_numpy(images).permute(0, 3, 1, 2))[0]
    mirrored = plain.flip(2)
    assert {torch.equal(x, plain) for x in drawn_images} == {True, False}
    assert all(torch.equal(x, plain) or torch.equal(x, mirrored) for x in drawn_images)


def test_attributes_stay_with_their_images(kind: str) -> None:
    batch = batches(flip=True, kind=kind).draw(8)
    assert batch.attributes is not None
    assert batch.attributes[:, 0].tolist() == [n % 2 for n in drawn(batches(), 8)]
    assert batch.images_seen == 8


def test_only_the_training_split_is_drawn() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), dtype=np.uint8)
    splits = np.array([0, 1, 0, 2, 0, 0], dtype=np.uint8)
    attributes = np.eye(6, dtype=np.uint8)
    data = PackedDataset("d", 4, 1, "f", images, splits, attributes, tuple("abcdef"))
    loaded = load_batches(data, configure(4), torch.device("cpu"), Share())
    batch = loaded.draw(0)
    assert sorted(stream(loaded, 1)) == [0, 2, 4, 5]
    assert batch.images.shape == (4, 1, 4, 4)
    assert batch.attributes is not None
    assert batch.attributes.dtype == torch.float32
    assert batch.attributes.argmax(1).tolist() == drawn(loaded, 0)


def test_a_data_set_without_attributes_gives_none() -> None:
    data = PackedDataset("d", 4, 1, "f", np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.uint8))
    assert load_batches(data, configure(2), torch.device("cpu"), Share()).draw(0).attributes is None


def configure(batch_size: int) -> RunConfig:
    return RunConfig(
        model=Component(name="m"),
        similarity=None,
        dataset=DataConfig(name="d", size=16),
        network=NetworkConfig(),
        training=TrainingConfig(images=1, batch_size=batch_size),
        evaluation=EvaluationConfig(),
    )


@pytest.mark.parametrize("other", ["streamed", "fetched"])
@pytest.mark.parametrize("count", [3, 10, 64])
def test_wherever_the_images_lie_the_batches_are_the_same(other: str, count: int) -> None:
    one, two = batches(count, 8, flip=True), batches(count, 8, flip=True, kind=other)
    for images_seen in (0, 8, 16, 40, 8, 0, 200, 208):  # fetched ahead or not, forwards and backwards
        first, second = one.draw(images_seen), two.draw(images_seen)
        assert torch.equal(first.images, second.images)
        assert first.images.is_contiguous(memory_format=torch.channels_last)
        assert first.attributes is not None
        assert second.attributes is not None
        assert torch.equal(first.attributes, second.attributes)


def test_processes_that_share_a_batch_have_all_of_it_in_order(kind: str) -> None:
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    order = Order(10, 0, True)
    whole = source(images, None, order, 8, kind).draw(8).images
    parts = [source(images, None, order, 8, kind, Share(rank, 4)).draw(8).images for rank in range(4)]
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    assert torch.equal(torch.cat(parts), whole)


def test_a_fetcher_brings_what_follows_and_forgets_what_is_not_wanted() -> None:
    gathered: list[int] = []

    def gather(position: int) -> Staged:
        gathered.append(position)
        return (torch.tensor(position),)

    fetcher = Fetcher(gather, torch.device("cpu"))
    assert [int(fetcher.fetch(n, [n + 1, n + 2])[0]) for n in (0, 1, 2, 10)] == [0, 1, 2, 10]
    fetcher.pool.shutdown()
    assert set(gathered) >= {0, 1, 2, 3, 4, 10}
    assert len(gathered) == len(set(gathered)), "nothing is brought twice"
    assert set(fetcher.coming) == {11, 12}


def test_an_error_while_fetching_reaches_who_asks() -> None:
    def gather(position: int) -> Staged:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Fetcher(gather, torch.device("cpu")).fetch(0, [])


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
