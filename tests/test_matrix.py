"""The similarity matrix: who wins under whose measure, on records with known values."""

import pytest
from leaderboards import cells, make_record

from genbench.compare import Table
from genbench.digest import digest_of
from genbench.errors import GenbenchError
from genbench.matrix import matrices
from genbench.records import Record
from genbench.tables import markdown

MEASURES = ("mse", "l1", "ssim")


def runs(
    similarity: str, costs: tuple[float, ...], model: str = "vae", seeds: int = 3, **changes: float
) -> list[Record]:
    """Return runs that each measure judges by a cost, a little apart from seed to seed."""
    return [
        make_record(
            model,
            similarity,
            seed,
            {f"similarity-{name}": cost + 0.01 * seed for name, cost in zip(MEASURES, costs, strict=True)}
            | {"fid": 1.0},
            **changes,
        )
        for seed in range(seeds)
    ]


def tables(records: list[Record]) -> tuple[Table, ...]:
    return matrices([digest_of(record) for record in records])


def test_the_diagonal_is_marked_and_who_wins_only_there_is_named() -> None:
    # `mse` is best for itself and for `l1`; `ssim` for itself alone; `l1` is beaten at home.
    (table,) = tables([*runs("mse", (1, 1, 5)), *runs("l1", (2, 2, 6)), *runs("ssim", (3, 3, 4))])
    assert table.heading == "vae on toyfaces 32×32×3"
    assert [column.name for column in table.columns] == [f"similarity-{name}" for name in MEASURES]
    assert [row.similarity for row in table.rows] == ["l1", "mse", "ssim"]
    assert [[cell.own for cell in row.cells if cell] for row in table.rows] == [
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]
    assert [[cell.rank for cell in row.cells if cell] for row in table.rows] == [[2, 2, 3], [1, 1, 2], [3, 3, 1]]
    assert "mse: no row is significantly better under its own measure and l1" in table.notes
    assert "ssim: wins only under its own measure" in table.notes
    assert "beaten under their own measure: l1" in table.notes
    text = markdown([table])
    assert "| vae | mse | 3 | **\\[1.010** ±0.025\\] |" in text


def test_what_is_not_told_apart_wins_nothing() -> None:
    wide = [
        make_record("vae", similarity, seed, {"similarity-mse": value})
        for similarity, values in (("mse", (1, 5, 3)), ("l1", (2, 3, 4)))
        for seed, value in enumerate(values)
    ]
    (table,) = tables(wide)
    assert [cell and cell.best for cell in cells(table, "similarity-mse")] == [False, False]
    assert "not told apart from others under their own measure: mse" in table.notes
    assert not any("wins" in note for note in table.notes)


def test_who_shares_the_first_place_does_not_win_and_who_is_not_judged_elsewhere_is_not_beaten_there() -> None:
    level = [
        make_record("vae", name, seed, {"similarity-mse": value, "similarity-l1": cost + 0.01 * seed})
        for name, values, cost in (("mse", (1, 1.2, 0.9), 4), ("l1", (0.9, 1.3, 1), 1), ("ssim", (7, 7.1, 7), 3))
        for seed, value in enumerate(values)
    ]
    (table,) = tables(level)
    assert "mse: is level with the best only under its own measure" in table.notes
    assert "l1: no row is significantly better under its own measure and mse" in table.notes
    apart = [*level[3:], *(make_record("vae", "mse", seed, {"similarity-mse": 0.1}) for seed in range(3))]
    (table,) = tables(apart)
    assert "mse: no row is significantly better under its own measure; no other tells rows apart" not in table.notes
    assert "mse: no row is significantly better under its own measure; it is judged by no other" in table.notes


