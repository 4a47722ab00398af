"""Differences between two sides that share their seeds: what the pages of results say of them."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev

from scipy.stats import t


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of two or more differences, one a seed, and half of Student's 95 % interval around it."""
    count = len(differences)
    return mean(differences), float(t.ppf(0.975, count - 1)) * stdev(differences) / sqrt(count)
