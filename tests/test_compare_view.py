"""Which columns a leaderboard shows, in which order of rows, and differences from a baseline."""

import pytest
from leaderboards import boards, cells, lost, make_record, only, ranks, scores, seeds

from genbench.compare import Table
from genbench.errors import GenbenchError
from genbench.records import Record, Unscored

A, B, C = [0.31, 0.35, 0.29, 0.40, 0.33], [0.42, 0.41, 0.37, 0.49, 0.46], [0.52, 0.55, 0.51, 0.62, 0.50]
LABELLED = [
    make_record("gan", None),
    make_record("vae", "mse"),
    make_record("vae-dis-l", "dis-l"),
    make_record("vaegan", "dis-l", gamma=0.1),
    make_record("vaegan", "dis-l", gamma=0.5),
]


def names(table: Table) -> list[str]:
    return [f"{column.name}{column.mark}" for column in table.columns]


def labels(table: Table) -> list[str]:
    return [row.label for row in table.rows]


def two_protocols() -> list[Record]:
    return [
        make_record("vae", "a", scores={"fid": 3.0, "mse": 1.0}, protocol={"n": 1}),
        make_record("vae", "b", scores={"fid": 2.0, "mse": 2.0}, protocol={"n": 1}),
        make_record("vae", "c", scores={"fid": 1.0}, protocol={"n": 2}),
    ]


# metrics


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ((), ["mse", "ssim", "similarity-l1", "similarity-mse", "images_per_s", "train_s"]),
        (("ssim", "mse"), ["ssim", "mse"]),
        (("similarity-*",), ["similarity-l1", "similarity-mse"]),
        (("s*", "mse"), ["ssim", "similarity-l1", "similarity-mse", "mse"]),
        (("time", "mse", "img/s"), ["train_s", "mse", "images_per_s"]),
        (("*_s", "time"), ["images_per_s", "train_s"]),
    ],
)
def test_metrics_are_chosen_in_order(metrics: tuple[str, ...], expected: list[str]) -> None:
    values = {"mse": 1.0, "ssim": 2.0, "similarity-l1": 3.0, "similarity-mse": 4.0}
    assert names(only([make_record(scores=values)], metrics=metrics)) == expected


def test_a_name_stands_for_all_its_columns_and_with_a_number_for_one() -> None:
    assert names(only(two_protocols(), metrics=("fid",))) == ["fid¹", "fid²"]
    for name in ("fid^2", "fid²"):
        assert names(only(two_protocols(), metrics=(name,))) == ["fid²"]
    assert names(only([make_record()], metrics=("mse^1",))) == ["mse"]
    with pytest.raises(GenbenchError, match="unknown metric `fid\\^3`"):
        only(two_protocols(), metrics=("fid^3",))


def test_notes_are_of_the_columns_that_are_shown() -> None:
    def record(seed: int, scores: dict[str, float]) -> Record:
        made = make_record(seed=seed, scores=scores, skipped=(Unscored(evaluator="fid", reason="no weights"),))
        warned = tuple(s.model_copy(update={"warnings": (f"{s.name} is biased",)}) for s in made.scores)
        return made.model_copy(update={"scores": warned})

    runs = [record(0, {"mse": 1.0, "ssim": 1.0}), record(1, {"mse": 2.0})]
    everything = only(runs).notes
    assert everything == (
        "vae · mse: over 1 of 2 seeds: ssim",
        "mse: mse is biased",
        "ssim: ssim is biased",
        "fid: skipped: no weights",
    )
    assert only(runs, metrics=("mse",)).notes == (everything[1], everything[3])


def test_an_unknown_metric_says_what_may_be_meant() -> None:
    for view in ({"metrics": ("ssmi",)}, {"sort": "ssmi"}):
        with pytest.raises(GenbenchError, match="unknown metric `ssmi`") as caught:
            only([make_record(scores={"ssim": 1.0})], **view)
        assert "did you mean `ssim`?" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="no run here tells its energy"):
        only([make_record()], sort="energy")


def test_a_metric_need_be_in_one_table_only() -> None:
    first, second = boards([make_record(dataset="lfw"), make_record(scores={"fid": 1.0})], metrics=("fid",), sort="fid")
    assert (names(first), names(second)) == ([], ["fid"])
    assert [row.cells for row in first.rows] == [()]
    assert (first.sorted_by, second.sorted_by and second.sorted_by.name) == (None, "fid")


# sorting


def test_rows_are_sorted_best_mean_first_and_those_without_one_last() -> None:
    runs = [*seeds(B, "a"), *seeds(C, "b"), *seeds(A, "c"), lost("failed", 0, "killed", "gan")]
    table = only(runs, sort="mse")
    assert labels(table) == ["vae · c", "vae · a", "vae · b", "gan · mse"]
    assert [row.rank for row in table.rows] == [1, 2, 3, None]
    assert labels(only(runs, sort="name")) == labels(only(runs)) == ["gan · mse", "vae · a", "vae · b", "vae · c"]
    assert [row.rank for row in only(runs).rows] == [None] * 4


def test_higher_first_where_higher_is_better_and_no_rank_where_neither_is() -> None:
    runs = [*seeds(A, "a", "ssim"), *seeds(B, "b", "ssim")]
    assert labels(only(runs, sort="ssim")) == ["vae · b", "vae · a"]
    table = only([*seeds(B, "a", "kl"), *seeds(A, "b", "kl")], sort="kl")
    assert labels(table) == ["vae · b", "vae · a"]
    assert [row.rank for row in table.rows] == [None, None]


