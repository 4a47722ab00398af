"""What evaluators are handed, and how they are run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genbench
from genbench.config import Component, RunConfig
from genbench.data.packed import PackedDataset
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import context as context_module
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.moments import measure
from genbench.interfaces import Batch, Evaluator, Losses, Model, Posterior
from genbench.plugins import Plugins
from genbench.records import Score

CPU = torch.device("cpu")
SIZE, LATENT = 4, 16


class Plain(Model):
    """Decodes a latent to the image that has its values, and encodes it back."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.norm = nn.BatchNorm1d(LATENT, affine=False)

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def encode(self, batch: Batch) -> Posterior:
        mean = batch.images.flatten(1)
        return Posterior(mean, torch.full_like(mean, 5.0))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return self.norm(latents).unflatten(1, (1, SIZE, SIZE))


class Generator(Plain):
    def encode(self, batch: Batch) -> Posterior:
        raise NotApplicable("no encoder")


class Diverged(Plain):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) * float("nan")


class Noisy(Plain):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) + torch.randn(len(latents), 1, SIZE, SIZE)


def dataset(count: int = 40) -> PackedDataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, SIZE, SIZE, 1), dtype=np.uint8)
    splits = (np.arange(count) % 4 % 3).astype(np.uint8)
    attributes = generator.integers(0, 2, (count, 2), dtype=np.uint8)
    return PackedDataset("noise", SIZE, 1, "f" * 64, images, splits, attributes, ("a", "b"), (), ())


def config(seed: int = 0) -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"name": "plain"},
            "similarity": None,
            "dataset": {"name": "noise", "size": SIZE},
            "network": {"latent_size": LATENT},
            "training": {"images": 1},
            "evaluation": {"samples": 30},
            "seed": seed,
        }
    )


Build = Callable[..., EvaluationContext]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(
        model: Model | None = None, seed: int = 0, batch_size: int = 7, data: PackedDataset | None = None
    ) -> EvaluationContext:
        return EvaluationContext(model or Plain(), data or dataset(), config(seed), CPU, tmp_path, batch_size)

    return build


def test_real_images_are_the_splits_in_order(build: Build) -> None:
    data = dataset()
    batches = list(build().real("test"))
    assert [len(b) for b in batches] == [7, 3]
    found = torch.cat(batches)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1), data.images[data.indices("test")])
    np.testing.assert_array_equal(torch.cat(list(build().real("test", 5))), found[:5])


def test_labels_go_with_the_images(build: Build) -> None:
    data = dataset()
    np.testing.assert_array_equal(build().attributes("train"), data.attributes[data.indices("train")])  # type: ignore[index]
    with pytest.raises(NotApplicable, match="`noise` has no attributes"):
        build(data=replace(data, attributes=None)).attributes("train")


def test_an_empty_split_does_not_apply(build: Build) -> None:
    data = replace(dataset(), splits=np.zeros(40, np.uint8))
    with pytest.raises(NotApplicable, match="no images in its test split"):
        list(build(data=data).real("test"))


def test_samples_are_decoded_from_the_prior_and_belong_to_the_seed(build: Build) -> None:
    context = build()
    samples = torch.cat(list(context.samples(30)))
    decoded = (context.decode(context.prior(30)) + 1) * 127.5
    torch.testing.assert_close(samples.float(), decoded, atol=0.51, rtol=0)
    assert samples.dtype == torch.uint8
    assert torch.equal(samples, torch.cat(list(build(batch_size=30).samples(30))))
    assert not torch.equal(samples, torch.cat(list(build(seed=1).samples(30))))
    assert not torch.equal(context.prior(30), context.prior(30, "edits"))


def test_the_prior_is_normal(build: Build) -> None:
    latents = build().prior(5000)
    assert latents.shape == (5000, LATENT)
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02


def test_more_samples_begin_with_the_fewer(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "NOISE_BLOCK", 16)
    few, many = (torch.cat(list(build().samples(count))) for count in (10, 50))
    assert len(few) == 10
    assert torch.equal(few, many[:10])


@pytest.mark.parametrize("kept", [0, 10**9])
def test_samples_are_the_same_each_time(build: Build, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "KEPT_BYTES", kept)
    context = build(Noisy())
    assert torch.equal(torch.cat(list(context.samples(30))), torch.cat(list(context.samples(30))))


