"""One optimiser for each network, and its state as plain tensors."""

from collections.abc import Mapping

from torch import Tensor

from genbench.config import TrainingConfig
from genbench.interfaces import Model
from genbench.train.adam import Adam
from genbench.train.gradients import Gradients, trainable
from genbench.train.schedule import schedules

Optimisers = dict[str, Adam]

BETAS = {
    # RMSProp (Tieleman & Hinton 2012) is Adam without momentum. torch's own leaves out the bias correction, so that its
    # first steps are 1/√(1-α) = 10 times the learning rate: on real faces a GAN that began with them collapsed.
    "rmsprop": (0.0, 0.99),
    # β₁ of Radford et al. 2016, section 4: 0.9 oscillates once a discriminator is in play.
    "adam": (0.5, 0.999),
}


def build_optimisers(model: Model, config: TrainingConfig) -> Optimisers:
    """Build each network's optimiser; all are set alike, but for a discriminator's own learning rate.

    Raises:
        GenbenchError: there is such a rate, and no discriminator.
    """
    rates = schedules(model, config)
    return {
        name: Adam(parameters, rates[name], BETAS[config.optimiser], config.weight_decay)
        for name, network in model.networks.items()
        if (parameters := trainable(network))
    }


def anneal(optimisers: Optimisers, images_seen: int) -> None:
    """Set the learning rates of the step that follows after so many images; the device is not waited for."""
    for optimiser in optimisers.values():
        optimiser.anneal(images_seen)


def step(optimisers: Optimisers, gradients: Gradients, well: Tensor) -> None:
    """Move each network that has a gradient and an open gate; leave all others, and their optimisers, as they are.

    Args:
        well: 0-dim boolean; False moves nothing. Like the gates it is never read by the host.
    """
    for name, own in gradients.of.items():
        gate = gradients.gates.get(name)
        optimisers[name].step(own, well if gate is None else well & gate.to(well.device))


def dump_optimisers(optimisers: Optimisers) -> dict[str, Tensor]:
    """Return every optimiser's state as tensors under `network/parameter index/key`."""
    return {
        f"{name}/{path}": value for name, optimiser in optimisers.items() for path, value in optimiser.dump().items()
    }


def restore_optimisers(optimisers: Optimisers, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `dump_optimisers` returned, into optimisers built from the same configuration.

    Raises:
        KeyError, ValueError: it is of others.
    """
    states: dict[str, dict[str, Tensor]] = {name: {} for name in optimisers}
    for path, value in tensors.items():
        name, _, rest = path.partition("/")
        states[name][rest] = value
    for name, optimiser in optimisers.items():
        optimiser.restore(states[name])
