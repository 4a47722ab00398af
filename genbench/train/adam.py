"""Adam as one fused kernel that is told on the device whether to move.

`torch.optim.Adam` computes the same, with the same kernel; but it takes a second and more to import what compiles
optimisers, and skips a step only for its own gradient scaler.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genbench.train.schedule import Schedule

EPSILON = 1e-8


@dataclass(frozen=True)
class Averages:
    """What is kept for one parameter.

    Attributes:
        step: 0-dim float32, how often it has moved.
        exp_avg: running mean of its gradient.
        exp_avg_sq: running mean of its gradient's square.
    """

    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @classmethod
    def zero(cls, parameter: Tensor) -> "Averages":
        """Return what there is before the first step, in the parameter's memory format."""
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return cls(step, torch.zeros_like(parameter), torch.zeros_like(parameter))


Moving = tuple[nn.Parameter, Tensor, Averages]
"""A parameter, its gradient in the same memory format, and what is kept for it."""


class Adam:
    """Kingma & Ba 2015, algorithm 1, for one network's parameters.

    Args:
        parameters: that it moves.
        schedule: of α.
        betas: β₁ and β₂.
        weight_decay: times the weight, added to its gradient, where a parameter has more than one dimension: neither
            biases nor batch-norm's parameters.

    Attributes:
        learning_rate: of the next step; a rate that falls is a 0-dim float32 tensor on the parameters' device, since a
            recorded step reads it anew each time it is replayed.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        schedule: Schedule,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.schedule = schedule
        self.betas = betas
        self.weight_decay = weight_decay
        self.learning_rate: float | Tensor = schedule.start
        if schedule.falls:
            self.learning_rate = torch.tensor(schedule.start, dtype=torch.float32, device=self.parameters[0].device)
        self.state: dict[int, Averages] = {}

    def anneal(self, images_seen: int) -> None:
        """Set the rate of the step that follows after so many images."""
        if isinstance(self.learning_rate, Tensor):
            self.learning_rate.fill_(self.schedule.rate(images_seen))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], moves: Tensor) -> None:
        """Move each parameter that has a gradient.

        Args:
            gradients: one for each parameter, or None.
            moves: 0-dim boolean on the parameters' device, never read by the host; False leaves all as it is.
        """
        moving = [
            (parameter, _laid_out_as(parameter, gradient), self._averages(index, parameter))
            for index, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True))
            if gradient is not None
        ]
        if not moving:
            return
        torch._foreach_add_([averages.step for _, _, averages in moving], moves.float())
        stays = (~moves).float()
        for weight_decay, part in self._by_decay(moving):
            self._move(part, weight_decay, stays)

    def _by_decay(self, moving: list[Moving]) -> Iterator[tuple[float, list[Moving]]]:
        """Yield the parameters that decay, and those that don't: the kernel takes one factor for all of its call."""
        if not self.weight_decay:
            yield 0.0, moving
            return
        for weight_decay, decays in ((self.weight_decay, True), (0.0, False)):
            if part := [each for each in moving if (each[0].ndim > 1) == decays]:
                yield weight_decay, part

    def _move(self, moving: list[Moving], weight_decay: float, stays: Tensor) -> None:
        parameters, laid_out, averages = map(list, zip(*moving, strict=True))
        torch._fused_adam_(
            parameters,
            laid_out,
            [m.exp_avg for m in averages],
            [m.exp_avg_sq for m in averages],
            [],
            [m.step for m in averages],
            lr=self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=stays,  # where a gradient scaler says so, the kernel leaves everything as it is
        )

    def dump(self) -> dict[str, Tensor]:
        """Return its state as tensors under `parameter index/key`."""
        return {
            f"{index}/{key}": getattr(averages, key)
            for index, averages in sorted(self.state.items())
            for key in ("step", "exp_avg", "exp_avg_sq")
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `dump` returned.

        Raises:
            KeyError: a part is missing.
            ValueError: a part is of no parameter, or of another shape.
        """
        self.state = {}
        for index in sorted({int(path.partition("/")[0]) for path in tensors}):
            if index >= len(self.parameters):
                raise ValueError(f"there is no parameter {index}")
            averages = Averages.zero(self.parameters[index])
            for key in ("step", "exp_avg", "exp_avg_sq"):
                there, value = getattr(averages, key), tensors[f"{index}/{key}"]
                if there.shape != value.shape:
                    raise ValueError(f"{key} of parameter {index} is {tuple(value.shape)}, not {tuple(there.shape)}")
                there.copy_(value)
            self.state[index] = averages

    def _averages(self, index: int, parameter: Tensor) -> Averages:
        if index not in self.state:
            self.state[index] = Averages.zero(parameter)
        return self.state[index]


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient in its parameter's memory format: the kernel pairs them by place in memory."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