def test_reconstructions_come_from_the_posterior_mean(build: Build) -> None:
    # The posterior's variance is e^5, so a sample of it would be far off.
    for real, reconstruction in build().reconstructions("test"):
        torch.testing.assert_close(reconstruction, real, atol=1e-4, rtol=1e-4)


def test_noise_that_a_model_draws_is_the_seeds_and_not_the_callers(build: Build) -> None:
    torch.manual_seed(1)
    first = build(Noisy()).decode(torch.zeros(10, LATENT))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(build(Noisy()).decode(torch.zeros(10, LATENT)), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_is_in_eval_mode_and_keeps_its_state(build: Build) -> None:
    model = Plain()
    model.norm.running_mean.fill_(0.25)  # type: ignore[union-attr]
    context = build(model)
    decoded = context.decode(torch.zeros(10, LATENT))
    torch.testing.assert_close(decoded, torch.full_like(decoded, -0.25), atol=1e-4, rtol=1e-4)
    assert model.norm.running_mean.unique().item() == 0.25  # type: ignore[union-attr]
    assert not decoded.requires_grad


def test_decoded_images_are_clamped(build: Build) -> None:
    assert build().decode(torch.full((2, LATENT), 3.0)).max() == 1


@pytest.mark.parametrize("what", ["samples", "reconstructions"])
def test_images_that_are_not_finite_are_refused(build: Build, what: str) -> None:
    context = build(Diverged())
    with pytest.raises(GenbenchError, match="not finite"):
        list(context.samples(5) if what == "samples" else context.reconstructions("test"))


def test_images_of_another_shape_are_refused(build: Build) -> None:
    with pytest.raises(GenbenchError, match=r"decodes to \(2, 1, 4, 4\), expected \(2, 3, 4, 4\)"):
        build(data=replace(dataset(), channels=3)).decode(torch.zeros(2, LATENT))


def test_without_an_encoder_there_are_no_latents(build: Build) -> None:
    context = build(Generator())
    with pytest.raises(NotApplicable):
        context.latents("test")
    with pytest.raises(NotApplicable):
        list(context.reconstructions("test"))


class Pixels:
    """An extractor that counts how often it is called."""

    name, size, weights_hash = "pixels", LATENT, "none"

    def __init__(self) -> None:
        self.calls = 0
        self.facts = {"library": "none"}

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1).float()


@pytest.mark.parametrize("subject", [("real", "test"), ("samples", 30), ("reconstructions", "test")])
def test_moments_are_measured_once_whatever_the_batch(build: Build, subject: Any) -> None:
    extractor, context = Pixels(), build()
    found = context.moments(extractor, subject)
    calls = extractor.calls
    assert context.moments(extractor, subject) is found
    assert extractor.calls == calls
    other = build(batch_size=3).moments(Pixels(), subject)
    torch.testing.assert_close(found.covariance, other.covariance)
    images = {"real": context.real("test"), "samples": context.samples(30)}.get(subject[0])
    if images is not None:
        torch.testing.assert_close(found.mean, measure([extractor(torch.cat(list(images)))]).mean)


def test_moments_of_real_images_serve_the_next_run(build: Build) -> None:
    first, second, third = Pixels(), Pixels(), Pixels()
    found = build().moments(first, ("real", "test"))
    again = build().moments(second, ("real", "test"))
    assert second.calls == 0
    assert again.count == found.count
    assert torch.equal(again.covariance, found.covariance)
    build(data=replace(dataset(), fingerprint="other")).moments(third, ("real", "test"))
    assert third.calls == first.calls


def one(value: float = 1.0, name: str = "one", **more: Any) -> Score:
    return Score(name=name, value=value, direction="lower", protocol={"split": "test"}, **more)


