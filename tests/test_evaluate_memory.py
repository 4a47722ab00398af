"""What evaluating keeps in memory, counted: the bytes of all tensors that are alive, at every operation."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import CPU, Untrained, config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genbench.data.packed import PackedDataset
from genbench.evaluate import generation, measuring
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.keeping import Kept
from genbench.evaluate.subjects import Real, Reconstructed, Sampled, Subject
from genbench.interfaces import Batch, Model, Posterior

SIZE, LATENT, BATCH = 8, 64, 32
FEW, MANY = 2100, 6300
"""Both more than two of the blocks of noise and of features that are in memory for any number."""


class Pixels(Untrained):
    """Decodes a latent to the image that has its values, and encodes it back; counts the images it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded = self.encoded = 0

    def encode(self, batch: Batch) -> Posterior:
        self.encoded += len(batch.images)
        return Posterior(batch.images.flatten(1), batch.images.flatten(1))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        self.decoded += len(latents)
        return latents.unflatten(1, (1, SIZE, SIZE)) / 4


class Corners:
    """An extractor of sixteen pixels of each image."""

    size, weights_hash = 16, "none"

    def __init__(self, name: str = "corners", **facts: str) -> None:
        self.name, self.facts = name, facts

    def __call__(self, images: Tensor) -> Tensor:
        return images[:, 0, :4, :4].flatten(1).float()


class LiveBytes(TorchDispatchMode):
    """The most bytes that the tensors made by torch's operations have held together."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._made: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._made += [weakref.ref(leaf) for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        alive = [tensor for tensor in (ref() for ref in self._made) if tensor is not None]
        self._made = [weakref.ref(tensor) for tensor in alive]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
        self.peak = max(self.peak, sum(storages.values()))
        return made


def peak_bytes(work: Callable[[], object]) -> int:
    with LiveBytes() as live:
        result = work()
    del result
    return live.peak


Build = Callable[..., EvaluationContext]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(model: Model | None = None, count: int = FEW) -> EvaluationContext:
        images = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)
        data = PackedDataset("noise", SIZE, 1, str(count), images, np.full(count, 2, np.uint8))
        return EvaluationContext(model or Pixels(), data, config(0, SIZE, LATENT), CPU, tmp_path, BATCH)

    return build


@pytest.mark.parametrize("kind", [Sampled, Real, Reconstructed])
def test_moments_take_the_same_memory_for_any_number_of_images(
    build: Build, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Any], Subject]
) -> None:
    monkeypatch.setattr(measuring, "FEATURE_BYTES", 1000)

    def peak(count: int) -> int:
        context = build(count=count)
        return peak_bytes(lambda: context.moments(Corners(), kind(count if kind is Sampled else "test")))

    few, many = peak(FEW), peak(MANY)
    assert few > BATCH * SIZE**2, "nothing was counted"
    assert many <= few + SIZE**2


def test_the_count_sees_what_is_kept(build: Build) -> None:
    few, many = (peak_bytes(lambda n=count: list(build().samples(n))) for count in (FEW, MANY))
    assert many - few > (MANY - FEW) * SIZE**2


def test_what_an_evaluator_asks_for_is_kept_within_a_limit(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(count: int) -> None:
        for _ in context.samples(count):
            pass

    monkeypatch.setattr(generation, "KEPT_BYTES", 10 * BATCH * SIZE**2)
    peaks = []
    for count in (FEW, MANY):
        context = build()
        peaks.append(peak_bytes(lambda count=count: exhaust(count)))
    assert peaks[0] > 10 * BATCH * SIZE**2
    assert peaks[1] == peaks[0]


def test_samples_that_an_evaluator_asked_for_serve_every_extractor(build: Build) -> None:
    model = Pixels()
    context = build(model)
    expected = torch.cat(list(context.samples(FEW)))
    decoded = model.decoded
    for extractor in (Corners("one"), Corners("other")):
        found = context.moments(extractor, Sampled(FEW))
        torch.testing.assert_close(found.mean, Corners()(expected).double().mean(0))
    assert model.decoded == decoded


def test_latents_that_an_evaluator_asked_for_serve_reconstructions(build: Build) -> None:
    model = Pixels()
    context = build(model)
    before = [fake for _, fake in context.reconstructions("test")]
    context.latents("test")
    assert model.encoded == 2 * FEW
    after = [fake for _, fake in context.reconstructions("test")]
    assert model.encoded == 2 * FEW
    assert torch.equal(torch.cat(before), torch.cat(after))


def test_a_few_samples_cost_no_more_than_a_batch(build: Build) -> None:
    model = Pixels()
    assert sum(len(images) for images in build(model).samples(5)) == 5
    assert model.decoded == BATCH


def test_extractors_that_differ_in_their_facts_alone_are_two(build: Build) -> None:
    class Brighter(Corners):
        def __call__(self, images: Tensor) -> Tensor:
            return super().__call__(images) + 1

    context, subject = build(), Sampled(FEW)
    plain, brighter = (context.moments(e, subject) for e in (Corners(add="0"), Brighter(add="1")))
    torch.testing.assert_close(brighter.mean, plain.mean + 1)


@pytest.mark.parametrize("subject", [Sampled(40), Real("test")])
def test_who_writes_to_images_spoils_them_for_nobody(build: Build, subject: Subject) -> None:
    context = build()

    def images() -> Tensor:
        return torch.cat(list(context.samples(40) if isinstance(subject, Sampled) else context.real("test")))

    before = images()
    for _ in range(2):
        for batch in context.samples(40) if isinstance(subject, Sampled) else context.real("test"):
            batch.zero_()
    assert torch.equal(images(), before)


def test_what_does_not_fit_is_computed_each_time() -> None:
    kept, computed = Kept(100), []

    def compute(key: str, size: int) -> Tensor:
        computed.append(key)
        return torch.zeros(size, dtype=torch.uint8)

    for _ in range(2):
        for key, size in (("a", 60), ("b", 50), ("c", 40)):
            kept.get(key, lambda key=key, size=size: compute(key, size))  # type: ignore[misc]
    assert computed == ["a", "b", "c", "b"]
    kept.get("d", lambda: compute("d", 0), keep=False)
    kept.get("d", lambda: compute("d", 0), keep=False)
    assert computed[4:] == ["d", "d"]
