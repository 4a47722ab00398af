"""What evaluators are handed."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import CPU, LATENT, SIZE, Build, Diverged, Generator, Noisy, Plain, building, config, dataset
from torch import Tensor

from genbench.config import SamplingConfig
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import generation, measuring, samplers
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.moments import measure
from genbench.evaluate.samplers import FITTED_TO
from genbench.evaluate.subjects import Real, Reconstructed, Sampled, Subject
from genbench.interfaces import DataRequest, Dataset, ImageSet


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return building(tmp_path)


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
    monkeypatch.setattr(generation, "NOISE_BLOCK", 16)
    few, many = (torch.cat(list(build().samples(count))) for count in (10, 50))
    assert len(few) == 10
    assert torch.equal(few, many[:10])


@pytest.mark.parametrize("kept", [0, 10**9])
def test_samples_are_the_same_each_time(build: Build, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "KEPT_BYTES", kept)
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


@pytest.mark.parametrize("subject", [Real("test"), Sampled(30), Reconstructed("test")])
def test_moments_are_measured_once_whatever_the_batch(build: Build, subject: Subject) -> None:
    extractor, context = Pixels(), build()
    found = context.moments(extractor, subject)
    calls = extractor.calls
    assert context.moments(extractor, subject) is found
    assert extractor.calls == calls
    other = build(batch_size=3).moments(Pixels(), subject)
    torch.testing.assert_close(found.covariance, other.covariance)
    if not isinstance(subject, Reconstructed):
        images = context.samples(30) if isinstance(subject, Sampled) else context.real("test")
        torch.testing.assert_close(found.mean, measure([extractor(torch.cat(list(images)))]).mean)


def test_moments_of_real_images_serve_the_next_run(build: Build) -> None:
    first, second, third = Pixels(), Pixels(), Pixels()
    found = build().moments(first, Real("test"))
    again = build().moments(second, Real("test"))
    assert second.calls == 0
    assert again.count == found.count
    assert torch.equal(again.covariance, found.covariance)
    build(data=replace(dataset(), fingerprint="other")).moments(third, Real("test"))
    assert third.calls == first.calls


@pytest.mark.parametrize("subject", [Real("test"), Sampled(30), Reconstructed("test")])
@pytest.mark.parametrize("room", [0, 100, 2**20])
def test_features_are_those_of_the_moments(
    build: Build, monkeypatch: pytest.MonkeyPatch, subject: Subject, room: int
) -> None:
    monkeypatch.setattr(measuring, "FEATURE_BYTES", room)
    context = build()
    for limit in (4, None, 8, 2):
        few = context.features(Pixels(), subject, limit)
        assert few.dtype == torch.float32
        found = context.moments(Pixels(), subject)
        everything = context.features(Pixels(), subject)
        torch.testing.assert_close(measure([everything]).covariance, found.covariance)
        assert len(everything) == found.count
        assert torch.equal(few, everything[:limit])


def test_features_that_moments_are_made_of_are_computed_once(build: Build) -> None:
    extractor, context = Pixels(), build()
    context.moments(extractor, Sampled(30))
    calls = extractor.calls
    context.features(extractor, Sampled(30), 20)
    context.features(extractor, Sampled(30))
    assert extractor.calls == calls


def test_features_of_real_images_serve_the_next_run_and_a_spoiled_file_is_replaced(
    build: Build, tmp_path: Path
) -> None:
    first, second = Pixels(), Pixels()
    found = build().features(first, Real("test"), 8)
    assert torch.equal(build().features(second, Real("test"), 8), found)
    assert second.calls == 0
    for file in (tmp_path / "features").glob("*.safetensors"):
        file.write_bytes(b"spoiled")
    assert torch.equal(build().features(second, Real("test"), 8), found)
    assert second.calls > 0


def test_samples_of_another_sampler_are_other_samples(build: Build) -> None:
    data = dataset(400)
    context = build(data=data)
    prior = torch.cat(list(context.samples(30)))
    with context.given(SamplingConfig(sampler="gmm", gmm_components=2)):
        fitted, latents = torch.cat(list(context.samples(30))), context.sample_latents(2000)
        assert context.facts(context.sampled(30)) == {
            "generated": "samples",
            "generated_images": 30,
            "sampler": "gmm",
            "gmm_components": 2,
            "gmm_fitted_to": FITTED_TO,
            "gmm_library": f"scikit-learn {version('scikit-learn')}",
        }
    assert context.sampling.sampler == "prior"
    assert not torch.equal(prior, fitted)
    assert torch.equal(torch.cat(list(context.samples(30))), prior)
    posterior = context.posteriors("train")
    spread = (posterior.mean.var(0) + posterior.log_variance.exp().mean(0)).sqrt()  # of z, not of its mean
    torch.testing.assert_close(latents.std(0), spread, rtol=0.25, atol=0.0)


def test_a_mixture_that_did_not_converge_is_told(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = Sampled(30, "gmm", 2)
    data = dataset(400)
    assert build(data=data).warnings(sampled) == build(data=data).warnings(Sampled(30)) == ()
    monkeypatch.setattr(samplers, "MAX_ITERATIONS", 1)
    assert ["did not converge" in text for text in build(data=data).warnings(sampled)] == [True]


def test_posteriors_are_the_encoders(build: Build) -> None:
    context = build()
    posterior = context.posteriors("test")
    assert torch.equal(posterior.mean, context.latents("test"))
    assert posterior.log_variance.shape == posterior.mean.shape


def test_counterfactuals_are_the_data_sets(build: Build, tmp_path: Path) -> None:
    class Inverting(Dataset):
        def prepare(self, request: DataRequest) -> ImageSet:
            raise NotImplementedError

        def counterfactuals(self, indices: Any, attribute: str, size: int) -> Any:
            assert (attribute, size) == ("a", SIZE)
            return 255 - data.images[indices]

    data = dataset()
    context = EvaluationContext(Plain(), data, config(), CPU, tmp_path, source=Inverting())
    expected = 255 - torch.cat(list(context.real("test")))
    assert torch.equal(context.counterfactuals("test", "a"), expected)
    assert torch.equal(context.counterfactuals("test", "a", 3), expected[:3])
    with pytest.raises(NotApplicable, match="`noise` has no counterfactuals"):
        build().counterfactuals("test", "a")


def test_a_mixture_for_a_model_without_an_encoder_is_what_does_not_apply(build: Build) -> None:
    context = build(Generator())
    expected = r"the sampler `gmm` is fitted to encoded training images: .*no encoder"
    with context.given(SamplingConfig(sampler="gmm")), pytest.raises(NotApplicable, match=expected):
        list(context.samples(4))
