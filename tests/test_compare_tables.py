"""A leaderboard as text, for people, papers and scripts."""

import csv
import io
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import lost, make_record, only

from genbench.compare import Cell, leaderboard
from genbench.records import Check, Record
from genbench.tables import clean, csv_text, duration, entry, json_text, markdown


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(0.012344, 0.00043, 3), "0.01234 ±0.00043"),
        (Cell(0.0123, 0.0996, 3), "0.01 ±0.10"),
        (Cell(31.41592, 2.5, 3), "31.4 ±2.5"),
        (Cell(1234.5, 170.2, 2), "1230 ±170"),
        (Cell(0.5, 0.0, 2), "0.5000 ±0"),
        (Cell(12.0, 1e-12, 2), "12.000000 ±1.0e-12"),
        (Cell(0.0, None, 1), "0.000"),
        (Cell(-0.0001, 0.2, 2), "0.00 ±0.20"),
        (Cell(12345.678, None, 1), "12350"),
        (Cell(1.23456e-7, None, 1), "1.235e-07"),
        (Cell(1.23456e-7, 1.2e-9, 2), "1.235e-07 ±1.2e-09"),
        (Cell(2.5e12, None, 1), "2.500e+12"),
        (None, "–"),
    ],
)
def test_digits(cell: Cell | None, text: str) -> None:
    shown = entry(cell)
    assert f"{shown.text} {shown.spread}".rstrip() == text


@given(st.floats(-1e300, 1e300), st.none() | st.floats(0, 1e300))
def test_every_number_can_be_shown(mean: float, std: float | None) -> None:
    shown = entry(Cell(mean, std, 2))
    assert float(shown.text) == pytest.approx(mean, rel=1e-3, abs=std or 1e-300)
    assert bool(shown.spread) == (std is not None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (3599.6, "1:00:00"), (90061, "25:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_markdown_escapes_and_bolds() -> None:
    runs = [make_record("vae", "a_b", scores={"mse": 0.1}), make_record("vae", "b", scores={"mse": 0.2})]
    text = markdown([only([*runs, lost("failed", 9, "a|b\n\x1b[31m <i>", "vae")])])
    assert "| vae | a\\_b | 1 | **0.1000** | 100.0 | 1:00 |" in text
    assert "a\\|b \\[31m \\<i\\>" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_csv_has_every_row_and_score_at_full_precision() -> None:
    runs = [make_record(seed=s, scores={"mse": v, "ssim": v}, protocol={"n": 7}) for s, v in enumerate((0.1, 0.2))]
    tables = leaderboard([*runs, make_record("gan", None, scores={"mse": 1 / 3}, protocol={"n": 7})])
    lines = list(csv.DictReader(io.StringIO(csv_text(tables))))
    assert [(line["model"], line["metric"]) for line in lines] == [
        (model, metric) for model in ("gan", "vae") for metric in ("mse", "ssim", "images_per_s", "train_s")
    ]
    gan, missing, vae = lines[0], lines[1], lines[4]
    assert float(gan["mean"]) == 1 / 3
    assert (gan["std"], gan["n"], gan["best"]) == ("", "1", "false")
    assert (missing["mean"], missing["n"]) == ("", "0")
    assert float(vae["mean"]) == statistics.mean([0.1, 0.2])
    assert float(vae["std"]) == statistics.stdev([0.1, 0.2])
    assert (vae["seeds"], vae["direction"], vae["best"]) == ("2", "lower", "true")
    assert json.loads(vae["protocol"]) == {"evaluator": "e", "n": 7}


def test_json_holds_everything_at_full_precision() -> None:
    runs = [make_record(seed=s, scores={"mse": v}) for s, v in enumerate((0.1, 0.2))]
    tables = leaderboard([*runs, make_record(gamma=1 / 3), lost("diverged", 5, "NaN")])
    value = json.loads(json_text(tables))
    assert value["schema"] == "genbench.leaderboard/1"
    (table,) = value["tables"]
    first, second = table["rows"]
    assert first["settings"] == {"gamma": 1 / 3}
    assert second["cells"] == [
        {"mean": statistics.mean([0.1, 0.2]), "std": statistics.stdev([0.1, 0.2]), "n": 2, "best": True}
    ]
    assert second["seeds"] == [0, 1, 5]
    assert second["config"]["model"] == {"name": "vae", "settings": {"gamma": 1.0}}
    assert "seed" not in second["config"]
    assert table["columns"][0]["protocol"] == {"evaluator": "e"}
    assert table["notes"] == list(tables[0].notes)


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


def check(value: float, *, flagged: bool, name: str = "active-units") -> Check:
    return Check(name=name, value=value, flagged=flagged, rule="at least 0.1", meaning="the decoder ignores z")


def test_health_is_shown_as_a_flag_and_explained() -> None:
    bad = [make_record("vae", seed=seed, checks=(check(0.01 * seed, flagged=True),)) for seed in (1, 2)]
    good = [make_record("vae", seed=0, checks=(check(0.5, flagged=False),)), make_record("gan", None)]
    (table,) = leaderboard([*bad, *good])
    text = markdown([table])
    assert "| model | similarity | seeds | health |" in text
    assert "| vae | mse | 3 | 2 of 3 flagged |" in text
    assert "| gan | – | 1 | – |" in text
    assert "vae · mse, seeds 1, 2: active-units 0.01 to 0.02, not at least 0.1: the decoder ignores z" in table.notes
    ok = leaderboard([make_record("vae", checks=(check(0.5, flagged=False),))])
    assert "| vae | mse | 1 | ok |" in markdown(ok)
    assert "health" not in markdown(leaderboard([make_record("vae")]))
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
    assert len(table.columns) == 1