def test_a_similarity_with_other_settings_than_the_judges_is_not_at_home() -> None:
    def of(settings: dict[str, str], value: float) -> list[Record]:
        records = [
            make_record("vae", "dis-l", seed, {"similarity-dis-l": value + 0.01 * seed},
                        protocol={"similarity_layer": "default"})
            for seed in range(3)
        ]  # fmt: skip
        return [
            r.model_copy(update={"config": r.config | {"similarity": {"name": "dis-l", "settings": settings}}})
            for r in records
        ]

    other = [make_record("vae", "mse", seed, {"similarity-dis-l": 5.0 + 0.02 * seed},
                         protocol={"similarity_layer": "default"}) for seed in range(3)]  # fmt: skip
    (table,) = tables([*of({"layer": "first"}, 1), *of({"layer": "default"}, 2), *other])
    marked = {row.settings: [cell.own for cell in row.cells if cell] for row in table.rows if row.similarity == "dis-l"}
    assert marked == {(("layer", "default"),): [True], (("layer", "first"),): [False]}
    assert "beaten under their own measure: dis-l layer=default" in table.notes


def test_lost_runs_are_told_and_rows_without_any_score_are_left_out() -> None:
    judged = [*runs("mse", (1, 1, 5)), *runs("l1", (2, 2, 6))]
    lost = make_record("vae", "ssim", 0, {}, status="diverged", reason="like is nan")
    (table,) = tables([*judged, lost, make_record("vae", "bce", 0, {"fid": 1.0})])
    assert [(row.similarity, row.diverged) for row in table.rows] == [("l1", 0), ("mse", 0), ("ssim", 1)]
    assert any("like is nan" in note for note in table.notes)


def test_one_row_of_several_seeds_is_not_called_one_seed_of_each() -> None:
    (table,) = tables([*runs("mse", (1, 1, 5)), *runs("l1", (2, 2, 6), seeds=1)])
    assert not any(note.startswith("one seed of each") for note in table.notes)
    assert any("too few or too many to be tested" in note for note in table.notes)


def test_one_seed_tells_nothing() -> None:
    (table,) = tables([*runs("mse", (1, 1, 5), seeds=1), *runs("l1", (2, 2, 6), seeds=1)])
    assert "one seed of each: nothing is told from chance" in table.notes


def test_each_model_and_each_setting_has_a_matrix_of_its_own() -> None:
    found = tables(
        [
            *runs("mse", (1, 1, 5)),
            *runs("l1", (2, 2, 6)),
            *runs("mse", (1, 1, 5), width=0.5),
            *runs("l1", (2, 2, 6), width=0.5),
            *runs("mse", (1, 1, 5), model="vaegan"),
            *runs("ssim", (2, 2, 6), model="vaegan"),
            *runs("ssim", (2, 2, 6), model="lonely"),
        ]
    )
    assert [table.heading for table in found] == [
        "vae on toyfaces 32×32×3 network.width=0.5",
        "vae on toyfaces 32×32×3 network.width=1.0",
        "vaegan on toyfaces 32×32×3",
    ]
    assert [len(table.rows) for table in found] == [2, 2, 2]


def test_without_two_similarities_and_their_scores_there_is_none() -> None:
    with pytest.raises(GenbenchError, match="no runs make a matrix") as caught:
        tables([*runs("mse", (1, 1, 5)), make_record("vae", "l1", 0, {"fid": 1.0})])
    assert "genbench suite similarity" in str(caught.value.hint)


def test_the_rate_stands_beside_and_judges_nothing() -> None:
    records = [
        make_record("vae", name, seed, {"similarity-mse": cost + 0.01 * seed, "kl": 30.0 * cost})
        for name, cost in (("mse", 1), ("l1", 2))
        for seed in range(3)
    ]
    (table,) = tables(records)
    assert [column.name for column in table.columns] == ["similarity-mse", "kl"]
    assert [cell and (cell.mean, cell.rank, cell.own) for cell in cells(table, "kl")] == [
        (60.0, None, False),
        (30.0, None, False),
    ]
    assert not any("kl" in note for note in table.notes)
