"""How far a classifier's probabilities can be believed, and whether it tells an attribute at all; pure."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, expit

Floats = npt.NDArray[np.floating[Any]]

BINS = 15
"""Of the expected calibration error, as Guo et al. 2017 have them."""

SHARED_SPREAD = 1.0
OWN_SPREAD = 0.1
"""Standard deviations, relative to where they are centred, of the slopes' priors. The second was chosen by five-fold
cross validation on CelebA's 828 validation images (32 px), from 0.02 to 1: attributes differ little in their slopes."""

SMALLEST, LARGEST = 0.02, 50.0
"""Slopes looked for; the priors keep them far from either, but for evidence that misleads, which ends at the first."""

CONFIDENCE = 0.95
"""Of `balanced_accuracy_bound`."""


def fit_slopes(evidence: Floats, labels: Floats, prior: Floats) -> Floats:
    """Return each attribute's slope a, which makes prior + a·evidence the most likely log-odds of the labels.

    1/a is the temperature of Guo et al. 2017 (section 4.2), applied to what the image says and not to what was known
    before: the prior log-odds are those of the training split, so there is no offset to estimate, and the threshold of
    balanced accuracy stays where it is. One slope is fitted to all attributes, around 1; each attribute's own around
    that one, so that few examples, or perfectly separated ones, can't carry it away.

    Args:
        evidence: (N, A), the classifier's log-odds less the prior's.
        labels: (N, A) in {0, 1}.
        prior: (A,), log-odds before an image is seen.
    """
    spread_out = np.broadcast_to(prior, evidence.shape).reshape(-1, 1)
    shared = _most_likely(evidence.reshape(-1, 1), labels.reshape(-1, 1), spread_out, np.ones(1), SHARED_SPREAD)
    return _most_likely(evidence, labels, prior, shared.repeat(evidence.shape[1]), OWN_SPREAD)


def _most_likely(evidence: Floats, labels: Floats, prior: Floats, centre: Floats, spread: float) -> Floats:
    """Minimise cross entropy + ((a/centre - 1)/spread)²/2 in each column; convex, so its slope has one zero."""
    low, high = np.full(len(centre), SMALLEST), np.full(len(centre), LARGEST)
    for _ in range(40):
        slope = np.sqrt(low * high)
        wrong = expit(prior + slope * evidence) - labels
        rising = (wrong * evidence).sum(0) + (slope / centre - 1) / (spread**2 * centre) > 0
        low, high = np.where(rising, low, slope), np.where(rising, slope, high)
    found: Floats = np.sqrt(low * high)
    return found


def expected_calibration_error(probabilities: Floats, labels: Floats) -> Floats:
    """Return, for each attribute, how far its predicted probabilities are from the shares that they stand for, (A,).

    The mean over images of |mean probability - share that has it| of the image's bin (Guo et al. 2017, eq. 3), on the
    probability of having the attribute (Kull et al. 2019's classwise error), in `BINS` bins of one width.
    """
    count, attributes = probabilities.shape
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    excess = probabilities - labels
    sums = [np.bincount(bins[:, k], weights=excess[:, k], minlength=BINS) for k in range(attributes)]
    errors: Floats = np.abs(np.array(sums)).sum(1) / count
    return errors


def balanced_accuracy_bound(hits: Floats, labels: Floats) -> Floats:
    """Return the lower end of each balanced accuracy's one-sided 95 % interval, (A,).

    The exact limits of the two rates, that of images with the attribute and of those without (Clopper & Pearson 1934),
    combined as by Newcombe 1998 (method 10; Zou & Donner 2008). A classifier that answers without looking, however
    often yes, comes out above 0.5 in at most one case of twenty, be there only one image with the attribute.

    Args:
        hits: (N, A) in {0, 1}: whether the classifier is right.
        labels: (N, A) in {0, 1}.
    """
    rates, slacks = [], []
    for side in (labels, 1 - labels):
        right, trials = (hits * side).sum(0), side.sum(0)
        rate = right / np.maximum(trials, 1)
        least = np.where(right > 0, betaincinv(np.maximum(right, 1), trials - right + 1, 1 - CONFIDENCE), 0.0)
        rates.append(rate)
        slacks.append(rate - least)
    bound: Floats = (rates[0] + rates[1] - np.hypot(slacks[0], slacks[1])) / 2
    return bound


def balanced_accuracy(hits: Floats, labels: Floats) -> Floats:
    """Return the mean of the accuracies on images with and without each attribute, (A,); NaN where one is lacking."""
    with np.errstate(invalid="ignore"):
        sides = [(hits * side).sum(0) / side.sum(0) for side in (labels, 1 - labels)]
    both: Floats = (sides[0] + sides[1]) / 2
    return both
