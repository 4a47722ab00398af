"""Rate-distortion diagrams: curves of known points, and pictures that hold what they should."""

import re
from pathlib import Path

import pytest
from leaderboards import make_record

from genbench.cli import main
from genbench.digest import digest_of
from genbench.errors import GenbenchError
from genbench.exchange import read_all
from genbench.records import Record
from genbench.report.rate_distortion import Diagram, diagrams, draw
from genbench.store import RunFolder, write_record


def run(similarity: str, gamma: float, seed: int, rate: float, error: float, **changes: object) -> Record:
    return make_record("vae", similarity, seed, {"kl": rate, "mse": error}, gamma=gamma, **changes)  # type: ignore[arg-type]


RUNS = [
    *(run("mse", 1.0, seed, 10 + seed, 0.3) for seed in range(3)),
    run("mse", 0.1, 0, 40, 0.1),
    *(run("ssim", gamma, 0, 5 / gamma, gamma) for gamma in (0.5, 2.0)),
]


def only(records: list[Record], metric: str = "mse") -> Diagram:
    (found,) = diagrams([digest_of(record) for record in records], metric)
    return found


def test_runs_that_differ_in_weights_alone_are_one_curve_by_rate() -> None:
    diagram = only(RUNS)
    assert (diagram.heading, diagram.direction) == ("toyfaces 32×32×3", "lower")
    mse, ssim = diagram.curves
    assert (mse.label, ssim.label) == ("vae · mse", "vae · ssim")
    assert [(p.rate.mean, p.distortion.mean, p.rate.n) for p in mse.points] == [(11, 0.3, 3), (40, 0.1, 1)]
    # t(2) at 97.5 % is 4.3027; the deviation over seeds is 1.
    assert mse.points[0].rate.half_width == pytest.approx(4.302653 / 3**0.5)
    assert mse.points[1].rate.half_width is None
    assert [p.rate.mean for p in ssim.points] == [2.5, 10]


def test_other_settings_make_other_curves() -> None:
    labels = [curve.label for curve in only([*RUNS, run("mse", 1.0, 0, 10, 0.3, width=0.5)]).curves]
    assert labels == ["vae · mse width=0.5", "vae · mse width=1.0", "vae · ssim"]


def test_a_run_that_was_made_again_is_left_out_whatever_its_protocol() -> None:
    earlier = run("mse", 0.1, 0, 99, 9.9, protocol={"split": "validation"}, finished_utc="2024-01-01T00:00:00Z")
    assert only([earlier, *RUNS]) == only(RUNS)


def test_what_can_not_be_drawn_is_said() -> None:
    with pytest.raises(GenbenchError, match="unknown metric `msee`") as caught:
        only(RUNS, "msee")
    assert "`mse`" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="no run has both `kl` and `mse`") as caught:
        only([make_record("vae", "mse", 0, {"mse": 1.0})])
    assert "--evaluators rate,mse" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match="`mse` has 2 protocols"):
        only([*RUNS, run("l1", 1.0, 0, 1, 1, protocol={"split": "validation"})])


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_picture_is_the_same_for_the_same_runs(form: str, begins: bytes) -> None:
    picture = draw(only(RUNS), form)
    assert picture.startswith(begins)
    assert picture == draw(only(RUNS), form)


def test_the_command_draws_what_the_store_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, record in enumerate(RUNS):
        write_record(RunFolder(tmp_path / "runs" / str(number)), record)
    assert main(["figure", "rate-distortion", "-o", "rd.svg"]) == 0
    assert capsys.readouterr().out.splitlines() == ["vae · mse: 2 points", "vae · ssim: 2 points", "rd.svg"]
    svg = (tmp_path / "rd.svg").read_text()
    assert len(re.findall(r"<svg ", svg)) == 1
    assert main(["figure", "rate-distortion", "-o", "rd.gif"]) == 2
    assert "endings are .svg, .pdf, .png" in capsys.readouterr().err
    assert main(["figure", "rate-distortion", "-o", "rd.svg", "--where", "similarity=ssim"]) == 0
    assert "vae · mse" not in capsys.readouterr().out
    assert len(read_all([tmp_path / "runs"])[0]) == len(RUNS)


def test_names_are_no_formulas_and_no_number_is_too_large_to_be_told(recwarn: pytest.WarningsRecorder) -> None:
    named = [make_record(r"_$\frac{ \x1b", "模", seed, {"kl": float(seed), "mse": 1.0}) for seed in range(2)]
    assert rb"frac" in draw(only(named), "svg") or draw(only(named), "svg").startswith(b"<?xml")
    huge = [make_record("vae", "mse", 0, {"kl": 1.7e308 * sign, "mse": 1.0}, gamma=sign) for sign in (1, -1)]
    with pytest.raises(GenbenchError, match="too large to be drawn"):
        draw(only(huge), "svg")
    assert not recwarn


def test_without_the_name_of_a_figure_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure"]) == 2
    assert capsys.readouterr().err.startswith("error: genbench figure: Missing command")
