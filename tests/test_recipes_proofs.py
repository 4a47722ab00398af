"""Whether recipes say in our settings what their sources do: gradients against the sources' losses, written out."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genbench.interfaces import Batch, Model
from genbench.networks import Blueprint
from genbench.pipeline import build_similarity
from genbench.plugins import Plugins
from genbench.recipes import applied, find_recipe, read_recipe
from genbench.resolution import RunRequest, build_settings, resolve
from genbench.train.adam import Adam
from genbench.train.schedule import Schedule
from genbench_vaegan.model import VaeGan

N = 6


class Made(NamedTuple):
    """What the networks make of one batch, each kind passed by itself."""

    mean: Tensor
    log_variance: Tensor
    reconstruction: Tensor
    prior: Tensor


class Losses(NamedTuple):
    """What a source has its three networks minimise, and by how much each differs from ours."""

    encoder: Tensor
    decoder: Tensor
    discriminator: Tensor


def build(name: str, channels: int) -> VaeGan:
    """Build a recipe's model with narrow networks, at 16 px, without the chance that dropout brings."""
    plugins = Plugins.load()
    request, _ = applied(read_recipe(find_recipe(name)), RunRequest("", "", size=16, width=0.1))
    config = resolve(plugins, request)
    network = config.network
    blueprint = Blueprint(channels, 16, network, config.training.images, 0)
    blueprint = replace(blueprint, similarity=build_similarity(plugins, config.similarity, config.training))
    model = VaeGan(blueprint, build_settings(plugins, plugins.model(config.model.name), config.model.settings))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def make(model: Model, images: Tensor) -> Made:
    """Encode and decode as the paper says, drawing noise as the model will."""
    encoder, decoder, _ = model.networks.values()
    torch.manual_seed(0)
    mean, log_variance = encoder(images)
    noise, prior = torch.randn_like(mean), torch.randn_like(mean)
    return Made(mean, log_variance, decoder(mean + (0.5 * log_variance).exp() * noise), decoder(prior))


def kl(made: Made) -> Tensor:
    """Return the sum over batch and dimensions."""
    return -0.5 * (1 + made.log_variance - made.mean**2 - made.log_variance.exp()).sum()


def bce(logits: Tensor, label: float) -> Tensor:
    """Return the mean over the batch, by way of probabilities, as the sources have it."""
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, label))


def played(model: Model, images: Tensor, made: Made) -> tuple[Tensor, Callable[[Tensor, str], Tensor]]:
    """Return the three kinds' costs, added up, and what gives a layer of the discriminator."""
    discriminator = model.networks["discriminator"]
    game = (
        bce(discriminator(images).logits, 1.0)
        + bce(discriminator(made.reconstruction).logits, 0.0)
        + bce(discriminator(made.prior).logits, 0.0)
    )
    return game, lambda shown, layer: discriminator(shown).features[layer]


def larsen2016(model: Model, images: Tensor) -> Losses:
    """Algorithm 1: sums over elements, means over the batch, γ of 0.01."""
    made = make(model, images)
    game, layer = played(model, images, made)
    like = 0.5 * (layer(made.reconstruction, "down3") - layer(images, "down3")).square().sum() / N
    return Losses(kl(made) / N + like, 0.01 * like - game, game)


def larsen2015_pixel(model: Model, images: Tensor) -> Losses:
    """The code of 2015: squared errors without ½, its factor 1e-4 on their gradient, all images in one batch."""
    made = make(model, images)
    logits = model.networks["discriminator"](torch.cat([images, made.reconstruction, made.prior])).logits
    game = bce(logits[:N], 1.0) + bce(logits[N : 2 * N], 0.0) + bce(logits[2 * N :], 0.0)
    error = (made.reconstruction - images).square().sum() / N
    return Losses(kl(made) / N + error, 1e-4 * error - game, game)


def conv_mean(model: Model, images: Tensor) -> Losses:
    made = make(model, images)
    game, layer = played(model, images, made)
    error = ((layer(made.reconstruction, "down3-act") - layer(images, "down3-act")) ** 2).mean()
    return Losses(kl(made) / made.mean.numel() + 5 * error, 15 * error - game, game)


