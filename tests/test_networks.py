"""The reference networks: the paper's parameter counts, shapes for many sizes, weights that the seed alone decides."""

import math

import pytest
import torch
from torch import nn

from genbench import GenbenchError
from genbench.config import NetworkConfig
from genbench.interfaces import Posterior
from genbench.networks import Blueprint, seeded
from genbench_similarities.elementwise import DisL, Mse
from genbench_similarities.settings import DisLSettings, ElementwiseSettings
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeGanSettings

SMALL = NetworkConfig(width=0.05, latent_size=4, encoder_hidden=64)
SMALL_MLP = SMALL.model_copy(update={"kind": "mlp"})


def blueprint(size: int = 16, channels: int = 3, network: NetworkConfig = SMALL, seed: int = 0) -> Blueprint:
    return Blueprint(channels, size, network, images=1000, seed=seed)


def paper(encoder_hidden: int = 2048) -> Blueprint:
    return blueprint(64, network=NetworkConfig(width=1.0, latent_size=128, encoder_hidden=encoder_hidden))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def images(size: int = 16, channels: int = 3) -> torch.Tensor:
    return torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, others = a.state_dict(), b.state_dict()
    return ours.keys() == others.keys() and all(torch.equal(ours[k], others[k]) for k in ours)


def test_the_papers_networks_have_the_papers_parameters() -> None:
    """Table 1 at 64x64x3, by hand: no bias before a batch-norm, which has two parameters a channel."""
    with torch.device("meta"):
        encoder, decoder, discriminator = paper().encoder(), paper().decoder(), paper().discriminator()
        narrow = paper(encoder_hidden=1024).encoder()
    convolutions = 25 * (3 * 64 + 64 * 128 + 128 * 256) + 2 * (64 + 128 + 256)
    assert count(encoder) == convolutions + 16384 * 2048 + 2 * 2048 + 2048 * 256 + 256 == 35_112_768
    assert count(narrow) == convolutions + 16384 * 1024 + 2 * 1024 + 1024 * 256 + 256 == 18_071_360
    assert count(decoder) == 4_693_155
    assert count(discriminator) == 10_953_857


def test_dis_l_of_the_paper_has_16384_features() -> None:
    with torch.device("meta"):
        features = paper().discriminator()(torch.empty(2, 3, 64, 64)).features
    assert features["down3"].shape == (2, 256, 8, 8)
    assert features["down3"][0].numel() == 16_384


def test_width_scales_channels_and_the_encoders_hidden_layer_but_not_the_latents() -> None:
    half = blueprint(64, network=NetworkConfig(width=0.5, latent_size=128))
    with torch.device("meta"):
        features = half.discriminator()(torch.empty(2, 3, 64, 64)).features
        encoder = half.encoder()
    assert features["down3"].shape == (2, 128, 8, 8)
    assert count(encoder) == 25 * (96 + 2048 + 8192) + 2 * 224 + 8192 * 1024 + 2 * 1024 + 1024 * 256 + 256


