import csv
import io
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.cli.compare import compare
from genbench.compare import Cell, Table, leaderboard, mark_best, summarise
from genbench.errors import GenbenchError
from genbench.records import Cost, DataFacts, Execution, Plugin, Record, RunIdentity, Score, Unscored
from genbench.store import run_folder, write_record
from genbench.tables import clean, csv_text, duration, entry, json_text, markdown

HIGHER = {"ssim", "cosine"}


def make_record(
    model: str = "vae",
    similarity: str | None = "mse",
    seed: int = 0,
    scores: dict[str, float] | None = None,
    *,
    gamma: float = 1.0,
    width: float = 1.0,
    images: int = 1000,
    protocol: dict[str, str | int] | None = None,
    **changes: object,
) -> Record:
    dataset = str(changes.pop("dataset", "toyfaces"))
    fingerprint, size = str(changes.pop("fingerprint", "f" * 64)), changes.pop("size", 32)
    config = {
        "model": {"name": model, "settings": {"gamma": gamma}},
        "similarity": {"name": similarity, "settings": {}} if similarity else None,
        "dataset": {"name": dataset, "settings": {}, "size": size},
        "network": {"width": width},
        "training": {"images": images, "batch_size": 64},
        "evaluation": {"samples": 100 + seed},
        "seed": seed,
    }
    fields: dict[str, object] = {
        "status": "ok",
        "run": RunIdentity(model=model, similarity=similarity, dataset=dataset, seed=seed),
        "config": config,
        "config_hash": random.Random(json.dumps(config)).randbytes(32).hex(),
        "plugins": (),
        "data": DataFacts(
            name=dataset, size=size, channels=3, fingerprint=fingerprint, train=8, validation=1, test=1, attributes=0
        ),
        "images_asked": images,
        "images_seen": images,
        "parameters": {},
        "scores": tuple(
            Score(
                name=name,
                value=value,
                direction="higher" if name in HIGHER else "lower",
                protocol={"evaluator": "e", **(protocol or {})},
            )
            for name, value in ({"mse": 0.5} if scores is None else scores).items()
        ),
        "cost": Cost(prepare_s=0, train_s=60, evaluate_s=0, images_per_s=100, peak_memory_bytes=1),
        "execution": Execution(
            device="cpu", device_name="x", engine="eager", precision="float32", threads=1, platform="linux",
            versions={}, git_commit=None,
        ),
        "started_utc": "2025-01-01T00:00:00Z",
        "finished_utc": "2025-01-01T00:00:01Z",
    }  # fmt: skip
    return Record.model_validate(fields | changes)


def lost(status: str, seed: int, reason: str | None, model: str = "vae") -> Record:
    return make_record(model, seed=seed, scores={}, status=status, reason=reason)


def only(records: list[Record]) -> Table:
    (table,) = leaderboard(records)
    return table


def cells(table: Table, name: str) -> list[Cell | None]:
    (index,) = [i for i, column in enumerate(table.columns) if column.name == name]
    return [row.cells[index] for row in table.rows]


def best(table: Table, name: str) -> list[bool]:
    return [bool(cell and cell.best) for cell in cells(table, name)]


# statistics


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_mean_and_spread_are_those_of_numpy(values: list[float]) -> None:
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
    assert "¹ fid: n=10000" in table.notes
    assert "² fid: n=2000" in table.notes
    assert "fid ↓¹" in markdown([table])


def test_a_key_that_one_protocol_lacks_is_a_difference() -> None:
    runs = [make_record("vae", "a"), make_record("vae", "b", protocol={"n": 7})]
    assert only(runs).notes == ("¹ mse: n=7", "² mse: n=–")


def test_seeds_with_other_protocols_are_not_averaged() -> None:
    runs = [make_record(seed=0, protocol={"n": 1}), make_record(seed=1, protocol={"n": 2})]
    table = only(runs)
    assert [cell and cell.n for cell in table.rows[0].cells] == [1, 1]
    assert "vae · mse: mse¹ is over 1 of 2 seeds" in table.notes


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


# text


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


# the command


def store(root: Path, *records: Record) -> Path:
    for record in records:
        run = record.run
        write_record(run_folder(root, run.dataset, run.model, run.similarity, run.seed, record.config_hash), record)
    return root


def call(*args: object, **env: str) -> Result:
    result = CliRunner().invoke(compare, [str(arg) for arg in args], env=env)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


METRICS = {"mse": 0.0123456, "ssim": 0.789, "fid": 31.4, "fd-attributes": 0.1234, "cosine": 0.987}
MODELS = (("vae", "mse"), ("vae", "ssim"), ("vae", "dis-l"), ("vaegan", "dis-l"), ("gan", None))


