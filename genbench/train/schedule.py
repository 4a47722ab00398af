"""How the learning rate falls over a run: by the images seen alone, so that a resumed run goes on as it was."""

import math
from dataclasses import dataclass

from genbench.config import TrainingConfig
from genbench.errors import GenbenchError
from genbench.interfaces import Model


@dataclass(frozen=True)
class Schedule:
    """One network's learning rate.

    Attributes:
        start: before the first step.
        end: what it falls to by the end of the budget; `start` where it stays.
        power: of the part of the budget that has been seen.
        images: the budget.
    """

    start: float
    end: float
    power: float
    images: int

    @property
    def falls(self) -> bool:
        """Whether it is ever another than at the start."""
        return self.end != self.start

    def rate(self, images_seen: int) -> float:
        """Return the rate of the step that follows after so many images: start - t^power·(start - end)."""
        t = min(images_seen / self.images, 1.0)
        return self.start - math.pow(t, self.power) * (self.start - self.end)


def schedules(model: Model, config: TrainingConfig) -> dict[str, Schedule]:
    """Return the schedule of each network; the discriminator's rate falls in proportion to the others'.

    Raises:
        GenbenchError: a discriminator has a rate of its own, and there is none.
    """
    own = config.discriminator_learning_rate
    if own is not None and "discriminator" not in model.networks:
        raise GenbenchError(
            f"setting `training.discriminator_learning_rate`: {type(model).__name__} has no network `discriminator`",
            f"it has {', '.join(model.networks)}; leave the setting out",
        )
    end = config.learning_rate if config.learning_rate_end is None else config.learning_rate_end
    starts = {name: own if own and name == "discriminator" else config.learning_rate for name in model.networks}
    return {
        name: Schedule(start, start * (end / config.learning_rate), config.learning_rate_power, config.images)
        for name, start in starts.items()
    }
