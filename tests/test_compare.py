"""A leaderboard as a pure function of records."""

import random
import statistics
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboards import best, boards, cells, lost, make_record, only, ranks, scores, seeds

from genbench.cells import MOST_RANKED, Cell, summarise
from genbench.records import Cost, Plugin, Record, Unscored
from genbench.tables import markdown

# statistics


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_mean_and_spread_are_correct(values: list[float]) -> None:
    cell = summarise(values)
    assert cell is not None
    assert cell.mean == pytest.approx(statistics.mean(values), rel=1e-12, abs=1e-9)
    assert cell.std == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
    assert cell.n == len(values)


def test_equal_values_have_no_spread_at_all_and_the_largest_are_no_trouble() -> None:
    assert summarise([0.1] * 3) == Cell(0.1, 0.0, 3)  # their mean, if added up, would be another number
    assert summarise([]) is None
    huge = sys.float_info.max
    assert summarise([huge, huge / 2]) == Cell(0.75 * huge, statistics.stdev([huge, huge / 2]), 2)
    assert summarise([huge, -huge]) == Cell(0.0, huge, 2)


def test_a_row_is_over_seeds_with_half_of_the_interval() -> None:
    values = [0.1, 0.25, 0.3]
    table = only(seeds(values))
    (cell,) = cells(table, "mse")
    assert cell is not None
    assert (cell.mean, cell.n) == (statistics.fmean(values), 3)
    assert cell.std == pytest.approx(statistics.stdev(values))
    # Student's t at 97.5 % and two degrees of freedom, from any table
    assert cell.half_width == pytest.approx(4.302653 * statistics.stdev(values) / 3**0.5, rel=1e-6)
    assert (cell.rank, cell.best, cell.difference) == (None, False, None)
    assert table.rows[0].seeds == (0, 1, 2)
    assert table.rows[0].ok == 3
    assert table.rows[0].settings == ()


def test_one_seed_has_no_spread() -> None:
    table = only([make_record(scores={"mse": 0.123456})])
    assert cells(table, "mse") == [Cell(0.123456, None, 1)]
    assert "±" not in markdown([table])
    assert "| 0.1235 |" in markdown([table])
    assert [note for note in table.notes if note.startswith("one seed each: nothing can be told from chance")]


def cost(**changes: float) -> Cost:
    told = {"prepare_s": 0, "train_s": 10, "evaluate_s": 0, "images_per_s": 100, "peak_memory_bytes": 0}
    return Cost.model_validate(told | changes)


def test_costs_are_of_the_runs_that_ended_well() -> None:
    runs = [
        make_record(seed=0, cost=cost(train_s=10, images_per_s=100)),
        make_record(seed=1, cost=cost(train_s=20, images_per_s=300)),
        make_record(seed=2, cost=cost(train_s=1, images_per_s=9999), status="failed", reason="killed"),
    ]
    table = only(runs)
    assert [cell and cell.mean for cell in cells(table, "images_per_s")] == [200]
    assert [cell and cell.mean for cell in cells(table, "train_s")] == [15]


def test_memory_and_energy_are_there_where_some_run_tells_them() -> None:
    assert [c.name for c in only([make_record()]).columns] == ["mse", "images_per_s", "train_s"]
    table = only([make_record(cost=cost(peak_memory_bytes=2**30)), make_record("gan", None, cost=cost(energy_j=7.5))])
    assert [c.name for c in table.columns if c.cost] == ["images_per_s", "train_s", "peak_memory_bytes", "energy_j"]
    assert [cell and cell.mean for cell in cells(table, "peak_memory_bytes")] == [None, 2**30]
    assert [cell and cell.mean for cell in cells(table, "energy_j")] == [7.5, None]


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(draw: random.Random) -> None:
    records = [
        make_record("vae", "mse", 0, {"mse": 1, "ssim": 2}),
        make_record("vae", "mse", 1, {"ssim": 2, "mse": 1}),
        make_record("vae", "mse", 1, {"ssim": 3}, finished_utc="2026"),
        make_record("vae", "mse", 1, {"ssim": 4}, finished_utc="2026"),
        make_record("gan", None, 0, {"fid": 2, "mse": 1}, protocol={"n": 2}),
        make_record("gan", None, 0, {"fid": 3}, protocol={"n": 3}, gamma=0.1),
        make_record("gan", None, 0, {"fid": 3}, dataset="lfw"),
        lost("diverged", 7, "NaN"),
    ]
    expected = boards(records)
    draw.shuffle(records)
    assert boards(records) == expected