def five_models(seeds: int = 3) -> list[Record]:
    return [
        make_record(m, s, seed, {name: v * (1 + 0.03 * seed + 0.1 * i) for name, v in METRICS.items()})
        for i, (m, s) in enumerate(MODELS)
        for seed in range(seeds)
    ]


def test_five_models_and_five_metrics_fit_in_80_columns(tmp_path: Path) -> None:
    result = call(store(tmp_path, *five_models()), COLUMNS="80")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    for name in ("vaegan", "dis-l", "attributes ↓", "cosine ↑", "0.01272*", "±0.00037"):
        assert name in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_more_than_fits_continues_below_and_hides_nothing(tmp_path: Path) -> None:
    metrics = {f"a-rather-long-metric-name-{i}": float(i) for i in range(12)}
    store(tmp_path, *(make_record(m, s, seed, metrics) for m, s in MODELS for seed in range(2)))
    for width in ("80", "30"):
        result = call(tmp_path, COLUMNS=width)
        assert max(map(len, result.stdout.splitlines())) <= int(width)
        assert "…" not in result.stdout
        for i in range(12):
            assert f" {i} ↓" in result.stdout.replace("\n", " ") or f"{i} ↓" in result.stdout
        assert result.stdout.count("vaegan") >= 2


def test_wide_terminals_have_one_line_a_row(tmp_path: Path) -> None:
    result = call(store(tmp_path, *five_models()), COLUMNS="200")
    (line,) = [line for line in result.stdout.splitlines() if "vaegan" in line]
    assert "dis-l" in line
    assert "0.01642 ±0.00037" in line


def test_bold_where_there_is_colour_and_none_where_it_is_refused(tmp_path: Path) -> None:
    store(tmp_path, *five_models())
    coloured = call(tmp_path, FORCE_COLOR="1", TERM="xterm", COLUMNS="200")
    assert "\x1b[1m0.01272\x1b[0m" in coloured.stdout
    assert "0.01272*" not in coloured.stdout
    plain = call(tmp_path, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm", COLUMNS="200")
    assert "\x1b" not in plain.stdout
    assert "0.01272* ±" in plain.stdout


def test_a_half_written_record_is_a_warning_and_the_rest_is_shown(tmp_path: Path) -> None:
    store(tmp_path, make_record())
    bad = tmp_path / "bad" / "record.json"
    bad.parent.mkdir()
    bad.write_text('{"schema": "genb')
    result = call(tmp_path, "--format", "csv")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {bad}: half-written")
    assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 3


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_stores_folders_and_files_may_be_named(tmp_path: Path, form: str) -> None:
    one = store(tmp_path / "one", make_record("vae"))
    two = store(tmp_path / "two", make_record("gan", None), make_record("left-out"))
    folder = next(two.glob("*/gan-none/*"))
    file = next(one.rglob("record.json"))
    result = call(file, folder, "--format", form)
    assert "vae" in result.stdout
    assert "gan" in result.stdout
    assert "left-out" not in result.stdout
    assert "\x1b" not in result.stdout


def test_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENBENCH_RUNS", raising=False)
    store(tmp_path / "runs", make_record("here"))
    store(tmp_path / "elsewhere", make_record("there"))
    assert "here" in call().stdout
    assert "there" in call(GENBENCH_RUNS="elsewhere").stdout
    assert "there" in call("--runs", "elsewhere").stdout


def test_nothing_to_show_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(GenbenchError, match="no finished runs") as caught:
        call(tmp_path)
    assert "genbench run" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="no such file"):
        call(tmp_path / "missing")
    store(tmp_path, make_record())
    with pytest.raises(GenbenchError, match="no runs on data set `toyface`") as caught:
        call(tmp_path, "--dataset", "toyface")
    assert "`toyfaces`" in str(caught.value.hint)
    assert call(tmp_path, "--dataset", "toyfaces").exit_code == 0


def test_a_strangers_text_can_not_reach_the_terminal_as_code(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07 [red]not markup[/red]"
    store(tmp_path, lost("failed", 0, evil), make_record(seed=1, scores={"m\x1b[2J": 1}))
    result = call(tmp_path, COLUMNS="200")
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert "[red]not markup[/red]" in result.stdout
    for form in ("md", "csv", "json"):
        assert "\x1b" not in call(tmp_path, "--format", form).stdout


def test_the_command_imports_no_torch() -> None:
    code = "import sys, genbench.cli.compare; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
