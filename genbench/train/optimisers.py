"""One optimiser for each network, and its state as plain tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genbench.config import TrainingConfig
from genbench.interfaces import Model
from genbench.train.gradients import Gradients, trainable

Optimisers = dict[str, torch.optim.Optimizer]


def build_optimisers(model: Model, config: TrainingConfig) -> Optimisers:
    """Build each network's optimiser; all are set alike."""
    return {name: _build(network, config) for name, network in model.networks.items() if trainable(network)}


def _build(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = trainable(network)
    # RMSProp (Tieleman & Hinton 2012) is Adam without momentum. torch's own leaves out the bias correction, so that its
    # first steps are 1/√(1-α) = 10 times the learning rate: on real faces a GAN that began with them collapsed.
    # As for Adam, β1 is that of Radford et al. 2016, section 4: 0.9 oscillates once a discriminator is in play.
    betas = (0.5, 0.999) if config.optimiser == "adam" else (0.0, 0.99)
    # Fused, the step is one kernel that can be told on the device to do nothing; on CUDA it can be captured.
    on_cuda = parameters[0].device.type == "cuda"
    return torch.optim.Adam(parameters, config.learning_rate, betas=betas, fused=True, capturable=on_cuda)


def step(model: Model, optimisers: Optimisers, gradients: Gradients, well: Tensor) -> None:
    """Move each network that has a gradient and an open gate; leave all others, and their optimisers, as they are.

    Args:
        well: 0-dim boolean; False moves nothing. Like the gates it is never read by the host.
    """
    for name, network_gradients in gradients.of.items():
        gate = gradients.gates.get(name)
        moves = well if gate is None else well & gate.to(well.device)
        for parameter, gradient in zip(trainable(model.networks[name]), network_gradients, strict=True):
            parameter.grad = None if gradient is None else _laid_out_as(parameter, gradient)
        # What torch's own gradient scaler sets to skip a step: 1 skips it, kernels and step counts alike.
        optimisers[name].found_inf = (~moves).float()  # type: ignore[attr-defined]
        optimisers[name].step()
        optimisers[name].zero_grad(set_to_none=True)


def dump_optimisers(optimisers: Optimisers) -> dict[str, Tensor]:
    """Return every optimiser's state as tensors under `network/parameter index/key`."""
    tensors = {}
    for name, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"{name}/{index}/{key}"] = torch.as_tensor(value)
    return tensors


def restore_optimisers(optimisers: Optimisers, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `dump_optimisers` returned, into optimisers built from the same configuration."""
    states: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in optimisers}
    for path, value in tensors.items():
        name, index, key = path.rsplit("/", 2)
        states[name].setdefault(int(index), {})[key] = value
    for name, optimiser in optimisers.items():
        optimiser.load_state_dict({"state": states[name], "param_groups": optimiser.state_dict()["param_groups"]})
        for parameter, state in optimiser.state.items():
            state.update({key: _laid_out_as(parameter, value) for key, value in state.items()})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a gradient or a state in its parameter's memory format: the fused step pairs them by place in memory."""
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
