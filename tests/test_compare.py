"""A leaderboard as a pure function of records."""

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboards import best, cells, lost, make_record, only

from genbench.compare import Cell, leaderboard, mark_best, summarise
from genbench.records import Cost, Plugin, Record, Unscored
from genbench.tables import markdown

# statistics


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_mean_and_spread_are_those_of_numpy(values: list[float]) -> None:
    np = pytest.importorskip("numpy")
    cell = summarise(values)
    assert cell is not None
    assert cell.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert cell.std == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-9)
    assert cell.n == len(values)


def test_a_row_is_over_seeds() -> None:
    values = [0.1, 0.25, 0.3]
    table = only([make_record(seed=seed, scores={"mse": value}) for seed, value in enumerate(values)])
    assert cells(table, "mse") == [Cell(statistics.fmean(values), statistics.stdev(values), 3)]
    assert table.rows[0].seeds == (0, 1, 2)
    assert table.rows[0].ok == 3
    assert table.rows[0].settings == ()


def test_one_seed_has_no_spread() -> None:
    table = only([make_record(scores={"mse": 0.123456})])
    assert cells(table, "mse") == [Cell(0.123456, None, 1)]
    assert "±" not in markdown([table])
    assert "| 0.1235 |" in markdown([table])


def test_speed_and_time_are_of_the_runs_that_ended_well() -> None:
    cost = {"prepare_s": 0, "evaluate_s": 0, "peak_memory_bytes": 1}
    runs = [
        make_record(seed=0, cost=Cost(train_s=10, images_per_s=100, **cost)),
        make_record(seed=1, cost=Cost(train_s=20, images_per_s=300, **cost)),
        make_record(seed=2, cost=Cost(train_s=1, images_per_s=9999, **cost), status="failed", reason="killed"),
    ]
    row = only(runs).rows[0]
    assert row.images_per_s is not None
    assert row.images_per_s.mean == 200
    assert row.train_s is not None
    assert row.train_s.mean == 15


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(draw: random.Random) -> None:
    records = [
        make_record("vae", "mse", 0, {"mse": 1, "ssim": 2}),
        make_record("vae", "mse", 1, {"ssim": 2, "mse": 1}),
        make_record("vae", "mse", 1, {"ssim": 3}, finished_utc="2026"),
        make_record("gan", None, 0, {"fid": 2, "mse": 1}, protocol={"n": 2}),
        make_record("gan", None, 0, {"fid": 3}, protocol={"n": 3}, gamma=0.1),
        make_record("gan", None, 0, {"fid": 3}, dataset="lfw"),
        lost("diverged", 7, "NaN"),
    ]
    expected = leaderboard(records)
    draw.shuffle(records)
    assert leaderboard(records) == expected


# the best


@pytest.mark.parametrize(("name", "expected"), [("mse", [True, False, False]), ("ssim", [False, False, True])])
def test_the_best_is_the_lowest_or_the_highest(name: str, expected: list[bool]) -> None:
    runs = [make_record("vae", s, scores={name: v}) for s, v in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    assert best(only(runs), name) == expected


def test_what_looks_equal_is_equally_good() -> None:
    runs = [make_record("vae", s, scores={"mse": v}) for s, v in (("a", 0.123441), ("b", 0.123442), ("c", 0.1236))]
    assert best(only(runs), "mse") == [True, True, False]


def test_a_spread_makes_the_shown_precision_coarser() -> None:
    noisy = [make_record("vae", "a", seed, {"mse": v}) for seed, v in enumerate((0.1, 0.3))]  # 0.20 ±0.14
    exact = [make_record("vae", "b", scores={"mse": 0.2031}), make_record("vae", "c", scores={"mse": 0.2131})]
    assert best(only(noisy + exact), "mse") == [True, True, False]


def test_a_lone_cell_is_not_the_best_of_anything() -> None:
    runs = [make_record("vae", "a", scores={"mse": 1, "fid": 1}), make_record("gan", None, scores={"fid": 2})]
    table = only(runs)
    assert best(table, "mse") == [False, False]
    assert best(table, "fid") == [False, True]


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=2, max_size=6), st.sampled_from(["higher", "lower"])
)
def test_the_best_mean_is_always_marked_and_negation_swaps_direction(
    values: list[float | None], direction: str
) -> None:
    other = {"higher": "lower", "lower": "higher"}[direction]
    marked = mark_best([None if v is None else Cell(v, None, 1) for v in values], direction)  # type: ignore[arg-type]
    mirror = mark_best([None if v is None else Cell(-v, None, 1) for v in values], other)  # type: ignore[arg-type]
    assert [bool(c and c.best) for c in marked] == [bool(c and c.best) for c in mirror]
    present = [v for v in values if v is not None]
    if len(present) > 1:
        top = (max if direction == "higher" else min)(present)
        assert all(cell.best for cell in marked if cell and cell.mean == top)


