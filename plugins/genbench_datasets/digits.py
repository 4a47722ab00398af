"""scikit-learn's digits, 8×8 pixels: the test part of Alpaydin & Kaynak, "Optical Recognition …" (UCI 1998)."""

import numpy as np

from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.pictures import one_hot, resize_grey, split_by_index


class Digits(Dataset):
    """1,797 digits in scikit-learn's order: the first 70 % train, the next 10 % validate, the last 20 % test."""

    def prepare(self, request: DataRequest) -> ImageSet:
        from sklearn.datasets import load_digits

        digits = load_digits()
        levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        count = len(levels)
        train, fit = count * 7 // 10, count * 8 // 10
        splits = split_by_index(train, fit - train, count - fit)
        images = resize_grey(levels, request.size, request.progress)
        names = tuple(f"digit-{digit}" for digit in range(10))
        return ImageSet(images, splits, one_hot(digits.target.astype(np.uint8), 10), names)
