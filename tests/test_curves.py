"""Training curves: gradients' norms that are logged, what is drawn of a curve, and curves of runs under way."""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from bench import BATCH, STEPS, Bench, stop_after

from genbench import GenbenchError
from genbench.cli import main
from genbench.config import RunConfig
from genbench.interfaces import Gradients
from genbench.report.curves import RunCurve, curves_csv, draw_curves, gate_of, read_curves, series_by_quantity
from genbench.report.drawing import NEUTRAL
from genbench.store import RunFolder, write_config
from genbench.train.curve import read_curve
from genbench.train.ledger import Ledger

Row = Mapping[str, float]


def curve(*rows: Row, label: str = "vae · mse", seed: int = 0, gate: tuple[float, float] | None = None) -> RunCurve:
    return RunCurve(label, seed, rows, gate)


def steps(count: int, **values: float) -> tuple[Row, ...]:
    return tuple({"images_seen": 100.0 * (i + 1), **{k: v + i for k, v in values.items()}} for i in range(count))


def svg(*curves: RunCurve, compact: bool = False) -> str:
    return draw_curves(curves, "svg", compact=compact).decode()


def panels(text: str) -> int:
    return len(set(re.findall(r'id="axes_\d+"', text)))


def test_the_norm_of_a_networks_gradient_is_that_of_one_vector() -> None:
    ledger = Ledger(torch.device("cpu"))
    ledger.add(Gradients({"a": (torch.tensor([[3.0]]), None, torch.tensor([4.0])), "b": (None,)}))
    ledger.add(Gradients({"a": (torch.tensor([[0.0]]), None, torch.tensor([1.0])), "b": (None,)}))
    assert ledger.read().means() == {"gradient.a": pytest.approx((5 + 1) / 2)}  # b has none


def test_a_window_without_norms_that_an_older_genbench_left_is_gone_on_with() -> None:
    ledger = Ledger(torch.device("cpu"))
    ledger.restore([(["kl"], ["a"], [6.0, 2.0])])
    ledger.add(Gradients({"a": (torch.tensor([3.0]),)}, {"kl": torch.tensor(9.0)}))
    reading = ledger.read()
    assert (reading.steps, reading.culprit) == (3, None)
    assert reading.means() == {"kl": 5.0, "gradient.a": 3.0}


def test_a_run_logs_the_gradients_that_its_networks_got(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from genbench.train import engine

    norms: list[dict[str, float]] = []
    original = engine.average

    def spy(*args: object) -> Gradients:
        found: Gradients = original(*args)  # type: ignore[arg-type]
        flat = {name: torch.cat([g.flatten() for g in own if g is not None]) for name, own in found.of.items()}
        norms.append({name: float(vector.double().norm()) for name, vector in flat.items()})
        return found

    monkeypatch.setattr(engine, "average", spy)
    config = bench.config("vaegan", evaluators=())
    bench.finish(config)
    (row,) = read_curve(bench.folder(config))
    for network in ("encoder", "decoder", "discriminator"):
        mean = sum(norm[network] for norm in norms) / STEPS
        assert row[f"gradient.{network}"] == pytest.approx(mean, rel=1e-5)


def test_panels_are_in_the_order_of_what_they_tell() -> None:
    row = {
        "images_seen": 64.0,
        "gradient.decoder": 1.0,
        "mine": 2.0,
        "moved.decoder": 0.5,
        "gan.fake": 0.6,
        "gan.real": 0.7,
        "like": 3.0,
        "kl": 4.0,
    }
    expected = ["kl", "like", "gan.real", "gan.fake", "moved.decoder", "mine", "gradient.decoder"]
    assert list(series_by_quantity([curve(row)])) == expected
    assert panels(svg(curve(row))) == len(expected)


def test_a_gate_that_never_closed_has_no_panel() -> None:
    always = curve(*steps(1, **{"moved.decoder": 1.0}), *steps(1, kl=1.0))
    assert list(series_by_quantity([always])) == ["kl"]
    once = curve({"images_seen": 1.0, "moved.decoder": 0.98})
    assert list(series_by_quantity([always, once])) == ["kl", "moved.decoder"]
    assert len(series_by_quantity([always, once])["moved.decoder"]) == 2


def test_rows_without_a_quantity_are_left_out_of_its_line() -> None:
    both = curve(*steps(2, first=1.0), {"images_seen": 300.0, "second": 9.0})
    found = series_by_quantity([both])
    assert [(line.images, line.values) for line in found["first"]] == [((100, 200), (1, 2))]
    assert [(line.images, line.values) for line in found["second"]] == [((300,), (9,))]


def test_long_curves_have_a_running_mean_and_short_ones_none() -> None:
    assert series_by_quantity([curve(*steps(149, kl=0.0))])["kl"][0].smooth == ()
    line = series_by_quantity([curve(*steps(200, kl=0.0))])["kl"][0]
    # Of a straight line the mean of a centred window is the line itself; at the ends the window has one side alone.
    assert line.smooth[2:-2] == pytest.approx(line.values[2:-2])
    assert (line.smooth[0], line.smooth[-1]) == (1, 198)
    constant = curve(*({"images_seen": float(i), "kl": 7.0} for i in range(500)))
    assert set(series_by_quantity([constant])["kl"][0].smooth) == {7.0}


def colours(text: str) -> set[str]:
    return set(re.findall(r"#[0-9a-f]{6}", text))


def test_seeds_share_a_colour_and_labels_do_not() -> None:
    one, other = (curve(*steps(3, kl=1.0), seed=seed) for seed in range(2))
    foreign = curve(*steps(3, kl=1.0), label="gan")
    assert {"#1f77b4"} == colours(svg(one, other)) & {"#1f77b4", "#ff7f0e"}
    assert {"#1f77b4", "#ff7f0e"} <= colours(svg(one, other, foreign))


def test_an_axis_is_logarithmic_where_a_quantity_spans_decades() -> None:
    from genbench.report import curves

    def scale(*values: float) -> str:
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        rows = [{"images_seen": float(i), "x": value} for i, value in enumerate(values)]
        curves._panel(axes, "x", series_by_quantity([curve(*rows)])["x"], {"vae · mse": ("C0", "-")})
        return axes.get_yscale()

    assert scale(1, 50, 100) == "log"
    assert scale(1, 99) == "linear"
    assert scale(0, 1000) == scale(-1, 1000) == "linear"


def test_the_gates_equilibrium_is_drawn_with_the_gans_costs_alone() -> None:
    gate = (0.68, 0.35)
    assert NEUTRAL in svg(curve(*steps(2, **{"gan.real": 0.5}), gate=gate))
    from matplotlib.figure import Figure

    from genbench.report import curves

    for quantity, lines in (("gan.real", 2), ("gan.fake", 2), ("kl", 1)):
        axes = Figure().add_subplot()
        series = series_by_quantity([curve(*steps(2, **{quantity: 0.5}), gate=gate)])[quantity]
        curves._panel(axes, quantity, series, {"vae · mse": ("C0", "-")})
        assert len(axes.lines) == lines
        assert len(axes.patches) == lines - 1  # the band
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1.5]


