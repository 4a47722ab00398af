"""The film of a training: the same latents decoded, and the same images reconstructed, again and again.

Frames are looked at and nothing else: they take no random numbers from training, and move no weight.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable, explained
from genbench.images import grid_png, to_float, to_uint8
from genbench.interfaces import Batch, Model
from genbench.networks import seeded
from genbench.store import RunFolder, write_atomic
from genbench.train.precision import training_in

FRAMES = 24
"""After the first; closer together at the beginning, where more happens."""
WIDTH, FEWEST, MOST = 512, 2, 8
"""Of a frame in pixels, as nearly as so many images stand beside each other."""


def columns(size: int) -> int:
    """Return how many images of a side stand beside each other in a frame."""
    return min(max(WIDTH // size, FEWEST), MOST)


@dataclass
class Film:
    """Takes frames of a model in training, at milestones that its budget and batch size set alone.

    A frame has a row of samples, and where the model has an encoder, one of real images and one of what it makes of
    them. A frame that can't be taken ends the film, and not the training.

    Args:
        model: in training mode before and after.
        real: uint8 (N, C, H, W), on the CPU.
        config: of the run.
        folder: of the run.
        say: is told why there is no film, if so.
    """

    model: Model
    real: Tensor
    config: RunConfig
    folder: RunFolder
    say: Callable[[str], None]
    over: bool = False

    def take_due(self, images_seen: int) -> None:
        """Take the frame that is due after so many images, if one is.

        Raises:
            GenbenchError: it can't be written.
        """
        if self.over or not self._due(images_seen):
            return
        try:
            rows = self._rows()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a model may train well and yet decode to what can't be shown
            self.over = True
            self.say(f"note: no film of the training: {explained(error)}")
            return
        write_atomic(frame_path(self.folder, images_seen), grid_png(rows, len(self.real)))

    def _due(self, images_seen: int) -> bool:
        """Whether a milestone was passed with the last step; so a resumed run takes the same frames."""
        budget, step = self.config.training.images, self.config.training.batch_size
        milestones = (round(budget * (frame / FRAMES) ** 2) for frame in range(FRAMES + 1))
        return any(images_seen - step < milestone <= images_seen for milestone in milestones)

    @torch.no_grad()
    def _rows(self) -> Tensor:
        """Return the images of a frame, uint8 (rows · N, C, H, W), on the CPU."""
        device, count = next(self.model.parameters()).device, len(self.real)
        real = to_float(self.real.to(device))
        self.model.eval()
        try:
            with training_in("float32"), seeded(self.config.seed, "film"):
                latents = torch.randn(count, self.config.network.latent_size).to(device)
                shown = [self.model.decode(latents)]
                with suppress(NotApplicable):
                    shown += [real, self.model.decode(self.model.encode(Batch(real)).mean)]
        finally:
            self.model.train()
        return to_uint8(torch.cat(shown).clamp(-1, 1)).cpu()


def frame_path(folder: RunFolder, images_seen: int) -> Path:
    """Return where a frame is kept."""
    return folder.film_path / f"{images_seen:012d}.png"


def load_film(
    model: Model, data: PackedDataset, config: RunConfig, folder: RunFolder, say: Callable[[str], None]
) -> Film:
    """Return the film of a run that is about to train; its images are the first that validate, else that train."""
    validation = data.indices("validation")
    places = (validation if len(validation) else data.indices("train"))[: columns(data.size)]
    real = torch.from_numpy(data.images[places]).permute(0, 3, 1, 2).contiguous()
    return Film(model, real, config, folder, say)
