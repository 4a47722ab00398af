"""A leaderboard as text, for people, papers and scripts."""

import csv
import io
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import boards, lost, make_record, only, seeds

from genbench.cells import Cell
from genbench.records import Check, Cost, Record
from genbench.tables import Grid, clean, csv_text, duration, entry, grid, json_text, legend, markdown

A, B = [0.31, 0.35, 0.29, 0.40, 0.33], [0.42, 0.41, 0.37, 0.49, 0.46]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(0.012344, 9.9, 3, 0.00043), "0.01234 ±0.00043"),
        (Cell(0.0123, 9.9, 3, 0.0996), "0.01 ±0.10"),
        (Cell(31.41592, 9.9, 3, 2.5), "31.4 ±2.5"),
        (Cell(1234.5, 9.9, 2, 170.2), "1230 ±170"),
        (Cell(0.5, 9.9, 2, 0.0), "0.5000 ±0"),
        (Cell(12.0, 9.9, 2, 1e-12), "12.000000 ±1.0e-12"),
        (Cell(0.0, None, 1), "0.000"),
        (Cell(-0.0001, 9.9, 2, 0.2), "0.00 ±0.20"),
        (Cell(12345.678, None, 1), "12350"),
        (Cell(1.23456e-7, None, 1), "1.235e-07"),
        (Cell(1.23456e-7, 9.9, 2, 1.2e-9), "1.235e-07 ±1.2e-09"),
        (Cell(2.5e12, None, 1), "2.500e+12"),
        (None, "–"),
    ],
)
def test_digits(cell: Cell | None, text: str) -> None:
    shown = entry(cell)
    assert f"{shown.text} {shown.spread}".rstrip() == text