# what may be compared


def test_scores_with_other_protocols_are_never_in_one_column() -> None:
    runs = [
        make_record("vae", "a", scores={"fid": 10.0, "mse": 1.0}, protocol={"n": 10000, "split": "test"}),
        make_record("vae", "b", scores={"fid": 5.0, "mse": 2.0}, protocol={"n": 2000, "split": "test"}),
    ]
    table = only(runs)
    assert [(c.name, c.mark) for c in table.columns] == [("fid", "¹"), ("fid", "²"), ("mse", "¹"), ("mse", "²")]
    assert not any(cell.best for row in table.rows for cell in row.cells if cell)
    assert "¹ fid, mse: n=10000" in table.notes
    assert "² fid, mse: n=2000" in table.notes
    assert "fid ↓¹" in markdown([table])


def test_a_long_value_is_cut_short_in_notes_alone() -> None:
    names = ", ".join(f"attribute {i}" for i in range(40))
    table = only([make_record("vae", "a"), make_record("vae", "b", protocol={"left_out": names})])
    (note,) = [note for note in table.notes if "attribute 0" in note]
    assert len(note) < 90
    assert note.endswith("attribute 3, …")
    assert names in [column.protocol.get("left_out") for column in table.columns]


def test_a_key_that_one_protocol_lacks_is_a_difference() -> None:
    runs = [make_record("vae", "a"), make_record("vae", "b", protocol={"n": 7})]
    assert only(runs).notes == ("¹ mse: n=7", "² mse: n=–")


def test_seeds_with_other_protocols_are_not_averaged() -> None:
    runs = [make_record(seed=0, protocol={"n": 1}), make_record(seed=1, protocol={"n": 2})]
    table = only(runs)
    assert [cell and cell.n for cell in table.rows[0].cells] == [1, 1]
    assert "vae · mse: over 1 of 2 seeds: mse¹, mse²" in table.notes


def test_data_sets_and_their_contents_are_tables_of_their_own() -> None:
    runs = [
        make_record(dataset="lfw"),
        make_record(fingerprint="a" * 64),
        make_record(fingerprint="a" * 12 + "b" * 52),
        make_record(size=64),
    ]
    tables = leaderboard(runs)
    assert [table.heading for table in tables] == [
        "lfw 32×32×3",
        "toyfaces 32×32×3, content aaaaaaaaaaaaa",
        "toyfaces 32×32×3, content aaaaaaaaaaaab",
        "toyfaces 64×64×3",
    ]
    assert [table.dataset for table in leaderboard(runs, "lfw")] == ["lfw"]


def test_rows_tell_apart_by_the_settings_that_differ_and_only_where_names_do_not() -> None:
    runs = [
        make_record("vaegan", "dis-l", gamma=1.0),
        make_record("vaegan", "dis-l", gamma=0.1),
        make_record("vaegan", "dis-l", gamma=0.1, width=0.5),
        make_record("vae", "mse", gamma=7.0),
    ]
    assert [row.label for row in only(runs).rows] == [
        "vae · mse",
        "vaegan · dis-l gamma=0.1 width=0.5",
        "vaegan · dis-l gamma=0.1 width=1.0",
        "vaegan · dis-l gamma=1.0 width=1.0",
    ]


def test_settings_of_one_name_are_told_apart() -> None:
    runs = [make_record(), make_record(gamma=2.0)]
    for value, gamma in enumerate((5, 6)):
        config = {**runs[value].config, "similarity": {"name": "mse", "settings": {"gamma": gamma}}}
        runs[value] = runs[value].model_copy(update={"config": config})
    assert only(runs).rows[0].label == "vae · mse model.gamma=1.0 similarity.gamma=5"


