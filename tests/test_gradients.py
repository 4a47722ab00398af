"""Each network gets the gradient of its own loss alone: finite differences and separate derivations, in float64."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genbench.adversarial.costs import cross_entropy
from genbench.config import NetworkConfig, NetworkKind
from genbench.interfaces import Batch, Losses, Model, View
from genbench.networks import Blueprint
from genbench.train.gradients import route, trainable
from genbench.train.optimisers import build_optimisers, step
from genbench.train.weighting import WeightedSimilarity
from genbench_gan.model import Gan
from genbench_gan.settings import GanSettings
from genbench_similarities.elementwise import DisL, Mse
from genbench_similarities.settings import DisLSettings, ElementwiseSettings
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeDisLSettings, VaeGanSettings
from genbench_vaegan.vae_dis_l import VaeDisL

SETTINGS = VaeGanSettings(gamma=0.37, kl_weight=1.3, margin=0.0)
TOGETHER = replace(SETTINGS, one_batch=True)
STEP = 1e-7
"""Of finite differences: so small that no activation of thousands crosses its kink on the way."""


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def blueprint(weight: float = 0.75, pixel: bool = False, images: int = 100, kind: NetworkKind = "conv") -> Blueprint:
    measure = Mse(ElementwiseSettings()) if pixel else DisL(DisLSettings())
    if kind == "conv":
        network = NetworkConfig(width=0.02, latent_size=3, encoder_hidden=200)
    else:  # not so narrow that a layer is dead: after batch-norm all is then 0, where ReLU has a kink
        network = NetworkConfig(kind=kind, width=0.2 if kind == "conv4" else 0.05, latent_size=3)
    return Blueprint(3, 16, network, images, 0, similarity=WeightedSimilarity(measure, weight))


def batch(images_seen: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(5)
    return Batch(torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1, images_seen=images_seen)


def gradients(model: Model, images_seen: int = 0) -> dict[str, Tensor]:
    """Return each network's gradient as one vector, the noise fixed."""
    torch.manual_seed(11)
    found = model.gradients(batch(images_seen)).of
    return {name: torch.cat([g.flatten() for g in gs if g is not None]) for name, gs in found.items()}


