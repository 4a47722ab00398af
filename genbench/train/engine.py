"""A training step, and the engine that executes it eagerly; `engines.py` has the others. The numbers are the same.

A step is seed → draw the batch → gradients → are they finite? → move, and never waits for the device: gates and checks
are tensors there, and what it logs is summed up there (`Ledger`).
"""

from dataclasses import dataclass

from genbench.data.batches import Batches
from genbench.data.fetching import Staged
from genbench.interfaces import Model
from genbench.train.distributed import average
from genbench.train.ledger import Ledger
from genbench.train.optimisers import Optimisers, anneal, step
from genbench.train.precision import Precision, autocast


@dataclass(frozen=True)
class Trainer:
    """All that a step needs.

    Attributes:
        seed: of the run.
    """

    model: Model
    batches: Batches
    optimisers: Optimisers
    ledger: Ledger
    precision: Precision
    seed: int

    def prepare(self, images_seen: int) -> Staged:
        """Do what the host has to do for a step.

        Seed its noise, set its learning rates, and put its images' places, or the images, there.
        """
        self.batches.share.seed(self.seed, "step", images_seen)
        anneal(self.optimisers, images_seen)
        return self.batches.stage(images_seen)

    def execute(self, staged: Staged, images_seen: int) -> None:
        """Do all the rest, on the device."""
        batch = self.batches.assemble(staged, images_seen)
        with autocast(self.precision, batch.images.device):
            own = self.model.gradients(batch)
        gradients = average(own, self.model.networks, self.batches.share)
        well = self.ledger.add(gradients)
        step(self.optimisers, gradients, well)


class Engine:
    """Executes steps eagerly; the others differ in `step` alone.

    Attributes:
        name: as in the record.
        log_steps: steps between two readings of the ledger.
    """

    name = "eager"

    def __init__(self, trainer: Trainer, log_steps: int) -> None:
        self.trainer = trainer
        self.log_steps = log_steps
        self.fallback: str | None = None

    def step(self, images_seen: int) -> None:
        """Train on the batch that follows after so many images."""
        self.trainer.execute(self.trainer.prepare(images_seen), images_seen)
