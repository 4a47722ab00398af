"""`genbench compare` as a user types it."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leaderboards import lost, make_record

from genbench.cli import group
from genbench.errors import GenbenchError
from genbench.records import Record
from genbench.store import run_folder, write_record


def store(root: Path, *records: Record) -> Path:
    for record in records:
        run = record.run
        write_record(run_folder(root, run.dataset, run.model, run.similarity, run.seed, record.config_hash), record)
    return root


def call(*args: object, **env: str) -> Result:
    result = CliRunner().invoke(group, ["compare", *map(str, args)], env=env)
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
    for name in ("vaegan", "dis-l", "attributes ↓", "cosine ↑", "0.01272*", "±0.00092"):
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
    assert "0.01642 ±0.00092" in line


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


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_views_go_with_every_form(tmp_path: Path, form: str) -> None:
    store(tmp_path, *five_models())
    view = ("--sort", "fid", "--metrics", "ssim,cos*", "--baseline", "vae ssim", "--where", "model=vae,vaegan")
    text = call(tmp_path, *view, "--format", form, COLUMNS="200").stdout
    assert "gan" not in text.replace("vaegan", "")
    assert "psnr" not in text
    if form == "csv":
        lines = list(csv.DictReader(io.StringIO(text)))
        assert list(dict.fromkeys(line["metric"] for line in lines)) == ["ssim", "cosine"]
        assert [line["similarity"] for line in lines[::2]] == ["mse", "ssim", "dis-l", "dis-l"]
        assert lines[0]["difference_paired"] == "true"
    elif form == "json":
        (table,) = json.loads(text)["tables"]
        assert [row["rank"] for row in table["rows"]] == [1, 2, 3, 4]
        assert table["baseline"] == "vae · ssim"
    else:
        assert "vae (baseline)" in text
        assert "rank" in text
        assert "differences from vae · ssim" in text


def test_one_seed_has_a_hint_and_several_have_a_legend(tmp_path: Path) -> None:
    one = call(store(tmp_path / "one", *five_models(1)), COLUMNS="200").stdout
    assert "one seed each: nothing can be told from chance; add `--seed 1`" in one
    assert "±" not in one
    assert "*" not in one
    several = call(store(tmp_path / "several", *five_models()), COLUMNS="200").stdout
    assert "± 95 % interval over seeds (Student's t)" in several
    assert "* no row is significantly better" in several


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (("--sort", "fdi"), "unknown metric `fdi`"),
        (("--metrics", "fdi"), "unknown metric `fdi`"),
        (("--metrics", " , "), "--metrics: names no metric"),
        (("--baseline", "vae"), "--baseline vae: 3 rows begin so"),
        (("--where", "model"), "expected KEY OP VALUE"),
        (("--where", "modl=vae"), "no run has a `modl`"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(tmp_path: Path, view: tuple[str, str], message: str) -> None:
    store(tmp_path, *five_models(1))
    with pytest.raises(GenbenchError, match=re.escape(message)) as caught:
        call(tmp_path, *view)
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_slip_in_a_condition_is_a_warning(tmp_path: Path) -> None:
    result = call(store(tmp_path, *five_models(1)), "--where", "model=gan,vea", COLUMNS="200")
    assert result.stderr == "warning: --where 'model=gan,vea': no run has `vea`; did you mean `vae`?\n"
    assert "gan" in result.stdout


def imported_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


def test_torch_is_never_imported_and_scipy_where_seeds_are_several(tmp_path: Path) -> None:
    def ran(*records: Record) -> set[str]:
        root = store(tmp_path / str(len(records)), *records)
        return imported_by(f"from genbench.cli.compare import compare\ncompare([{str(root)!r}], standalone_mode=False)")

    assert not {"torch", "numpy", "scipy", "pandas"} & imported_by("import genbench.cli.compare")
    assert not {"torch", "numpy", "scipy", "pandas"} & ran(make_record(), make_record("gan", None))
    several = ran(*five_models(2))
    assert {"numpy", "scipy"} <= several
    assert not {"torch", "pandas", "sklearn"} & several


def test_numbers_as_large_as_there_are_can_be_shown(tmp_path: Path) -> None:
    store(tmp_path, *(make_record(seed=seed, scores={"mse": 1.7e308 * (-1) ** seed}) for seed in range(3)))
    for form in ("table", "md", "csv", "json"):
        assert "e+30" in call(tmp_path, "--format", form).stdout


def test_records_that_can_not_be_read_are_not_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text("[[runs]]")
    with pytest.raises(GenbenchError, match="no record that can be read"):
        call(path)


@pytest.mark.parametrize("columns", ["0", "1"])
def test_no_terminal_is_so_narrow_that_letters_stand_one_by_one(tmp_path: Path, columns: str) -> None:
    store(tmp_path, make_record())
    assert "similarity" in call(tmp_path, COLUMNS=columns).stdout
