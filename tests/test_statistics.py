"""What seeds can tell: against SciPy's own tests, worked examples, and simulation."""

import sys
from collections.abc import Callable

import pytest

np = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats")

from hypothesis import given, settings  # noqa: E402 - the others may be missing
from hypothesis import strategies as st  # noqa: E402

from genbench.statistics import (  # noqa: E402
    ALPHA,
    Difference,
    Sample,
    Standing,
    differences,
    half_widths,
    holm,
    moments,
    standings,
    t_tests,
)

NAN = float("nan")
FIRST = [0.31, 0.35, 0.29, 0.40, 0.33]
SECOND = [0.42, 0.41, 0.37, 0.49, 0.46]


def sample(values: list[float], first: int = 0) -> Sample:
    return dict(enumerate(values, first))


def rank(samples: list[Sample], direction: str = "lower") -> list[int | None]:
    return [found and found.rank for found in standings(samples, direction)]  # type: ignore[arg-type]


# against SciPy


@pytest.mark.parametrize("n", [2, 3, 5, 30, 1000])
def test_intervals_are_those_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(5, 2, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert half_widths([values.std(ddof=1)], [n]) == pytest.approx([(high - low) / 2], rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_paired_tests_are_those_of_scipy(n: int) -> None:
    draw = np.random.default_rng(n)
    for _ in range(20):
        a, b = draw.normal(0, 1, n), draw.normal(0.5, 3, n)
        (nothing, found) = differences([sample(list(a)), sample(list(b))], 0)
        expected = stats.ttest_rel(b, a)
        interval = expected.confidence_interval(0.95)
        assert nothing is None
        assert found is not None
        assert found.paired
        assert found.value == pytest.approx((b - a).mean())
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.half_width == pytest.approx((interval.high - interval.low) / 2)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 7), (5, 3), (12, 40)])
def test_welch_tests_are_those_of_scipy(n: int, m: int) -> None:
    draw = np.random.default_rng(n + m)
    for _ in range(20):
        a, b = draw.normal(0, 1, n), draw.normal(1, 5, m)
        found = differences([sample(list(a)), sample(list(b), first=n - 1)], 0)[1]  # one shared seed is none
        expected = stats.ttest_ind(b, a, equal_var=False)
        interval = expected.confidence_interval(0.95)
        assert found is not None
        assert not found.paired
        assert found.value == pytest.approx(b.mean() - a.mean())
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_a_paired_test_is_over_the_shared_seeds_alone() -> None:
    a, b = {0: 1.0, 1: 2.0, 2: 4.0, 9: 100.0}, {0: 1.5, 1: 2.25, 2: 4.5, 7: -100.0}
    found = differences([a, b], 0)[1]
    expected = stats.ttest_rel([1.5, 2.25, 4.5], [1.0, 2.0, 4.0])
    assert found is not None
    assert (found.value, found.paired) == (pytest.approx(1.25 / 3), True)
    assert found.p == pytest.approx(expected.pvalue)


def test_a_matrix_of_pairs_is_tested_as_each_pair_is() -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(size=(6, 12))
    values[draw.random(values.shape) < 0.4] = NAN
    first, second = np.triu_indices(12, 1)
    tests = t_tests(values, first, second)
    for i, j, p, paired in zip(first, second, tests.p, tests.paired, strict=True):
        a, b = values[:, i], values[:, j]
        both = ~np.isnan(a) & ~np.isnan(b)
        here, there = a[~np.isnan(a)], b[~np.isnan(b)]
        assert paired == (both.sum() > 1)
        if paired:
            assert p == pytest.approx(stats.ttest_rel(a[both], b[both]).pvalue)
        elif min(len(here), len(there)) > 1:
            assert p == pytest.approx(stats.ttest_ind(here, there, equal_var=False).pvalue)
        else:
            assert np.isnan(p)


def test_very_many_pairs_are_tested_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(5, 40))
    first, second = np.triu_indices(40, 1)
    whole = t_tests(values, first, second)
    monkeypatch.setattr("genbench.statistics._MOST_VALUES", 35)
    parts = t_tests(values, first, second)
    assert np.array_equal(whole.p, parts.p)
    assert np.array_equal(whole.difference, parts.difference)