@pytest.mark.parametrize("network", [SMALL, SMALL_MLP], ids=["conv", "mlp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 17, 28, 32, 50, 100])
def test_shapes_fit_at_any_size(size: int, channels: int, network: NetworkConfig) -> None:
    plan = blueprint(size, channels, network)
    posterior = plan.encoder()(images(size, channels))
    assert posterior.mean.shape == posterior.log_variance.shape == (3, 4)
    decoded = plan.decoder()(posterior.mean)
    assert decoded.shape == (3, channels, size, size)
    assert float(decoded.detach().abs().max()) <= 1
    judged = plan.discriminator()(decoded)
    assert judged.logits.shape == (3,)
    assert all(len(values) == 3 for values in judged.features.values())


@pytest.mark.parametrize(("size", "sides"), [(16, [16, 8, 4, 2]), (50, [50, 25, 13, 7]), (64, [64, 32, 16, 8])])
def test_three_levels_up_to_64_px_each_half_rounded_up(size: int, sides: list[int]) -> None:
    assert blueprint(size).sides() == sides


@pytest.mark.parametrize("size", [65, 100, 128, 129, 200, 256])
def test_above_64_px_enough_levels_to_end_at_8_px_or_less(size: int) -> None:
    sides = blueprint(size).sides()
    assert 4 < sides[-1] <= 8 < sides[-2]


@pytest.mark.parametrize("size", [8, 15, 257, 300])
@pytest.mark.parametrize("part", ["encoder", "decoder", "discriminator"])
def test_a_size_that_convolutions_do_not_take_is_refused(size: int, part: str) -> None:
    with pytest.raises(GenbenchError, match=f"16 to 256 px, not {size}") as caught:
        getattr(blueprint(size), part)()
    assert caught.value.hint is not None
    assert "--size" in caught.value.hint


def test_mlps_take_any_size() -> None:
    plan = blueprint(8, network=SMALL_MLP)
    assert plan.decoder()(plan.encoder()(images(8)).mean).shape == (3, 3, 8, 8)


@pytest.mark.parametrize("network", [SMALL, SMALL_MLP], ids=["conv", "mlp"])
@pytest.mark.parametrize("part", ["encoder", "decoder", "discriminator"])
def test_only_the_seed_decides_the_weights(part: str, network: NetworkConfig) -> None:
    plan = blueprint(network=network)
    first = getattr(plan, part)()
    torch.rand(7)
    plan.discriminator(), plan.encoder(), plan.decoder()
    assert same(first, getattr(plan, part)())
    assert not same(first, getattr(blueprint(network=network, seed=1), part)())


def test_building_leaves_torchs_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    blueprint().encoder(), blueprint().decoder(), blueprint().discriminator()
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ZeroDivisionError), seeded(3, "anything"):
        float(torch.rand(1)) / 0
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_different_purposes_differ() -> None:
    def draw(seed: int, *purpose: str | int) -> float:
        with seeded(seed, *purpose):
            return float(torch.rand(1, dtype=torch.float64))

    draws = [draw(0, "a"), draw(1, "a"), draw(0, "b"), draw(0, "a", "b"), draw(0, "a", 0), draw(0, "a0")]
    assert len(set(draws)) == len(draws)
    assert draw(0, "a") == draws[0]


def test_two_models_of_one_seed_start_from_the_same_networks() -> None:
    vae = Vae(blueprint_with(Mse(ElementwiseSettings())), VaeSettings())
    vaegan = VaeGan(blueprint_with(DisL(DisLSettings())), VaeGanSettings())
    assert same(vae.networks["encoder"], vaegan.networks["encoder"])
    assert same(vae.networks["decoder"], vaegan.networks["decoder"])


def blueprint_with(similarity: Mse | DisL) -> Blueprint:
    return Blueprint(3, 16, SMALL, 1000, 0, similarity=similarity)


def test_features_before_and_after_their_activation() -> None:
    features = blueprint().discriminator()(images()).features
    names = ["conv", "down1", "down2", "down3", "hidden"]
    assert list(features) == [n for name in names for n in (name, f"{name}-act")] + ["logit"]
    for name in names:
        assert float(features[name].detach().min()) < 0, f"{name} must be raw"
        assert float(features[f"{name}-act"].detach().min()) == 0, f"{name}-act must be rectified"
    torch.testing.assert_close(features["conv-act"], features["conv"].relu())


def test_the_log_variance_is_the_posteriors_second_half() -> None:
    encoder = blueprint().encoder()
    last = encoder.get_submodule("posterior")
    last.load_state_dict({"weight": torch.zeros_like(last.state_dict()["weight"]), "bias": torch.arange(8.0)})
    posterior = encoder(images())
    assert posterior.mean[0].tolist() == [0, 1, 2, 3]
    assert posterior.log_variance[0].tolist() == [4, 5, 6, 7]


def test_kl_of_a_gaussian_equals_its_integral() -> None:
    mean, sigma = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    log_q = -0.5 * ((z - mean[0]) / sigma[0]).square() - (sigma[0] * math.sqrt(2 * math.pi)).log()
    log_p = -0.5 * z.square() - math.log(math.sqrt(2 * math.pi))
    integral = torch.trapezoid(log_q.exp() * (log_q - log_p), z)
    torch.testing.assert_close(Posterior(mean, 2 * sigma.log()).kl()[0], integral, rtol=1e-9, atol=0)
    assert Posterior(torch.zeros(1, 5), torch.zeros(1, 5)).kl().tolist() == [0]


def test_a_sample_of_the_posterior_has_its_mean_and_its_deviation() -> None:
    torch.manual_seed(0)
    posterior = Posterior(torch.full((50_000, 1), 3.0), torch.full((50_000, 1), 2 * torch.tensor(0.5).log().item()))
    sample = posterior.sample()
    assert sample.mean().item() == pytest.approx(3, abs=0.02)
    assert sample.std().item() == pytest.approx(0.5, abs=0.02)