# the best


A, B, C = [0.31, 0.35, 0.29, 0.40, 0.33], [0.42, 0.41, 0.37, 0.49, 0.46], [0.52, 0.55, 0.51, 0.62, 0.50]


@pytest.mark.parametrize(
    ("name", "expected", "places"),
    [
        ("mse", [True, False, False], [1, 2, 3]),
        ("ssim", [False, False, True], [3, 2, 1]),
        ("kl", [False] * 3, [None] * 3),
    ],
)
def test_the_best_is_the_lowest_or_the_highest_or_none(
    name: str, expected: list[bool], places: list[int | None]
) -> None:
    table = only([*seeds(A, "a", name), *seeds(B, "b", name), *seeds(C, "c", name)])
    assert best(table, name) == expected
    assert ranks(table, name) == places


def test_what_is_not_significantly_worse_is_level_with_the_best() -> None:
    noisy = [0.9, 0.1, 0.2, 0.6, 0.35]
    table = only([*seeds(A, "a"), *seeds(noisy, "b"), *seeds(C, "c")])
    assert ranks(table, "mse") == [1, 1, 2]
    assert best(table, "mse") == [True, True, False]


def test_the_best_mean_of_one_seed_each_is_nothing() -> None:
    table = only([make_record("vae", s, scores={"mse": v}) for s, v in (("a", 0.1), ("b", 0.2))])
    assert ranks(table, "mse") == [None, None]
    assert best(table, "mse") == [False, False]


def test_a_row_of_one_seed_among_others_is_named() -> None:
    table = only([*seeds(A, "a"), *seeds(C, "b"), make_record("vae", "c")])
    assert ranks(table, "mse") == [1, 2, None]
    assert table.notes[0] == "one seed, so no interval and no rank: vae · c"


def test_a_lone_row_has_no_rank() -> None:
    table = only(seeds(A))
    assert ranks(table, "mse") == [None]
    assert best(table, "mse") == [False]


def test_other_seeds_do_not_pair() -> None:
    # what the seeds do to both is far more than the difference; only pairs show it
    first, second = [1.0, 2.0, 3.0], [1.1, 2.11, 3.09]
    assert ranks(only([*seeds(first, "a"), *seeds(second, "b")]), "mse") == [1, 2]
    assert ranks(only([*seeds(first, "a"), *seeds(second, "b", first=5)]), "mse") == [1, 1]


def test_so_many_rows_are_not_tested_and_a_note_says_so() -> None:
    def rows(count: int) -> list[Record]:
        return [make_record(seed=s, gamma=g, scores={"mse": g + s / 9}) for g in range(count) for s in (0, 1)]

    many = only(rows(MOST_RANKED + 1))
    assert set(ranks(many, "mse")) == {None}
    assert any("narrow with --where" in note for note in many.notes)
    assert all(cell and cell.half_width for cell in cells(many, "mse"))
    few = only(rows(MOST_RANKED))
    assert None not in ranks(few, "mse")
    assert not any("--where" in note for note in few.notes)


def test_costs_are_ranked_where_all_were_executed_alike() -> None:
    def runs(device: str) -> list[Record]:
        slow = [make_record("vae", "a", s, cost=cost(train_s=100 + s)) for s in range(3)]
        fast = [make_record("vae", "b", s, cost=cost(train_s=50 + 1.1 * s)) for s in range(3)]
        other = fast[0].execution.model_copy(update={"device_name": device})
        return [*slow, *(record.model_copy(update={"execution": other}) for record in fast)]

    alike, unlike = only(runs("x")), only(runs("y"))
    assert ranks(alike, "train_s") == [2, 1]
    assert ranks(unlike, "train_s") == [None, None]
    assert any(note.startswith("what runs cost is not comparable: x, eager") for note in unlike.notes)
    assert not any("cost" in note for note in alike.notes)


@pytest.mark.parametrize("change", [{"threads": 2}, {"processes": 2}])
def test_costs_with_more_threads_or_processes_are_not_ranked(change: dict[str, int]) -> None:
    slow = [make_record("vae", "a", s, cost=cost(train_s=100 + s)) for s in range(3)]
    fast = [make_record("vae", "b", s, cost=cost(train_s=50 + 1.1 * s)) for s in range(3)]
    other = fast[0].execution.model_copy(update=change)
    table = only([*slow, *(record.model_copy(update={"execution": other}) for record in fast)])
    assert ranks(table, "train_s") == [None, None]