def test_p_values_that_can_not_be_significant_are_not_computed() -> None:
    values = np.random.default_rng(1).normal(size=(4, 30)) + np.linspace(0, 6, 30)
    first, second = np.triu_indices(30, 1)
    exact, quick = t_tests(values, first, second), t_tests(values, first, second, only_significance=True)
    assert np.array_equal(exact.p <= ALPHA, quick.p <= ALPHA)
    assert np.array_equal(holm(exact.p) <= ALPHA, holm(quick.p) <= ALPHA)
    assert (quick.p == 1).any()
    assert (quick.p < 1).any()


def test_moments_leave_out_what_is_missing() -> None:
    found = moments(np.array([[1.0, NAN, 0.1], [3.0, 2.0, 0.1], [NAN, NAN, 0.1]]))
    assert found.n.tolist() == [2, 1, 3]
    assert found.mean.tolist() == [2.0, 2.0, 0.1]
    assert found.variance.tolist() == [2.0, 0.0, 0.0]


# Holm


def test_holm_corrects_as_worked_by_hand() -> None:
    # ordered 0.005 × 4, 0.01 × 3, 0.03 × 2, and 0.04 × 1, which may not be less than the one before it
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = holm(np.array([NAN, 0.02, NAN, 0.6]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]].tolist() == pytest.approx([0.04, 0.6])
    assert holm(np.array([])).tolist() == []
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_never_makes_p_less(values: list[float]) -> None:
    p = np.array(values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    # step by step: the smallest p alone is held against all tests
    assert adjusted.min() == pytest.approx(min(1, len(values) * min(values)))


# no spread


def test_equal_values_do_not_differ_and_others_without_spread_do() -> None:
    found = differences([sample([0.1] * 3), sample([0.1] * 3), sample([0.3] * 3)], 0)
    assert found[1] == Difference(0.0, 0.0, 1.0, paired=True)
    assert found[2] is not None
    assert (found[2].p, found[2].significant) == (0.0, True)
    assert found[2].half_width == 0.0
    unpaired = differences([sample([0.5, 0.5]), sample([0.5, 0.5], 5), sample([0.75, 0.75], 5)], 0)
    assert unpaired[1] == Difference(0.0, 0.0, 1.0, paired=False)
    assert unpaired[2] == Difference(0.25, 0.0, 0.0, paired=False)


def test_a_difference_that_is_the_same_for_all_seeds_is_one() -> None:
    found = differences([sample([1.0, 2.0, 4.0]), sample([1.5, 2.5, 4.5])], 0)[1]
    assert found == Difference(0.5, 0.0, 0.0, paired=True)


def test_the_largest_and_the_least_numbers_are_no_trouble() -> None:
    huge = sys.float_info.max
    found = differences([sample([huge, -huge]), sample([-huge, huge / 2]), sample([5e-324, 0.0])], 0)
    assert all(np.isfinite([d.value, d.half_width, d.p]).all() for d in found[1:] if d)
    assert np.isfinite(half_widths([huge], [2])).all()
    tiny = differences([sample([5e-324, 1e-323]), sample([1.5e-323, 2e-323])], 0)[1]
    assert tiny is not None
    assert tiny.p == 0.0
    assert rank([sample([0.0, 0.0]), sample([0.0, 0.0])]) == [1, 1]


# too few


def test_one_seed_tells_nothing() -> None:
    found = differences([{0: 1.0}, {0: 2.0}, {}, sample([5.0, 6.0])], 0)
    assert found == [None, Difference(1.0), None, Difference(4.5)]
    assert not Difference(1.0).significant
    assert standings([{0: 1.0}, {0: 2.0}], "lower") == [None, None]
    assert standings([{0: 1.0}, sample([1.0, 2.0]), {}], "lower") == [None, None, None]
    assert differences([{}, sample([1.0, 2.0])], 0) == [None, None]
    assert differences([sample([1.0, 2.0])], 0) == [None]
    assert standings([], "lower") == []


def test_rows_with_one_seed_are_left_out_of_the_family() -> None:
    two = [sample(FIRST), sample(SECOND)]
    single: list[Sample] = [{0: 0.1}, {1: 0.2}]
    assert standings([*two, *single], "lower") == [*standings(two, "lower"), None, None]


# ranks


@pytest.mark.parametrize(("direction", "places"), [("lower", [1, 2]), ("higher", [2, 1])])
def test_the_significantly_better_comes_first(direction: str, places: list[int]) -> None:
    found = standings([sample(FIRST), sample(SECOND)], direction)  # type: ignore[arg-type]
    assert found == [Standing(place, place == 1) for place in places]


def test_what_is_not_significantly_worse_is_level() -> None:
    noisy = sample([0.1, 0.9, 0.2, 0.6, 0.5])
    assert rank([sample(FIRST), noisy, sample(SECOND)]) == [1, 1, 2]
    assert standings([sample(FIRST), noisy], "lower") == [Standing(1, best=False)] * 2
    # Level with all, it is level with the best: nobody could say which of them is.
    assert [found and found.best for found in standings([sample(FIRST), noisy, sample(SECOND)], "lower")] == [
        True,
        True,
        False,
    ]


def test_a_rank_counts_the_rows_that_are_better() -> None:
    rows = [sample([v + 10 * i for v in FIRST]) for i in range(4)]
    assert rank(rows) == [1, 2, 3, 4]
    assert rank(rows, "higher") == [4, 3, 2, 1]
    assert rank([rows[0], rows[0], rows[3]]) == [1, 1, 3]


def test_a_pair_that_is_significant_alone_need_not_be_among_many() -> None:
    a, b = sample([1.0, 1.1, 1.2]), sample([1.32, 1.40, 1.58])
    others = [sample([5.0, 0.0, 2.0]), sample([4.0, 1.0, -2.0]), sample([0.0, 3.0, 3.0])]
    assert rank([a, b]) == [1, 2]
    assert rank([a, b, *others]) == [1] * 5


# by simulation

Draw = Callable[["np.random.Generator", int, int], list[Sample]]


def paired(draw: "np.random.Generator", rows: int, n: int) -> list[Sample]:
    """Rows share what a seed does to all of them."""
    values = draw.normal(size=(rows, n)) + draw.normal(scale=3, size=n)
    return [sample(row.tolist()) for row in values]


def unpaired(draw: "np.random.Generator", rows: int, n: int) -> list[Sample]:
    return [sample(row.tolist(), n * i) for i, row in enumerate(draw.normal(size=(rows, n)))]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("rows", [2, 3, 6])
@pytest.mark.parametrize("kind", [paired, unpaired])
def test_without_a_difference_one_is_seldom_found(kind: Draw, rows: int, n: int) -> None:
    draw, trials = np.random.default_rng([rows, n]), 1000
    false = sum(
        any(found and found.rank > 1 for found in standings(kind(draw, rows, n), "lower")) for _ in range(trials)
    )
    # a binomial of that chance is above this bound less than once in 1000 times
    assert false <= stats.binom.ppf(0.999, trials, ALPHA)
    if rows == 2 and kind is paired:
        assert false >= stats.binom.ppf(0.001, trials, ALPHA)


@pytest.mark.parametrize("n", [3, 5])
def test_without_a_difference_from_the_baseline_one_is_seldom_found(n: int) -> None:
    draw, trials = np.random.default_rng(n), 1000
    false = sum(any(d and d.significant for d in differences(paired(draw, 5, n), 2)) for _ in range(trials))
    assert false <= stats.binom.ppf(0.999, trials, ALPHA)


def test_true_differences_do_not_raise_the_rate_of_false_ones() -> None:
    draw, trials, false = np.random.default_rng(7), 1000, 0
    for _ in range(trials):
        rows = paired(draw, 4, 5)
        rows[3] = {seed: value + 50 for seed, value in rows[3].items()}
        false += any(found and found.rank > 1 for found in standings(rows, "lower")[:3])
    assert false <= stats.binom.ppf(0.999, trials, ALPHA)


@pytest.mark.parametrize("kind", [paired, unpaired])
def test_a_large_difference_is_found(kind: Draw) -> None:
    draw, trials, found = np.random.default_rng(11), 200, 0
    for _ in range(trials):
        rows = kind(draw, 4, 5)
        rows[0] = {seed: value - 15 for seed, value in rows[0].items()}
        found += rank(rows)[0] == 1 and rank(rows)[1:] == [2, 2, 2]
    assert found > 0.8 * trials


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=5), max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_sign_do_not_matter(rows: list[list[float]], draw: "np.random.Generator") -> None:
    samples = [sample(row) for row in rows]
    found = standings(samples, "lower")
    assert standings([{s: -v for s, v in each.items()} for each in samples], "higher") == found
    order = list(range(len(rows)))
    draw.shuffle(order)
    assert standings([samples[i] for i in order], "lower") == [found[i] for i in order]
