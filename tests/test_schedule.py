"""The learning rate over a run, and what of a network decays: in closed form, and as torch's own Adam has them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genbench import GenbenchError
from genbench.config import NetworkConfig, TrainingConfig
from genbench.interfaces import Batch, Gradients, Losses, Model
from genbench.networks import Blueprint
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve
from genbench.train.optimisers import Optimisers, anneal, build_optimisers, step
from genbench.train.schedule import Schedule, schedules

WELL = torch.ones((), dtype=torch.bool)


class Adversaries(Model):
    """Networks of every kind of parameter, by name."""

    def __init__(self, *names: str) -> None:
        super().__init__(Blueprint(1, 16, NetworkConfig(), 1, 0))
        torch.manual_seed(0)
        self.networks = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 2)
                )
                for name in names
            }
        )

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        raise NotImplementedError


def random_gradients(model: Model, seed: int) -> Gradients:
    torch.manual_seed(seed)
    return Gradients({name: tuple(map(torch.randn_like, net.parameters())) for name, net in model.networks.items()})


def rates(optimisers: Optimisers, images_seen: int) -> dict[str, float]:
    anneal(optimisers, images_seen)
    return {name: float(optimiser.learning_rate) for name, optimiser in optimisers.items()}


def test_the_rate_falls_as_the_papers_code_has_it() -> None:
    """start - (e/T)^0.75·(start - end), of 3.9e-4 and 1.6e-7 over 62,500 steps of 64 images."""
    schedule = Schedule(3.9e-4, 1.6e-7, 0.75, 4_000_000)
    assert schedule.rate(0) == 3.9e-4
    assert schedule.rate(250_000) == pytest.approx(3.9e-4 - (3.9e-4 - 1.6e-7) / 8, rel=1e-12)  # (1/16)^(3/4) = 1/8
    assert schedule.rate(4_000_000) == pytest.approx(1.6e-7, rel=1e-9)
    assert schedule.rate(5_000_000) == schedule.rate(4_000_000), "a last batch may reach past the budget"
    straight = replace(schedule, power=1.0)
    assert straight.rate(1_000_000) == pytest.approx(0.75 * 3.9e-4 + 0.25 * 1.6e-7, rel=1e-12)


def test_each_network_has_its_rate_and_a_discriminators_own_falls_in_proportion() -> None:
    model = Adversaries("encoder", "discriminator")
    config = TrainingConfig(
        images=400, learning_rate=1e-3, learning_rate_end=1e-4, discriminator_learning_rate=2e-4, learning_rate_power=2
    )
    optimisers = build_optimisers(model, config)
    for images_seen, expected in ((0, 1e-3), (200, 7.75e-4), (400, 1e-4), (100, 9.4375e-4)):  # whatever came before
        found = rates(optimisers, images_seen)
        assert found["encoder"] == pytest.approx(expected, rel=1e-6)
        assert found["discriminator"] == pytest.approx(expected / 5, rel=1e-6)


def test_a_rate_that_stays_is_the_number_that_was_given_and_one_that_falls_stays_where_it_is_in_memory() -> None:
    """A recorded step reads the tensor that it was recorded with."""
    model = Adversaries("encoder", "discriminator")
    for training in ({}, {"learning_rate_end": 1e-3}):
        stays = build_optimisers(model, TrainingConfig(images=10, learning_rate=1e-3, **training))
        anneal(stays, 5)
        assert [optimiser.learning_rate for optimiser in stays.values()] == [1e-3, 1e-3]
        assert all(isinstance(optimiser.learning_rate, float) for optimiser in stays.values())
    falling = build_optimisers(model, TrainingConfig(images=10, learning_rate=1e-3, learning_rate_end=0))["encoder"]
    first = falling.learning_rate
    assert isinstance(first, Tensor)
    assert (first.shape, first.dtype) == ((), torch.float32)
    falling.anneal(5)
    assert falling.learning_rate is first
    assert float(first) == pytest.approx(5e-4)


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_steps_are_those_of_torchs_adam_with_groups_of_parameters(optimiser: str) -> None:
    """Weights of more than one dimension decay, biases and batch-norm's parameters do not; the rate falls."""
    model, other = Adversaries("encoder", "discriminator"), Adversaries("encoder", "discriminator")
    config = TrainingConfig.model_validate(
        {
            "images": 40,
            "optimiser": optimiser,
            "learning_rate": 0.01,
            "learning_rate_end": 1e-3,
            "learning_rate_power": 0.5,
            "discriminator_learning_rate": 0.002,
            "weight_decay": 0.3,
        }
    )
    optimisers = build_optimisers(model, config)
    betas = (0.0, 0.99) if optimiser == "rmsprop" else (0.5, 0.999)
    starts = {"encoder": 0.01, "discriminator": 0.002}
    references = {}
    for name, network in other.networks.items():
        named = list(network.named_parameters())
        decaying = [p for key, p in named if key in ("0.weight", "2.weight", "4.weight")]
        still = [p for key, p in named if key not in ("0.weight", "2.weight", "4.weight")]
        assert [len(decaying), len(still)] == [3, 5]
        groups = [{"params": decaying, "weight_decay": 0.3}, {"params": still}]
        references[name] = torch.optim.Adam(groups, starts[name], betas=betas, foreach=False)
    for number in range(4):
        gradients = random_gradients(model, number)
        anneal(optimisers, 10 * number)
        step(optimisers, gradients, WELL)
        for name, reference in references.items():
            for parameter, gradient in zip(other.networks[name].parameters(), gradients.of[name], strict=True):
                parameter.grad = gradient
            for group in reference.param_groups:
                group["lr"] = starts[name] * (1 - (number / 4) ** 0.5 * 0.9)
            reference.step()
    for (name, value), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7, msg=name)


