"""A leaderboard as wide as a terminal: nothing is cut off, nothing stands outside."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboards import lost, make_record, only, seeds
from rich.cells import cell_len

from genbench.cli.printing import Terminal, table_lines
from genbench.compare import Table

A, B = [0.31, 0.35, 0.29, 0.40, 0.33], [0.42, 0.41, 0.37, 0.49, 0.46]


def lines(table: Table, width: int, *, colour: bool = False) -> list[str]:
    return list(table_lines(table, Terminal(width, colour)))


def test_a_table_that_fits_has_one_line_a_row() -> None:
    assert lines(only([*seeds(A, "a"), *seeds(B, "b")]), 80)[:4] == [
        "model similarity seeds         mse ↓ img/s time",
        "───────────────────────────────────────────────",
        "vae   a              5 0.336* ±0.052 100.0 1:00",
        "vae   b              5  0.430 ±0.058 100.0 1:00",
    ]


def test_runs_that_were_lost_are_in_the_row_and_below() -> None:
    found = lines(only([make_record("gan", None), lost("failed", 7, "killed", "vae"), lost("diverged", 8, "NaN")]), 80)
    assert found[2:6] == [
        "gan   –                   1 0.5000 100.0 1:00",
        "vae   mse            0 of 2      –     –    –",
        "                 1 diverged",
        "                   1 failed",
    ]
    assert "  vae · mse, seed 7: failed: killed" in found


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            44,
            [
                "                            a-",
                "model similarity seeds score ↓ img/s time",
                "─────────────────────────────────────────",
                "vae   a              5  0.336* 100.0 1:00",
                "                        ±0.052",
                "vae   b              5   0.430 100.0 1:00",
                "                        ±0.058",
            ],
        ),
        (
            36,
            [
                "model                 a-",
                "similarity seeds score ↓ img/s time",
                "───────────────────────────────────",
                "vae            5  0.336* 100.0 1:00",
                "a                 ±0.052",
                "vae            5   0.430 100.0 1:00",
                "b                 ±0.058",
            ],
        ),
        (
            25,
            [
                "model                 a-",
                "similarity seeds score ↓",
                "────────────────────────",
                "vae            5  0.336*",
                "a                 ±0.052",
                "vae            5   0.430",
                "b                 ±0.058",
                "model",
                "similarity img/s time",
                "─────────────────────",
            ],
        ),
    ],
)
def test_layouts_get_narrower(width: int, expected: list[str]) -> None:
    table = only([*seeds(A, "a", "a-score"), *seeds(B, "b", "a-score")])
    assert lines(table, width)[: len(expected)] == expected


def test_scripts_with_wide_letters_stand_in_line() -> None:
    table = only([make_record("模型", "相似", scores={"分数-一": 1.0}), make_record("vae", None, scores={"b": 3.0})])
    assert lines(table, 60)[:4] == [
        "model similarity seeds   b ↓ 分数-一 ↓ img/s time",
        "─────────────────────────────────────────────────",
        "vae   –              1 3.000         – 100.0 1:00",
        "模型  相似           1 2.000     1.000 100.0 1:00".replace("2.000", "    –"),
    ]


def test_bold_takes_no_room_and_the_spread_is_not_bold() -> None:
    table = only([*seeds(A, "a"), *seeds(B, "b")])
    coloured = lines(table, 80, colour=True)
    assert coloured[2] == "vae   a              5 \x1b[1m0.336\x1b[0m ±0.052 100.0 1:00"
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in coloured]
    assert plain[0] == "model similarity seeds        mse ↓ img/s time"
    assert plain[3] == "vae   b              5 0.430 ±0.058 100.0 1:00"
    assert any("bold: no row is significantly better" in line for line in plain)
    assert all(line.startswith("\x1b[2m  ") for line in coloured[4:])


def test_differences_and_ranks() -> None:
    table = only([*seeds(B, "a"), *seeds(A, "b")], baseline="vae a", sort="mse", metrics=("mse",))
    assert lines(table, 80)[:4] == [
        "model          similarity rank seeds          mse ↓",
        "───────────────────────────────────────────────────",
        "vae            b             1     5 -0.094* ±0.034",
        "vae (baseline) a             2     5   0.430 ±0.058",
    ]


# A dash alone is how a table says that there is nothing, and a column of nothing is left out.
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30).filter(
    lambda name: name != "–"
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4, unique=True),
    st.dictionaries(NAMES, st.floats(-1e9, 1e9), min_size=1, max_size=8),
    st.integers(12, 120),
    st.booleans(),
)
def test_nothing_is_cut_off_and_nothing_stands_outside(
    rows: list[tuple[str, str]], values: dict[str, float], width: int, colour: bool
) -> None:
    table = only([make_record(model, similarity, scores=values) for model, similarity in rows])
    found = [re.sub(r"\x1b\[\d+m", "", line) for line in lines(table, width, colour=colour)]
    assert max(map(cell_len, found)) <= width
    letters = {letter for line in found for letter in line}
    assert {letter for model, similarity in rows for letter in model + similarity} <= letters
    assert {letter for name in values for letter in name} <= letters