def test_a_budget_that_differs_is_in_every_row_and_in_a_note() -> None:
    table = only([make_record("vae", "mse", images=1000), make_record("gan", None, images=2000)])
    assert [row.label for row in table.rows] == ["gan images=2000", "vae · mse images=1000"]
    assert "rows differ in training.images (1000, 2000)" in table.notes[0]


def test_networks_that_differ_are_noted_and_model_settings_are_not() -> None:
    table = only([make_record("vae", "a", width=0.5), make_record("vae", "b", gamma=3.0)])
    assert len(table.notes) == 1
    assert "network.width (0.5, 1.0)" in table.notes[0]
    assert only([make_record("vae", "a"), make_record("vae", "b", gamma=3.0)]).notes == ()


def test_other_devices_and_versions_are_noted() -> None:
    def of(seed: int, name: str, version: str) -> Record:
        plugin = Plugin(kind="model", name="vae", distribution="genbench", version=version)
        record = make_record(seed=seed, plugins=(plugin,))
        return record.model_copy(update={"execution": record.execution.model_copy(update={"device_name": name})})

    assert only([of(0, "x", "1"), of(1, "x", "1")]).notes == ()
    speed, versions = only([of(0, "x", "1"), of(1, "y", "2")]).notes
    assert "x, eager, float32 / y, eager, float32" in speed
    assert versions == "model vae: runs of genbench 1 and of genbench 2 together"


def test_notes_of_the_data_are_shown_once() -> None:
    record = make_record()
    data = record.data.model_copy(update={"notes": ("drawn, not photographed",)})
    runs = [record.model_copy(update={"data": data}), make_record(seed=1).model_copy(update={"data": data})]
    assert only(runs).notes == ("drawn, not photographed",)


# what went wrong


def test_lost_runs_are_counted_and_listed() -> None:
    runs = [
        make_record(),
        lost("diverged", 1, "loss is NaN"),
        lost("diverged", 2, "loss is NaN"),
        lost("failed", 3, None),
    ]
    table = only(runs)
    row = table.rows[0]
    assert (row.seeds, row.ok, row.diverged, row.failed) == ((0, 1, 2, 3), 1, 2, 1)
    assert table.notes == (
        "vae · mse, seeds 1, 2: diverged: loss is NaN",
        "vae · mse, seed 3: failed: no reason given",
    )
    assert "| 1 of 4; 2 diverged, 1 failed |" in markdown([table])


def test_a_row_of_lost_runs_alone_is_still_there() -> None:
    table = only([make_record("vae"), lost("failed", 0, "out of memory", "gan")])
    row = table.rows[0]
    assert row.model == "gan"
    assert row.cells == (None,)
    assert row.train_s is None
    assert "| gan | mse | 0 of 1; 1 failed | – | – | – |" in markdown([table])
    assert only([lost("failed", 0, "out of memory")]).columns == ()


def test_scores_of_a_lost_run_do_not_count() -> None:
    table = only([make_record(scores={"mse": 1}), make_record(seed=1, scores={"mse": 9, "fid": 1}, status="diverged")])
    assert cells(table, "mse") == [Cell(1, None, 1)]
    assert len(table.columns) == 1


def test_why_a_score_is_missing() -> None:
    skipped = (Unscored(evaluator="fid", reason="no Inception weights"),)
    runs = [
        make_record("vae", scores={"mse": 1}, skipped=skipped),
        make_record(
            "gan", None, scores={}, skipped=(*skipped, Unscored(evaluator="reconstruction", reason="no encoder"))
        ),
        make_record("gan", None, 1, scores={}, skipped=skipped, failures=(Unscored(evaluator="health", reason="bug"),)),
    ]
    table = only(runs)
    assert table.notes == (
        "fid: skipped: no Inception weights",
        "reconstruction: skipped: no encoder (gan)",
        "health: failed: bug (gan)",
    )
    assert "| gan | – | 2 | – |" in markdown([table])


def test_copies_count_once_and_the_later_of_two_runs_is_kept_however_good() -> None:
    first = make_record(scores={"mse": 0.1}, finished_utc="2025-01-01T00:00:00Z")
    later = make_record(scores={"mse": 0.9}, finished_utc="2025-01-02T00:00:00Z")
    table = only([first, first, first])
    assert cells(table, "mse") == [Cell(0.1, None, 1)]
    assert table.notes == ("2 identical copies of a run counted once",)
    table = only([later, first])
    assert cells(table, "mse") == [Cell(0.9, None, 1)]
    assert "1 run left out" in table.notes[0]
