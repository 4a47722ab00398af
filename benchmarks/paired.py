"""Differences between two sides that share their seeds: what the pages of results say of them."""

from collections.abc import Sequence
from statistics import mean, stdev

from genbench.statistics import half_widths


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of two or more differences, one a seed, and half of Student's 95 % interval around it."""
    return mean(differences), half_widths([stdev(differences)], [len(differences)])[0]