def test_a_single_row_is_a_dot_and_no_row_an_error() -> None:
    assert panels(svg(curve({"images_seen": 64.0, "kl": 3.0}))) == 1
    for empty in ([], [curve()], [curve({"images_seen": 64.0})]):
        with pytest.raises(GenbenchError, match="nothing was logged yet"):
            draw_curves(empty, "svg")


def test_a_stranger_names_and_numbers_are_drawn_as_they_are(recwarn: pytest.WarningsRecorder) -> None:
    odd = curve({"images_seen": 1.0, r"_$\frac{ \x1b": 1.0}, {"images_seen": -5.0, "kl": 1e300}, label=r"$\x_ 模")
    assert panels(svg(odd)) == 2
    assert draw_curves([curve({"images_seen": 0.0, "kl": 0.0})], "png").startswith(b"\x89PNG")
    long = svg(curve({"images_seen": 1.0, "kl": 1.0, "y" * 500: 1.0}))
    assert f"<!-- {'y' * 59}… -->" in long
    many = [curve(*steps(2, kl=1.0), label=f"vae {i}") for i in range(45)]
    assert panels(svg(*many)) == 1
    assert not recwarn


@pytest.mark.parametrize(
    ("form", "begins", "compact"), [("svg", b"<?xml", True), ("pdf", b"%PDF", False), ("png", b"\x89PNG", False)]
)
def test_a_picture_is_the_same_for_the_same_curves(form: str, begins: bytes, compact: bool) -> None:
    runs = [curve(*steps(3, kl=1.0, like=2.0), gate=(0.6, 0.1))]
    picture = draw_curves(runs, form, compact=compact)
    assert picture.startswith(begins)
    assert picture == draw_curves(runs, form, compact=compact)


def test_the_table_has_what_is_drawn() -> None:
    found = list(csv.DictReader(io.StringIO(curves_csv([curve(*steps(200, kl=0.5)), curve(*steps(1, like=2.0))]))))
    assert len(found) == 201
    assert found[0] == {
        "run": "vae · mse",
        "seed": "0",
        "quantity": "kl",
        "images_seen": "100.0",
        "value": "0.5",
        "running_mean": "1.5",
    }
    assert (found[-1]["quantity"], found[-1]["running_mean"]) == ("like", "")