class Good(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one()


class Random(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(torch.rand(()).item())


@dataclass(frozen=True)
class ValueSettings:
    value: Annotated[float, "what to yield"] = 2.0


class Set(Evaluator):
    def __init__(self, settings: ValueSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(self.settings.value)


class Broken(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(name="before")
        raise ZeroDivisionError("float division")


class Inapplicable(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise NotApplicable("needs wings", "grow some")


class Nan(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(float("nan"))


class HiddenNan(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one().model_copy(update={"details": {"part": float("inf")}})


class NoScore(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield 3  # type: ignore[misc]


class Exits(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise SystemExit(3)


class Sampling(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        images = torch.cat(list(context.samples(20)))
        yield one(images.float().mean().item())


EVALUATORS = (Good, Random, Set, Broken, Inapplicable, Nan, HiddenNan, NoScore, Exits, Sampling)


class Declaring:
    @genbench.hookimpl
    def genbench_evaluators(self) -> Iterator[genbench.EvaluatorSpec]:
        for cls in EVALUATORS:
            settings = "evaluators:ValueSettings" if cls is Set else None
            yield genbench.EvaluatorSpec(cls.__name__.lower(), "", f"evaluators:{cls.__name__}", settings, version=7)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    # pytest imports this file under a name that is no target's; resolve in its own namespace instead.
    monkeypatch.setattr(Plugins, "resolve", lambda self, target: globals()[target.partition(":")[2]])
    return Plugins.of(Declaring())


def run(context: EvaluationContext, plugins: Plugins, *names: str, **settings: Any) -> Evaluation:
    said: list[str] = []
    components = tuple(Component(name=name, settings=settings) for name in names)
    found = evaluate(context, plugins, components, said.append)
    assert len(said) >= len(names)
    return found


def test_protocols_are_completed(build: Build, plugins: Plugins) -> None:
    (score,) = run(build(), plugins, "good").scores
    assert score.protocol == {
        "split": "test",
        "evaluator": "good",
        "evaluator_version": 7,
        "dataset": "noise",
        "dataset_size": SIZE,
        "dataset_fingerprint": "f" * 64,
    }


def test_what_goes_wrong_costs_no_other_its_score(build: Build, plugins: Plugins) -> None:
    found = run(build(), plugins, "broken", "inapplicable", "nan", "hiddennan", "noscore", "exits", "missing", "good")
    assert [s.name for s in found.scores] == ["before", "one"]
    assert [(u.evaluator, u.reason) for u in found.skipped] == [("inapplicable", "needs wings")]
    reasons = {u.evaluator: u.reason for u in found.failures}
    assert set(reasons) == {"broken", "nan", "hiddennan", "noscore", "exits", "missing"}
    assert reasons["broken"] == "ZeroDivisionError: float division"
    assert reasons["nan"] == "score's value is not a finite number"
    assert reasons["hiddennan"] == "`one`: part is not a finite number"
    assert "yielded int, expected Score" in reasons["noscore"]
    assert "unknown evaluator `missing`" in reasons["missing"]


def test_a_diverged_models_images_fail_and_the_rest_is_kept(build: Build, plugins: Plugins) -> None:
    found = run(build(Diverged()), plugins, "sampling", "good")
    assert [u.evaluator for u in found.failures] == ["sampling"]
    assert "not finite" in found.failures[0].reason
    assert [s.name for s in found.scores] == ["one"]


def test_settings_reach_the_evaluator(build: Build, plugins: Plugins) -> None:
    assert run(build(), plugins, "set").scores[0].value == 2.0
    assert run(build(), plugins, "set", value=5.0).scores[0].value == 5.0
    assert "no setting `valu`" in run(build(), plugins, "set", valu=5.0).failures[0].reason


def test_scores_depend_on_neither_the_order_nor_the_callers_randomness(build: Build, plugins: Plugins) -> None:
    torch.manual_seed(1)
    forth = run(build(Noisy()), plugins, "random", "sampling").scores
    torch.manual_seed(2)
    back = run(build(Noisy()), plugins, "sampling", "random").scores
    assert {(s.protocol["evaluator"], s.value) for s in forth} == {(s.protocol["evaluator"], s.value) for s in back}
    assert run(build(seed=1), plugins, "random").scores[0].value != forth[0].value


def test_precision_is_full_meanwhile_and_as_before_afterwards(
    build: Build, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        Good, "evaluate", lambda self, context: seen.append(torch.get_float32_matmul_precision()) or [one()]
    )
    torch.set_float32_matmul_precision("high")
    try:
        run(build(), plugins, "good")
        assert seen == ["highest"]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