@given(st.floats(-1e300, 1e300), st.none() | st.floats(0, 1e300))
def test_every_number_can_be_shown(mean: float, half_width: float | None) -> None:
    shown = entry(Cell(mean, 1.0, 2, half_width))
    assert float(shown.text) == pytest.approx(mean, rel=1e-3, abs=half_width or 1e-300)
    assert bool(shown.spread) == (half_width is not None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (3599.6, "1:00:00"), (90061, "25:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_markdown_escapes_and_bolds() -> None:
    runs = [*seeds(A, "a_b"), *seeds(B, "b")]
    text = markdown([only([*runs, lost("failed", 9, "a|b\n\x1b[31m <i>", "vae")])])
    assert "| vae | a\\_b | 5 | **0.336** ±0.052 | 100.0 | 1:00 |" in text
    assert "| vae | b | 5 | 0.430 ±0.058 | 100.0 | 1:00 |" in text
    assert "a\\|b \\[31m \\<i\\>" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_csv_has_every_row_and_column_at_full_precision() -> None:
    runs = [make_record(seed=s, scores={"mse": v, "ssim": v}, protocol={"n": 7}) for s, v in enumerate((0.1, 0.2))]
    tables = boards([*runs, make_record("gan", None, scores={"mse": 1 / 3}, protocol={"n": 7})])
    lines = list(csv.DictReader(io.StringIO(csv_text(tables))))
    assert [(line["model"], line["metric"]) for line in lines] == [
        (model, metric) for model in ("gan", "vae") for metric in ("mse", "ssim", "images_per_s", "train_s")
    ]
    gan, missing, vae = lines[0], lines[1], lines[4]
    assert float(gan["mean"]) == 1 / 3
    assert (gan["std"], gan["n"], gan["half_width"], gan["rank"], gan["best"]) == ("", "1", "", "", "false")
    assert (missing["mean"], missing["n"]) == ("", "0")
    assert float(vae["mean"]) == statistics.mean([0.1, 0.2])
    assert float(vae["std"]) == pytest.approx(statistics.stdev([0.1, 0.2]), rel=1e-15)
    assert float(vae["half_width"]) == pytest.approx(12.706205 * 0.05)  # Student's t at one degree of freedom
    assert (vae["seeds"], vae["direction"], vae["best"]) == ("2", "lower", "false")
    assert json.loads(vae["protocol"]) == {"evaluator": "e", "n": 7}
    assert "difference" not in vae
    ranked = list(csv.DictReader(io.StringIO(csv_text([only([*seeds(A, "a"), *seeds(B, "b")])]))))
    assert [(line["rank"], line["best"]) for line in ranked if line["metric"] == "mse"] == [
        ("1", "true"),
        ("2", "false"),
    ]


def test_csv_holds_differences_from_a_baseline() -> None:
    table = only([*seeds(A, "a"), *seeds(B, "b"), make_record("gan", None)], baseline="vae a")
    lines = [line for line in csv.DictReader(io.StringIO(csv_text([table]))) if line["metric"] == "mse"]
    gan, own, other = lines
    assert (own["difference"], own["difference_p"], own["difference_paired"]) == ("", "", "")
    assert float(other["difference"]) == pytest.approx(statistics.mean(B) - statistics.mean(A))
    assert other["difference_paired"] == "true"
    assert 0 < float(other["difference_p"]) < 0.05
    assert float(gan["difference"]) == pytest.approx(0.5 - statistics.mean(A))
    assert (gan["difference_half_width"], gan["difference_p"], gan["difference_paired"]) == ("", "", "false")


def test_json_holds_everything_at_full_precision() -> None:
    tables = boards([*seeds(A, "a"), make_record("vae", "a", gamma=1 / 3), *seeds(B, "b"), lost("diverged", 5, "NaN")])
    value = json.loads(json_text(tables))
    assert value["schema"] == "genbench.leaderboard/2"
    (table,) = value["tables"]
    first, second, third, fourth = table["rows"]
    assert first["settings"] == {"gamma": 1 / 3}
    cell = second["cells"][0]
    expected = {
        "mean": pytest.approx(statistics.mean(A), rel=1e-15),
        "std": pytest.approx(statistics.stdev(A), rel=1e-12),
        "n": 5,
        "half_width": tables[0].rows[1].cells[0].half_width,  # type: ignore[union-attr]
        "rank": 1,
        "best": True,
        "difference": None,
    }
    assert {key: cell[key] for key in expected} == expected
    assert (third["cells"][0]["rank"], third["cells"][0]["best"]) == (2, False)
    assert fourth["seeds"] == [5]
    assert second["seeds"] == [0, 1, 2, 3, 4]
    assert second["config"]["model"] == {"name": "vae", "settings": {"gamma": 1.0}}
    assert "seed" not in second["config"]
    assert table["columns"][0]["protocol"] == {"evaluator": "e"}
    assert [column["name"] for column in table["columns"] if column["cost"]] == ["images_per_s", "train_s"]
    assert table["notes"] == list(tables[0].notes)
    assert (table["sorted_by"], table["baseline"]) == (None, None)


def test_json_holds_differences_and_what_rows_are_sorted_by() -> None:
    table = only([*seeds(A, "a"), *seeds(B, "b")], baseline="vae b", sort="mse", metrics=("time",))
    value = json.loads(json_text([table]))["tables"][0]
    assert value["baseline"] == "vae · b"
    assert value["sorted_by"]["name"] == "mse"
    assert [row["rank"] for row in value["rows"]] == [1, 2]
    assert [row["baseline"] for row in value["rows"]] == [False, True]
    assert value["rows"][0]["cells"][0]["difference"] == {"value": 0.0, "half_width": 0.0, "p": 1.0, "paired": True}


def texts(text: Grid, name: str) -> list[str]:
    index = text.headings.index(name)
    found = [row[index] for row in text.rows]
    return [" ".join(filter(None, (each.text, each.spread, "*" if each.strong else ""))) for each in found]


def test_differences_stand_in_place_of_values_but_for_the_baseline() -> None:
    cost = {"prepare_s": 0, "evaluate_s": 0, "images_per_s": 100}
    runs = [
        record.model_copy(update={"cost": Cost(train_s=train_s, peak_memory_bytes=memory, **cost)})
        for records, train_s, memory in ((seeds(A, "a"), 100, 2**30), (seeds(B, "b"), 30, 3 * 2**29))
        for record in records
    ]
    table = only([*runs, make_record("gan", None, scores={})], baseline="vae a")
    text = grid(table)
    assert texts(text, "model") == ["gan", "vae (baseline)", "vae"]
    assert texts(text, "mse ↓") == ["–", "0.336 ±0.052", "+0.094 ±0.034 *"]
    assert texts(text, "time") == ["-40.0 s", "1:40", "-1:10 *"]
    assert texts(text, "memory") == ["–", "1.00 GiB", "+512 MiB *"]
    assert any(note.startswith("differences from vae · a; * significant (t tests") for note in legend(table, "*"))
    assert "too few seeds for a test of the difference: gan" in table.notes


@pytest.mark.parametrize(
    ("memory", "energy", "expected"),
    [(1, 0.2, ("1 B", "0 J")), (1023, 999, ("1023 B", "999 J")), (691 * 2**20, 12345, ("691 MiB", "12.3 kJ"))],
)
def test_costs_have_units(memory: int, energy: float, expected: tuple[str, str]) -> None:
    cost = Cost(prepare_s=0, train_s=1, evaluate_s=0, images_per_s=1234.5, peak_memory_bytes=memory, energy_j=energy)
    text = grid(only([make_record(cost=cost)]))
    assert (*texts(text, "memory"), *texts(text, "energy")) == expected
    assert texts(text, "img/s") == ["1234"]


def test_any_cost_can_be_shown() -> None:
    cost = Cost(prepare_s=0, train_s=1, evaluate_s=0, images_per_s=1e300, peak_memory_bytes=10**400, energy_j=1e308)
    table = only([make_record(cost=cost)])
    assert texts(grid(table), "energy") == ["1.00e+299 GJ"]
    json.loads(json_text([table]))


def test_a_score_that_is_not_ranked_has_no_arrow() -> None:
    table = only([*seeds(A, "a", "kl"), *seeds(B, "b", "kl")])
    assert "kl" in grid(table).headings
    assert texts(grid(table), "kl") == ["0.336 ±0.052", "0.430 ±0.058"]


def test_the_legend_tells_what_is_there() -> None:
    one = only([make_record("vae", "a"), make_record("vae", "b")])
    level = only([*seeds(A, "a"), *seeds(A, "b")])
    better = only([*seeds(A, "a"), *seeds(B, "b")])
    assert legend(one, "*") == []
    assert [note.split("(")[0].strip() for note in legend(level, "*")] == [
        "± 95 % interval over seeds",
        "no row is significantly better than another in any column",
    ]
    assert legend(better, "bold:")[1].startswith("bold: no row is significantly better")
    assert f"- {legend(better, 'bold:')[0]}" in markdown([better])


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


def check(value: float, *, flagged: bool, name: str = "active-units") -> Check:
    return Check(name=name, value=value, flagged=flagged, rule="at least 0.1", meaning="the decoder ignores z")


def test_health_is_shown_as_a_flag_and_explained() -> None:
    bad = [make_record("vae", seed=seed, checks=(check(0.01 * seed, flagged=True),)) for seed in (1, 2)]
    good = [make_record("vae", seed=0, checks=(check(0.5, flagged=False),)), make_record("gan", None)]
    (table,) = boards([*bad, *good])
    text = markdown([table])
    assert "| model | similarity | seeds | health |" in text
    assert "| vae | mse | 3 | 2 of 3 flagged |" in text
    assert "| gan | – | 1 | – |" in text
    assert "vae · mse, seeds 1, 2: active-units 0.01 to 0.02, not at least 0.1: the decoder ignores z" in table.notes
    ok = boards([make_record("vae", checks=(check(0.5, flagged=False),))])
    assert "| vae | mse | 1 | ok |" in markdown(ok)
    assert "health" not in markdown(boards([make_record("vae")]))
    lines = list(csv.DictReader(io.StringIO(csv_text([table]))))
    told = {(line["model"], line["checked"], line["flagged"]) for line in lines}
    assert told == {("vae", "3", "2"), ("gan", "0", "0")}
    assert [row["flagged"] for row in json.loads(json_text([table]))["tables"][0]["rows"]] == [0, 2]


def test_warnings_of_scores_are_told_once() -> None:
    def warned(seed: int) -> Record:
        record = make_record(seed=seed)
        return record.model_copy(
            update={"scores": tuple(s.model_copy(update={"warnings": ("too small",)}) for s in record.scores)}
        )

    table = only([warned(0), warned(1)])
    assert [note for note in table.notes if "too small" in note] == ["mse: too small"]
    assert [column.name for column in table.columns if not column.cost] == ["mse"]