def finite_difference(loss: Callable[[], Tensor], network: nn.Module, direction: list[Tensor]) -> float:
    """Return the derivative of a loss along a direction in one network's parameters, by central differences."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(trainable(network), direction, strict=True):
                p += sign * STEP * d
            torch.manual_seed(11)
            values.append(float(loss()))
            for p, d in zip(trainable(network), direction, strict=True):
                p -= sign * STEP * d
    return (values[0] - values[1]) / (2 * STEP)


MODELS = {
    "vae": lambda: Vae(blueprint(pixel=True), VaeSettings(kl_weight=1.3)),
    "gan": lambda: Gan(blueprint(), GanSettings(margin=0.0)),
    "gan, saturating": lambda: Gan(blueprint(), GanSettings(margin=0.0, saturating=True)),
    "vaegan": lambda: VaeGan(blueprint(), SETTINGS),
    "vaegan, saturating": lambda: VaeGan(blueprint(), replace(SETTINGS, saturating=True)),
    "vaegan, pixel": lambda: VaeGan(blueprint(pixel=True), SETTINGS),
    "vaegan, prior only": lambda: VaeGan(blueprint(), replace(SETTINGS, show_reconstructions=False)),
    "vaegan, added up": lambda: VaeGan(blueprint(), replace(SETTINGS, fake_cost="sum")),
    "vaegan, added up, saturating": lambda: VaeGan(blueprint(), replace(SETTINGS, fake_cost="sum", saturating=True)),
    "vaegan, one batch": lambda: VaeGan(blueprint(), TOGETHER),
    "vaegan, one batch, saturating": lambda: VaeGan(blueprint(), replace(TOGETHER, saturating=True)),
    "vaegan, one batch, pixel": lambda: VaeGan(blueprint(pixel=True), TOGETHER),
    "vaegan, one batch, prior only": lambda: VaeGan(
        blueprint(), replace(TOGETHER, show_reconstructions=False, saturating=True)
    ),
    "vaegan, one batch, added up": lambda: VaeGan(
        blueprint(), replace(TOGETHER, fake_cost="sum", saturating=True, margin=0.35)
    ),
    "vaegan, conv-leaky, one batch": lambda: VaeGan(blueprint(kind="conv-leaky"), replace(TOGETHER, saturating=True)),
    "vaegan, mlp-leaky": lambda: VaeGan(blueprint(kind="mlp-leaky"), SETTINGS),
    "vaegan, mlp-leaky, one batch": lambda: VaeGan(blueprint(kind="mlp-leaky"), TOGETHER),
    "vaegan, conv4": lambda: VaeGan(blueprint(kind="conv4"), SETTINGS),
    "vae-dis-l, mlp-leaky": lambda: VaeDisL(
        blueprint(images=1, kind="mlp-leaky"), VaeDisLSettings(discriminator_share=0.1, margin=0.0)
    ),
    "vae-dis-l, first part": lambda: VaeDisL(blueprint(), VaeDisLSettings(discriminator_share=0.99, margin=0.0)),
    "vae-dis-l, second part": lambda: VaeDisL(
        blueprint(images=1), VaeDisLSettings(discriminator_share=0.1, margin=0.0)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_own_way_equals_the_default_routing(name: str) -> None:
    model = MODELS[name]().train()
    torch.manual_seed(11)
    own = model.gradients(batch())
    torch.manual_seed(11)
    default = Model.gradients(model, batch())
    assert own.of.keys() == default.of.keys()
    assert own.log.keys() == default.log.keys()
    for network, expected in default.of.items():
        for found, wanted in zip(own.of[network], expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)
    for key, value in default.log.items():
        assert not own.log[key].requires_grad
        torch.testing.assert_close(own.log[key], value)
    for key, gate in default.gates.items():
        assert torch.equal(own.gates[key], gate)


@pytest.mark.parametrize("name", MODELS)
def test_each_networks_gradient_equals_finite_differences_of_its_own_loss(name: str) -> None:
    model = MODELS[name]().train()
    analytic = gradients(model)
    for network_name, gradient in analytic.items():
        network = model.networks[network_name]
        generator = torch.Generator().manual_seed(3)
        direction = [torch.randn(p.shape, generator=generator) for p in trainable(network)]
        expected = finite_difference(lambda n=network_name: model.losses(batch()).of[n], network, direction)
        along = float(gradient @ torch.cat([d.flatten() for d in direction]))
        assert along == pytest.approx(expected, rel=1e-5, abs=1e-7), network_name


def test_algorithm_1_derived_separately() -> None:
    """The three gradients, each from a graph of its own in which the other networks are cut off by hand."""
    model = VaeGan(blueprint(), SETTINGS).train()
    encoder, decoder, discriminator = model.networks.values()
    found = gradients(model)

    def forward() -> tuple[Tensor, ...]:
        torch.manual_seed(11)
        posterior = encoder(batch().images)
        latents = posterior.sample()
        return posterior.kl().mean(), latents, torch.randn_like(latents)

    def like(reconstruction: Tensor) -> Tensor:
        real, fake = discriminator(batch().images), discriminator(reconstruction)
        return 0.75 * 0.5 * (real.features["down3"] - fake.features["down3"]).square().flatten(1).sum(1).mean()

    def gradient_of(loss: Tensor, network: nn.Module) -> Tensor:
        for p in model.parameters():
            p.grad = None
        loss.backward()
        return torch.cat([p.grad.flatten() for p in trainable(network) if p.grad is not None])

    kl, latents, _ = forward()
    encoders = gradient_of(1.3 * kl + like(decoder(latents)), encoder)

    _, latents, noise = forward()
    made = [decoder(latents.detach()), decoder(noise)]
    fooled = sum(cross_entropy(discriminator(images).logits, 1.0) for images in made) / 2
    decoders = gradient_of(0.37 * like(made[0]) + fooled, decoder)

    _, latents, noise = forward()
    caught = sum(cross_entropy(discriminator(decoder(z).detach()).logits, 0.0) for z in (latents, noise)) / 2
    discriminators = gradient_of(cross_entropy(discriminator(batch().images).logits, 0.9) + caught, discriminator)

    for name, expected in {"encoder": encoders, "decoder": decoders, "discriminator": discriminators}.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("show", [False, True])
def test_real_and_generated_images_in_one_batch_derived_separately(show: bool) -> None:
    """The minimax game of the authors' code: the decoder gets the negative of all of the discriminator's cost."""
    settings = replace(TOGETHER, saturating=True, show_reconstructions=show)
    model = VaeGan(blueprint(), settings).train()
    encoder, decoder, discriminator = model.networks.values()
    found = gradients(model)

    def forward(cut: bool) -> tuple[Tensor, Tensor, Tensor]:
        torch.manual_seed(11)
        posterior = encoder(batch().images)
        latents = posterior.sample()
        noise = torch.randn_like(latents)
        return posterior.kl().mean(), decoder(latents.detach() if cut else latents), decoder(noise)

    def like(reconstruction: Tensor) -> Tensor:
        layer = discriminator(torch.cat([reconstruction, batch().images])).features["down3"]
        return 0.75 * 0.5 * (layer[4:] - layer[:4]).square().flatten(1).sum(1).mean()

    def game(reconstruction: Tensor, prior: Tensor) -> Tensor:
        shown = [batch().images, prior, *([reconstruction] if show else [])]
        logits = discriminator(torch.cat(shown)).logits
        return cross_entropy(logits[:4], 0.9) + cross_entropy(logits[4:], 0.0)

    def gradient_of(loss: Tensor, network: nn.Module) -> Tensor:
        (*own,) = torch.autograd.grad(loss, trainable(network), allow_unused=True)
        return torch.cat([g.flatten() for g in own if g is not None])

    kl, reconstruction, _ = forward(cut=False)
    encoders = gradient_of(1.3 * kl + like(reconstruction), encoder)
    _, reconstruction, prior = forward(cut=True)
    decoders = gradient_of(0.37 * like(reconstruction) - game(reconstruction, prior), decoder)
    _, reconstruction, prior = forward(cut=True)
    discriminators = gradient_of(game(reconstruction.detach(), prior.detach()), discriminator)
    for name, expected in {"encoder": encoders, "decoder": decoders, "discriminator": discriminators}.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    apart = gradients(VaeGan(blueprint(), replace(settings, one_batch=False)).train())
    assert not any(torch.allclose(apart[name], found[name], rtol=1e-3) for name in found)


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("show", [False, True])
def test_in_evaluation_mode_one_batch_changes_nothing(saturating: bool, show: bool) -> None:
    settings = replace(SETTINGS, saturating=saturating, show_reconstructions=show)
    together, apart = (gradients(VaeGan(blueprint(), replace(settings, one_batch=one)).eval()) for one in (True, False))
    for name, expected in apart.items():
        torch.testing.assert_close(together[name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_similarity_never_reaches_the_discriminator() -> None:
    light, heavy = (gradients(VaeGan(blueprint(weight), SETTINGS).train()) for weight in (1.0, 1000.0))
    torch.testing.assert_close(light["discriminator"], heavy["discriminator"], rtol=0, atol=0)
    assert not torch.allclose(light["encoder"], heavy["encoder"])


def test_gan_cost_never_reaches_the_encoder() -> None:
    smooth, sharp = (gradients(VaeGan(blueprint(), replace(SETTINGS, saturating=s)).train()) for s in (False, True))
    torch.testing.assert_close(smooth["encoder"], sharp["encoder"], rtol=0, atol=0)
    assert not torch.allclose(smooth["decoder"], sharp["decoder"])


def test_networks_that_share_a_loss_get_the_gradients_of_separate_passes() -> None:
    networks = {"a": nn.Linear(2, 3), "b": nn.Linear(3, 1)}
    loss = networks["b"](networks["a"](torch.ones(1, 2)).tanh()).square().sum()
    together = route(networks, Losses({"a": loss, "b": loss}))
    loss = networks["b"](networks["a"](torch.ones(1, 2)).tanh()).square().sum()
    apart = route(networks, Losses({"a": loss, "b": loss * 1}))
    for name in networks:
        for x, y in zip(together.of[name], apart.of[name], strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_a_closed_gate_leaves_network_and_optimiser_as_they_were() -> None:
    settings = replace(SETTINGS, equilibrium=100.0, margin=1.0)  # the discriminator is always far ahead
    model = VaeGan(blueprint(), settings).train()
    from genbench.config import TrainingConfig

    optimisers = build_optimisers(model, TrainingConfig(images=1))
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in model.networks.items()}
    step(optimisers, model.gradients(batch()), torch.ones((), dtype=torch.bool))
    moved = {
        name: any(not torch.equal(p, q) for p, q in zip(net.parameters(), before[name], strict=True))
        for name, net in model.networks.items()
    }
    assert moved == {"encoder": True, "decoder": True, "discriminator": False}
    assert not any(bool(value.any()) for value in optimisers["discriminator"].dump().values())


def test_vae_dis_l_trains_its_discriminator_first_and_then_holds_it() -> None:
    model = VaeDisL(blueprint(images=100), VaeDisLSettings(discriminator_share=0.5)).train()
    assert set(model.losses(batch(0)).of) == {"generator", "discriminator"}
    assert set(model.losses(batch(50)).of) == {"encoder", "decoder"}
    state = {k: v.clone() for k, v in model.networks["discriminator"].state_dict().items()}
    model.losses(batch(50))
    for key, value in model.networks["discriminator"].state_dict().items():
        assert torch.equal(value, state[key]), f"{key} moved: batch-norm must stand still too"


@pytest.mark.parametrize("settings", [SETTINGS, TOGETHER], ids=["each", "together"])
def test_views_are_what_the_losses_compare(settings: VaeGanSettings) -> None:
    model = VaeGan(blueprint(1.0), settings).train()
    torch.manual_seed(11)
    logged = model.losses(batch()).log["like"]
    torch.manual_seed(11)
    real, fake = model.views(batch())
    assert isinstance(real, View)
    assert fake.images.is_leaf
    assert fake.images.requires_grad
    assert model.similarity is not None
    torch.testing.assert_close(model.similarity(real, fake).mean(), logged)
