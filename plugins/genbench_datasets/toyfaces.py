"""Toy faces: drawn portraits whose every factor is known, so that the true effect of an attribute is too."""

import numpy as np
import numpy.typing as npt

from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.faces_drawing import render
from genbench_datasets.faces_factors import ATTRIBUTES, Factors, sample_factors
from genbench_datasets.pictures import split_by_index
from genbench_datasets.settings import ToyFacesSettings

__all__ = ["ATTRIBUTES", "Factors", "ToyFaces", "render", "sample_factors"]


class ToyFaces(Dataset):
    """Drawn faces; the first 80 % train, the next 10 % validate, the last 10 % test."""

    version = 1

    def __init__(self, settings: ToyFacesSettings) -> None:
        self.settings = settings

    def prepare(self, request: DataRequest) -> ImageSet:
        count = self.settings.count
        factors = sample_factors(count, self.settings.seed)
        images = render(factors, request.size, request.progress)
        tenth = count // 10
        splits = split_by_index(count - 2 * tenth, tenth, tenth)
        return ImageSet(images, splits, factors.attributes, ATTRIBUTES)

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> npt.NDArray[np.uint8]:
        factors = sample_factors(self.settings.count, self.settings.seed).select(indices)
        return render(factors.flipped(attribute), size)