# what may be compared


def test_scores_with_other_protocols_are_never_in_one_column() -> None:
    runs = [
        make_record("vae", "a", scores={"fid": 10.0, "mse": 1.0}, protocol={"n": 10000, "split": "test"}),
        make_record("vae", "b", scores={"fid": 5.0, "mse": 2.0}, protocol={"n": 2000, "split": "test"}),
    ]
    table = only(runs)
    assert [(c.name, c.mark) for c in table.columns if not c.cost] == [
        ("fid", "¹"),
        ("fid", "²"),
        ("mse", "¹"),
        ("mse", "²"),
    ]
    assert all(None in cells for cells in zip(*(row.cells[:4] for row in table.rows), strict=True))
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
    assert only(runs).notes[:2] == ("¹ mse: n=7", "² mse: n=–")


def test_seeds_with_other_protocols_are_not_averaged() -> None:
    runs = [make_record(seed=0, protocol={"n": 1}), make_record(seed=1, protocol={"n": 2})]
    table = only(runs)
    assert [cell and cell.n for cell in table.rows[0].cells[:2]] == [1, 1]
    assert "vae · mse: over 1 of 2 seeds: mse¹, mse²" in table.notes


def test_data_sets_and_their_contents_are_tables_of_their_own() -> None:
    runs = [
        make_record(dataset="lfw"),
        make_record(fingerprint="a" * 64),
        make_record(fingerprint="a" * 12 + "b" * 52),
        make_record(size=64),
    ]
    tables = boards(runs)
    assert [table.heading for table in tables] == [
        "lfw 32×32×3",
        "toyfaces 32×32×3, content aaaaaaaaaaaaa",
        "toyfaces 32×32×3, content aaaaaaaaaaaab",
        "toyfaces 64×64×3",
    ]
    assert [table.dataset for table in boards(runs, "lfw")] == ["lfw"]


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
    assert any("rows differ in training.images (1000, 2000)" in note for note in table.notes)


def test_of_very_many_values_a_note_lists_some() -> None:
    table = only([make_record(images=1000 + i) for i in range(50)])
    (note,) = [note for note in table.notes if note.startswith("rows differ")]
    assert "(1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, … 1049: 50 of them)" in note


def test_networks_that_differ_are_noted_and_model_settings_are_not() -> None:
    table = only([make_record("vae", "a", width=0.5), make_record("vae", "b", gamma=3.0)])
    (note,) = table.notes[1:]
    assert "network.width (0.5, 1.0)" in note
    assert only([make_record("vae", "a"), make_record("vae", "b", gamma=3.0)]).notes[1:] == ()


def test_other_devices_and_versions_are_noted() -> None:
    def of(seed: int, name: str, version: str) -> Record:
        plugin = Plugin(kind="model", name="vae", distribution="genbench", version=version)
        record = make_record(seed=seed, plugins=(plugin,))
        return record.model_copy(update={"execution": record.execution.model_copy(update={"device_name": name})})

    assert only([of(0, "x", "1"), of(1, "x", "1")]).notes == ()
    speed, versions = only([of(0, "x", "1"), of(1, "y", "2")]).notes
    assert "x, eager, float32, 1 thread / y, eager, float32, 1 thread" in speed
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
    assert table.notes[1:] == (
        "vae · mse, seeds 1, 2: diverged: loss is NaN",
        "vae · mse, seed 3: failed: no reason given",
    )
    assert "| 1 of 4; 2 diverged, 1 failed |" in markdown([table])


def test_a_row_of_lost_runs_alone_is_still_there() -> None:
    table = only([make_record("vae"), lost("failed", 0, "out of memory", "gan")])
    row = table.rows[0]
    assert row.model == "gan"
    assert row.cells == (None, None, None)
    assert "| gan | mse | 0 of 1; 1 failed | – | – | – |" in markdown([table])
    assert only([lost("failed", 0, "out of memory")]).columns == ()


def test_scores_of_a_lost_run_do_not_count() -> None:
    table = only([make_record(scores={"mse": 1}), make_record(seed=1, scores={"mse": 9, "fid": 1}, status="diverged")])
    assert cells(table, "mse") == [Cell(1, None, 1)]
    assert scores(table) == ["mse"]


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
    assert table.notes[1:] == (
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
    assert "2 identical copies of a run counted once" in table.notes
    table = only([later, first])
    assert cells(table, "mse") == [Cell(0.9, None, 1)]
    assert any("1 run left out" in note for note in table.notes)