def test_rows_are_sorted_by_what_is_not_shown_and_by_costs() -> None:
    table = only([*seeds(B, "a"), *seeds(A, "b")], sort="mse", metrics=("time",))
    assert names(table) == ["train_s"]
    assert labels(table) == ["vae · b", "vae · a"]
    assert [row.rank for row in table.rows] == [1, 2]
    assert table.sorted_by is not None
    assert table.sorted_by.name == "mse"
    assert only([make_record()], sort="img/s").sorted_by.name == "images_per_s"  # type: ignore[union-attr]


def test_equal_means_stay_in_order() -> None:
    runs = [make_record("vae", name, scores={"mse": 1.0}) for name in "cab"]
    assert labels(only(runs, sort="mse")) == ["vae · a", "vae · b", "vae · c"]


def test_several_columns_of_one_name_can_not_sort() -> None:
    with pytest.raises(GenbenchError, match="--sort fid: stands for 2 columns, which differ in n") as caught:
        only(two_protocols(), sort="fid")
    assert caught.value.hint == "choose one of fid^1, fid^2"
    assert labels(only(two_protocols(), sort="fid^1")) == ["vae · b", "vae · a", "vae · c"]
    assert labels(only(two_protocols(), sort="fid²")) == ["vae · c", "vae · a", "vae · b"]


# baseline


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gan", "gan"),
        ("vae", "vae · mse"),  # the row of that model, though others begin so
        ("vae · mse", "vae · mse"),
        ("vae mse", "vae · mse"),
        ("vae-dis-l", "vae-dis-l · dis-l"),
        ("vae-", "vae-dis-l · dis-l"),
        ("vaegan dis-l gamma=0.5", "vaegan · dis-l gamma=0.5"),
        ("vaegan dis-l gamma=0.1", "vaegan · dis-l gamma=0.1"),
        ("ga", "gan"),
    ],
)
def test_a_baseline_is_named_by_the_beginning_of_its_label(name: str, expected: str) -> None:
    table = only(LABELLED, baseline=name)
    assert table.baseline == expected
    assert [row.label for row in table.rows if row.baseline] == [expected]


def test_an_ambiguous_or_unknown_baseline_lists_labels() -> None:
    with pytest.raises(GenbenchError, match="--baseline vaegan: 2 rows begin so") as caught:
        only(LABELLED, baseline="vaegan")
    assert caught.value.hint == "say more: `vaegan · dis-l gamma=0.1`, `vaegan · dis-l gamma=0.5`"
    with pytest.raises(GenbenchError, match="--baseline wgan: no row of that name") as caught:
        only(LABELLED, baseline="wgan")
    assert "`gan`" in str(caught.value.hint)
    for name in ("", " · "):
        with pytest.raises(GenbenchError, match="no row of that name"):
            only(LABELLED, baseline=name)


def test_differences_are_from_the_baseline_and_corrected_over_the_rows_of_a_column() -> None:
    ttest_rel = pytest.importorskip("scipy.stats").ttest_rel
    table = only([*seeds(A, "a"), *seeds(B, "b"), *seeds(C, "c")], baseline="vae a")
    found = [cell and cell.difference for cell in cells(table, "mse")]
    assert found[0] is None
    for difference, values in zip(found[1:], (B, C), strict=True):
        assert difference is not None
        assert difference.value == pytest.approx(sum(values) / 5 - sum(A) / 5)
        assert difference.paired
    # Holm: the lesser p twice, the other once, and no less than that
    lesser, other = sorted(ttest_rel(values, A).pvalue for values in (B, C))
    adjusted = sorted(difference.p for difference in found[1:] if difference and difference.p is not None)
    assert adjusted == pytest.approx([2 * lesser, max(2 * lesser, other)])


def test_other_seeds_and_too_few_are_told() -> None:
    runs = [*seeds(A, "a"), *seeds(B, "b", first=5), make_record("gan", None)]
    table = only(runs, baseline="vae a")
    found = {row.label: cell and cell.difference for row, cell in zip(table.rows, cells(table, "mse"), strict=True)}
    assert found["vae · b"] is not None
    assert not found["vae · b"].paired
    assert found["gan"] is not None
    assert (found["gan"].p, found["gan"].half_width) == (None, None)
    assert "not paired, for want of two shared seeds (Welch's test): vae · b" in table.notes
    assert "too few seeds for a test of the difference: gan" in table.notes


def test_one_seed_each_still_has_differences() -> None:
    table = only(
        [make_record("vae", "a", scores={"mse": 1.0}), make_record("gan", None, scores={"mse": 3.0})], baseline="vae"
    )
    difference = cells(table, "mse")[0].difference  # type: ignore[union-attr]
    assert difference is not None
    assert (difference.value, difference.p, difference.significant) == (2.0, None, False)


def test_a_table_without_the_baseline_says_so() -> None:
    first, second = boards(
        [make_record("gan", None, dataset="lfw"), make_record("vae"), make_record("gan", None)], baseline="vae"
    )
    assert (first.baseline, second.baseline) == (None, "vae · mse")
    assert "no row `vae` here: no differences from it" in first.notes
    assert all(cell is None or cell.difference is None for row in first.rows for cell in row.cells)


def test_a_baseline_does_not_move_ranks() -> None:
    runs = [*seeds(A, "a"), *seeds(B, "b"), *seeds(C, "c")]
    assert ranks(only(runs, baseline="vae c"), "mse") == ranks(only(runs), "mse") == [1, 2, 3]
    assert scores(only(runs)) == ["mse"]