def mlp_logit(model: Model, images: Tensor) -> Losses:
    made = make(model, images)
    game, layer = played(model, images, made)
    error = ((layer(made.reconstruction, "logit") - layer(images, "logit")) ** 2).mean()
    return Losses(kl(made) / (N * 784) + 5 * error, 25 * error - game, game)


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    """Return all of a network's gradient as one vector; where the loss does not reach, 0."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
    )


def ours(model: Model, images: Tensor, name: str) -> Tensor:
    torch.manual_seed(0)
    found = model.gradients(Batch(images)).of[name]
    return torch.cat([g.flatten() for g in found if g is not None])


def assert_same(found: Tensor, expected: Tensor, within: float = 1e-3) -> None:
    assert expected.norm() > 0
    assert (found - expected).norm() <= within * expected.norm()


@pytest.mark.parametrize(
    ("name", "source", "channels", "encoders_factor"),
    [
        ("larsen2016", larsen2016, 3, 1),
        ("larsen2015-pixel", larsen2015_pixel, 3, 1),
        ("conv-mean", conv_mean, 1, 5),
        ("conv-mean-cifar10", conv_mean, 3, 5),
        ("mlp-logit", mlp_logit, 1, 5),
    ],
)
def test_gradients_are_those_of_the_sources_losses(
    name: str, source: Callable[[Model, Tensor], Losses], channels: int, encoders_factor: float
) -> None:
    model = build(name, channels)
    images = torch.rand(N, channels, 16, 16) * 2 - 1
    losses = source(model, images)
    networks = model.networks
    assert_same(encoders_factor * ours(model, images, "encoder"), gradient(losses.encoder, networks["encoder"]))
    assert_same(ours(model, images, "decoder"), gradient(losses.decoder, networks["decoder"]))
    assert_same(ours(model, images, "discriminator"), gradient(losses.discriminator, networks["discriminator"]))


@pytest.mark.parametrize(
    ("name", "w", "layer"),
    [
        ("larsen2016-code", 1e-6, "down3"),
        ("larsen2016-code-stl10", 1e-6, "down3"),
        ("larsen2016-code-lfw", 1e-6, "down3"),
        ("larsen2016-code-cifar10", 1e-5, "down2"),
    ],
)
def test_the_authors_decoder_follows_both_parts_in_their_proportion(name: str, w: float, layer: str) -> None:
    """w·∇Σ½‖Δf‖² - (1 - w)·∇ΣBCE over the batch is ours but for the factors 1 - w and N, in either of its parts."""
    model = build(name, 3)
    encoder, decoder, discriminator = model.networks.values()
    images = torch.rand(N, 3, 16, 16) * 2 - 1
    made = make(model, images)
    features = discriminator(torch.cat([made.reconstruction, images])).features[layer].flatten(1)
    error = 0.5 * (features[:N] - features[N:]).square().sum()
    verdict = torch.sigmoid(discriminator(torch.cat([images, made.prior])).logits)
    cross_entropy = -verdict[:N].log().sum() - (1 - verdict[N:]).log().sum()

    torch.manual_seed(0)
    terms = model.terms(Batch(images))
    assert_same((1 - w) * N * gradient(terms["similarity"], decoder), w * gradient(error, decoder))
    assert_same((1 - w) * N * gradient(terms["gan"], decoder), -(1 - w) * gradient(cross_entropy, decoder))
    both = w * gradient(error, decoder) - (1 - w) * gradient(cross_entropy, decoder)
    assert_same((1 - w) * N * ours(model, images, "decoder"), both)
    assert_same(N * ours(model, images, "encoder"), gradient(kl(made) + error, encoder))
    assert_same(N * ours(model, images, "discriminator"), gradient(cross_entropy, discriminator))


def test_the_public_backward_order_of_mlp_logit_cancels_the_gan() -> None:
    """Three calls of backward in turn, nothing cleared between them, as in that code's loop."""
    model = build("mlp-logit", 1)
    encoder, decoder, _ = model.networks.values()
    images = torch.rand(N, 1, 16, 16) * 2 - 1
    made = make(model, images)
    game, layer = played(model, images, made)
    error = ((layer(made.reconstruction, "logit") - layer(images, "logit")) ** 2).mean()
    prior = kl(made) / (N * 784)
    intended, left = gradient(25 * error - game, decoder), gradient(25 * error, decoder)
    encoders = gradient(prior + 30 * error, encoder)

    game.backward(retain_graph=True)
    (25 * error - game).backward(retain_graph=True)
    decoder_moves_by = torch.cat([p.grad.flatten() for p in decoder.parameters()])
    (prior + 5 * error).backward()
    encoder_moves_by = torch.cat([p.grad.flatten() for p in encoder.parameters()])
    assert_same(decoder_moves_by, left)
    assert (decoder_moves_by - intended).norm() > 0.1 * intended.norm()
    assert_same(encoder_moves_by, encoders)


def test_a_decay_beside_summed_gradients_is_a_64th_beside_means() -> None:
    """RMSProp sees no common factor of gradient and decay, so that the code's L2 of 1e-5 is 1e-5/64 of ours."""
    torch.manual_seed(0)
    start, moves = torch.randn(5, 4), torch.tensor(True)
    begun = [nn.Parameter(start.clone()) for _ in range(2)]
    summed, mean = (
        Adam([parameter], Schedule(1e-2, 1e-2, 1.0, 100), (0.0, 0.99), decay)
        for parameter, decay in zip(begun, (1e-1, 1e-1 / 64), strict=True)
    )
    for _ in range(5):
        gradient_of_sum = torch.randn(5, 4)
        summed.step([gradient_of_sum], moves)
        mean.step([gradient_of_sum / 64], moves)
    torch.testing.assert_close(begun[0], begun[1])
    assert not torch.allclose(begun[0], start)


def test_parameter_counts_of_conv_mean() -> None:
    request, _ = applied(read_recipe(find_recipe("conv-mean")), RunRequest("", ""))
    config = resolve(Plugins.load(), request)
    blueprint = Blueprint(1, config.dataset.size, config.network, config.training.images, 0)
    counts = [sum(p.numel() for p in part.parameters()) for part in (blueprint.encoder(), blueprint.discriminator())]
    assert counts == [35_112_064, 10_953_409]