@pytest.mark.parametrize(
    ("settings", "gate"),
    [
        ({"equilibrium": 0.68, "margin": 0.35}, (0.68, 0.35)),
        ({"equilibrium": 1, "margin": 2}, (1, 2)),
        ({"equilibrium": 0.68, "margin": 0.0}, None),  # the gate is open
        ({"equilibrium": 0.68}, None),
        ({"equilibrium": "x", "margin": None}, None),
        ("strange", None),
    ],
)
def test_a_gate_is_read_from_a_configuration(settings: object, gate: tuple[float, float] | None) -> None:
    assert gate_of({"model": {"name": "m", "settings": settings}}) == gate
    assert gate_of({}) is None


def write_run(
    folder: Path, rows: int, *, seed: int = 0, dataset: str = "toyfaces", width: float = 1.0, similarity: str = "mse"
) -> None:
    model = {"name": "vaegan", "settings": {"equilibrium": 0.6, "margin": 0.2}}
    config = {
        "model": model,
        "similarity": {"name": similarity},
        "dataset": {"name": dataset},
        "network": {"width": width},
        "seed": seed,
        "evaluation": {"evaluators": [seed]},
    }
    write_config(RunFolder(folder), config)
    lines = [json.dumps(row) + "\n" for row in steps(rows, kl=float(seed))]
    RunFolder(folder).curve_path.write_text("".join(lines) + '{"images_se')


def labels(*folders: Path) -> list[tuple[str, int]]:
    return [(found.label, found.seed) for found in read_curves([RunFolder(folder) for folder in folders])]


def test_runs_are_labelled_by_what_tells_them_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 2)
    write_run(tmp_path / "b", 2, seed=1)
    assert labels(tmp_path / "a", tmp_path / "b") == [("vaegan · mse", 0), ("vaegan · mse", 1)]
    write_run(tmp_path / "c", 2, width=0.5)
    assert labels(tmp_path / "a", tmp_path / "c") == [("vaegan · mse width=1.0", 0), ("vaegan · mse width=0.5", 0)]
    write_run(tmp_path / "d", 2, dataset="celeba")
    assert labels(tmp_path / "a", tmp_path / "d") == [("toyfaces: vaegan · mse", 0), ("celeba: vaegan · mse", 0)]
    (found,) = read_curves([RunFolder(tmp_path / "b")])
    assert found.gate == (0.6, 0.2)
    assert found.rows == steps(2, kl=1.0)  # and not the row that is cut in half


def test_the_command_draws_runs_under_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, output = tmp_path / "runs", tmp_path / "curves.svg"
    command = ["curves", "--runs", str(runs), "-o", str(output)]
    assert main(command) == 2
    assert f"{runs}: no runs" in capsys.readouterr().err
    write_run(runs / "toyfaces" / "vaegan-mse" / "s1-0", 0, seed=1)
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "s1-0: nothing was logged yet" in told
    assert "error: no curve to draw" in told
    write_run(runs / "toyfaces" / "vaegan-mse" / "s0-0", 30)
    assert main(command) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "vaegan · mse, seed 0: 30 rows, to 3,000 images",
        *map(str, (output, output.with_suffix(".csv"))),
    ]
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command[:1], "vaegan/s0", *command[1:], "--force"]) == 0
    assert "s1-0" not in capsys.readouterr().err
    assert len(output.with_suffix(".csv").read_text().splitlines()) == 31


def test_a_curve_that_can_not_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("seed = 0\n[model]\nname = 'vae'\n")
    (tmp_path / "curve.jsonl").mkdir()
    assert main(["curves", str(tmp_path), "-o", str(tmp_path / "curves.png")]) == 2
    assert "curve.jsonl: can't be read: Is a directory" in capsys.readouterr().err


def test_a_folder_that_tells_nothing_of_its_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "record.json").touch()
    with pytest.raises(GenbenchError, match=r"config\.toml: No such file"):
        read_curves([RunFolder(tmp_path)])
    for text in ("= no toml", "seed = 1\n", "model = 3\nseed = 1\n", "seed = 'x'\n[model]\nname = 'vae'\n"):
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(GenbenchError, match=r"config\.toml"):
            read_curves([RunFolder(tmp_path)])


def test_a_real_run_is_drawn_before_and_after_its_end(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genbench.train.engines.LOG_STEPS", 2)
    config: RunConfig = bench.config("vaegan", evaluators=())
    command = ["curves", "--runs", str(bench.around.runs), "-o", str(tmp_path / "c.png"), "--force"]
    assert bench.run(config, stop=stop_after(3)) is None
    assert main(command) == 0
    assert f"1 row, to {2 * BATCH} images" in capsys.readouterr().out
    bench.finish(config)
    assert main(command) == 0
    assert f"vaegan · dis-l, seed 0: 3 rows, to {STEPS * BATCH} images" in capsys.readouterr().out
    names = {row["quantity"] for row in csv.DictReader(io.StringIO((tmp_path / "c.csv").read_text()))}
    assert {"kl", "like", "gan.real", "gan.fake", "gradient.encoder", "gradient.decoder"} <= names