def test_one_step_of_decay_in_closed_form() -> None:
    """After a first step of RMSProp with bias correction each weight has moved by α·sign(g + λw)."""
    model = Adversaries("encoder")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimisers = build_optimisers(model, TrainingConfig(images=1, learning_rate=0.01, weight_decay=0.5))
    gradients = random_gradients(model, 3)
    step(optimisers, gradients, WELL)
    for (name, value), gradient in zip(model.named_parameters(), gradients.of["encoder"], strict=True):
        assert gradient is not None
        pull = gradient + 0.5 * before[name] if before[name].ndim > 1 else gradient
        torch.testing.assert_close(value, before[name] - 0.01 * pull.sign(), msg=name)


def test_what_does_not_move_does_not_decay() -> None:
    model = Adversaries("encoder")
    before = [value.detach().clone() for value in model.parameters()]
    optimisers = build_optimisers(model, TrainingConfig(images=1, weight_decay=0.5))
    step(optimisers, random_gradients(model, 0), ~WELL)
    closed = Gradients(random_gradients(model, 0).of, gates={"encoder": ~WELL})
    step(optimisers, closed, WELL)
    assert all(torch.equal(value, was) for value, was in zip(model.parameters(), before, strict=True))


def test_a_discriminators_rate_without_a_discriminator_is_refused_before_training_and_by_it() -> None:
    plugins = Plugins.load()
    setting = ("training.discriminator_learning_rate=1e-4",)
    with pytest.raises(GenbenchError, match="model `vae` has no discriminator") as caught:
        resolve(plugins, RunRequest("vae", "toyfaces", settings=setting))
    assert caught.value.hint == "leave it out; models with one: gan, vae-dis-l, vaegan, vaegan-pixel"
    assert (
        resolve(plugins, RunRequest("gan", "toyfaces", settings=setting)).training.discriminator_learning_rate == 1e-4
    )

    # A plugin's discriminator may be called otherwise.
    with pytest.raises(GenbenchError, match="Adversaries has no network `discriminator`") as caught:
        schedules(Adversaries("critic", "decoder"), TrainingConfig(images=1, discriminator_learning_rate=1e-4))
    assert caught.value.hint == "it has critic, decoder; leave the setting out"


def test_what_can_not_go_together_is_told_on_the_command_line() -> None:
    with pytest.raises(GenbenchError) as caught:
        resolve(Plugins.load(), RunRequest("vae", "digits", settings=("training.learning_rate_end=1",)))
    expected = "training: `learning_rate_end` is 1, expected no more than `learning_rate`, 0.0003"
    assert caught.value.message == expected
