"""Calibration, and the rule for what a classifier tells: against known truths."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit
from scipy.stats import binom

from genbench.evaluate.calibration import (
    balanced_accuracy,
    balanced_accuracy_bound,
    expected_calibration_error,
    fit_slopes,
)

Array = npt.NDArray[np.float64]


def gaussians(count: int, prevalence: float, distance: float, seed: int = 0) -> tuple[Array, Array, Array]:
    """Draw one number from N(±d, 1) by an attribute; return its true log-likelihood ratio, the labels, the prior."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((count, 1)) < prevalence).astype(float)
    seen = generator.normal(size=(count, 1)) + distance * (2 * labels - 1)
    return 2 * distance * seen, labels, np.array([np.log(prevalence / (1 - prevalence))])


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    ratio, labels, prior = gaussians(20_000, 0.2, 1.0)
    slopes = fit_slopes(ratio * temperature, labels, prior)
    assert slopes == pytest.approx(1 / temperature, rel=0.04)
    calibrated, spoiled = (
        expected_calibration_error(expit(prior + scale * ratio * temperature), labels) for scale in (slopes, 1.0)
    )
    assert calibrated < 0.01
    assert temperature == 1 or spoiled > 0.03


def test_each_attribute_has_its_own_where_there_are_examples_for_it() -> None:
    parts = [gaussians(20_000, share, 1.0, seed) for seed, share in enumerate((0.5, 0.3))]
    evidence = np.concatenate([parts[0][0] * 2.0, parts[1][0] * 1.0], 1)
    labels = np.concatenate([parts[0][1], parts[1][1]], 1)
    slopes = fit_slopes(evidence, labels, np.concatenate([part[2] for part in parts]))
    assert slopes == pytest.approx([0.5, 1.0], rel=0.05)


def test_a_few_examples_carry_no_slope_away() -> None:
    many, few = gaussians(5_000, 0.5, 1.0), gaussians(5_000, 0.5, 1.0, 1)
    evidence = np.concatenate([many[0] * 2, few[0] * 2], 1)
    labels = np.concatenate([many[1], np.zeros_like(few[1])], 1)
    labels[:2, 1] = 1
    evidence[:, 1] = np.where(labels[:, 1] > 0, 30.0, -30.0)  # two positives, perfectly separated
    slopes = fit_slopes(evidence, labels, np.array([0.0, np.log(2 / 4998)]))
    assert 0.4 < slopes[1] < 0.8


def test_perfect_separation_is_not_taken_for_certainty() -> None:
    labels = np.repeat([[0.0], [1.0]], 50, axis=0)
    assert 0.5 < fit_slopes(20 * labels - 10, labels, np.zeros(1))[0] < 3


def test_evidence_that_misleads_is_played_down() -> None:
    ratio, labels, prior = gaussians(5_000, 0.5, 1.0)
    assert 0 < fit_slopes(-ratio, labels, prior)[0] < 0.1


def test_the_calibration_error_is_by_hand() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], float)
    said = np.array([[0.99, 0.1], [0.98, 0.1], [0.4, 0.1], [0.41, 0.1]])
    # bins of 1/15: 0.98 and 0.99 share one, 0.4 and 0.41 another
    assert expected_calibration_error(said, labels) == pytest.approx([(0.03 + 0.81) / 4, 0.15])
    assert expected_calibration_error(np.array([[1.0], [0.0]]), np.array([[1.0], [0.0]])) == 0


def test_the_bound_is_by_hand() -> None:
    labels = np.repeat([1.0, 0.0], [10, 20])[:, None]
    hits = np.ones_like(labels)
    hits[:3] = 0  # 7 of 10 with it, 20 of 20 without
    # Exact limits: 7 of 10 or more right have probability 5 % at a rate of 0.3934, 20 of 20 at 0.05^(1/20).
    assert binom.sf(6, 10, 0.39338) == pytest.approx(0.05, abs=1e-4)
    error = np.hypot(0.7 - 0.39338, 1 - 0.05 ** (1 / 20)) / 2
    assert balanced_accuracy_bound(hits, labels) == pytest.approx(0.85 - error, abs=1e-4)
    assert balanced_accuracy(hits, labels) == pytest.approx((0.7 + 1) / 2)


def chance_of_passing(positives: int, negatives: int, yes: float) -> float:
    """Return how probably a bound lies above 0.5 where images get a yes at random, exactly."""
    labels = np.repeat([1.0, 0.0], [positives, negatives])[:, None]
    cases = np.array([(h, n) for h in range(positives + 1) for n in range(negatives + 1)])
    places = np.arange(positives + negatives)[:, None]
    hits = np.where(places < positives, places < cases[:, 0], places - positives < cases[:, 1]).astype(float)
    passed = balanced_accuracy_bound(hits, labels.repeat(len(cases), 1)) > 0.5
    odds = binom.pmf(cases[:, 0], positives, yes) * binom.pmf(cases[:, 1], negatives, 1 - yes)
    return float((odds * passed).sum())


@pytest.mark.parametrize("positives", [1, 2, 3, 5, 10, 50])
def test_answers_without_a_look_pass_once_in_twenty(positives: int) -> None:
    for yes in (0.03, 0.07, 0.2, 0.35, 0.5, 0.8, 0.97):
        assert chance_of_passing(positives, 100, yes) < 0.05


def test_knowledge_passes_but_not_on_no_example() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 1000)) < 0.3).astype(float)
    hits = (generator.random(labels.shape) < 0.7).astype(float)
    assert (balanced_accuracy_bound(hits, labels) > 0.5).mean() > 0.99
    nobody = np.zeros((300, 1))
    assert balanced_accuracy_bound(np.ones_like(nobody), nobody)[0] < 0.5
