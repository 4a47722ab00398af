"""Which runs a few words mean, and what is said where they mean none, or too many."""

from pathlib import Path

import pytest

from genbench import GenbenchError
from genbench.chosen import NAMED, choose_run, choose_runs
from genbench.cli import main

ENDED = (
    "celeba/vae-mse/s0-00000000",
    "celeba/vae-mse/s1-11111111",
    "celeba/vaegan-dis-l/s0-22222222",
    "toyfaces/gan-none/s0-33333333",
)
TRAINING = "toyfaces/vae-ssim/s0-44444444"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store with four runs that have ended, and one that has not."""
    for name in ENDED:
        make(tmp_path / "runs" / name, "record.json", "config.toml")
    make(tmp_path / "runs" / TRAINING, "config.toml")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def make(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def refusal(text: str | None, runs: Path, *, ended: bool = True) -> GenbenchError:
    with pytest.raises(GenbenchError) as caught:
        choose_run(text, runs, ended=ended)
    return caught.value


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("runs/celeba/vae-mse/s0-00000000", ENDED[0]),
        ("runs/celeba/vae-mse/s0-00000000/", ENDED[0]),
        ("runs/celeba/vae-mse/s0-00000000/record.json", ENDED[0]),
        ("runs/celeba/vaegan-dis-l", ENDED[2]),  # a folder with one run below it
        ("runs/toyfaces", ENDED[3]),  # of which one has not ended
        ("celeba/vae-mse/s1-11111111", ENDED[1]),
        ("vae-mse/s1", ENDED[1]),
        ("vaegan-dis-l", ENDED[2]),
        ("vaegan", ENDED[2]),
        ("s1", ENDED[1]),
        ("s0-22", ENDED[2]),
        ("celeba/vaegan/s0", ENDED[2]),
        ("gan", ENDED[3]),  # begins no other name
    ],
)
def test_a_run_is_named_by_its_folder_or_by_a_part_of_its_path(text: str, run: str, runs: Path) -> None:
    assert choose_run(text, runs).path.resolve() == (runs / run).resolve()


def test_the_only_run_of_a_store_needs_no_name(tmp_path: Path) -> None:
    make(tmp_path / "a", "record.json")
    make(tmp_path / "b", "config.toml")
    assert choose_run(None, tmp_path).path == tmp_path / "a"
    assert "2 runs are in" in refusal(None, tmp_path, ended=False).message


def test_a_name_that_is_whole_comes_before_one_that_another_begins_with(tmp_path: Path) -> None:
    for name in ("vae-mse", "vae-mse-2"):
        make(tmp_path / name / "s0", "record.json")
    assert choose_run("vae-mse", tmp_path).path == tmp_path / "vae-mse" / "s0"
    assert "2 runs fit `vae-ms`" in refusal("vae-ms", tmp_path).message


def test_a_folder_without_runs_that_is_called_as_a_part_of_the_store_is_no_obstacle(runs: Path) -> None:
    Path("vaegan").mkdir()
    assert choose_run("vaegan", runs).path == runs / ENDED[2]


def test_one_that_fits_and_has_ended_comes_before_one_that_has_not(runs: Path) -> None:
    assert choose_run("toyfaces", runs).path == runs / ENDED[3]
    error = refusal("toyfaces/vae-ssim", runs)
    assert error.message == f"{runs / TRAINING}: this run has not finished"
    assert "genbench run" in str(error.hint)
    assert refusal(str(runs / TRAINING), runs).message == error.message
    assert choose_run("vae-ssim", runs, ended=False).path == runs / TRAINING


def test_several_runs_are_listed_and_of_many_the_first(runs: Path) -> None:
    error = refusal("vae-mse", runs)
    assert error.message == f"2 runs fit `vae-mse`: {ENDED[0]}, {ENDED[1]}"
    assert refusal(None, runs).message == f"4 runs are in runs: {', '.join(ENDED)}"
    assert refusal("runs/celeba", runs).message.startswith("3 runs are in runs/celeba: vae-mse/s0-00000000, ")
    for seed in range(10, 20):
        make(runs / "digits" / "vae-mse" / f"s{seed}-5", "record.json")
    message = refusal("digits", runs).message
    assert message.endswith(f" and {10 - NAMED} more")
    assert message.count("vae-mse") == NAMED


def test_what_fits_no_run_is_told_with_what_is_near_or_there(runs: Path) -> None:
    error = refusal("vaegan-disl", runs)
    assert error.message == "no run in runs fits `vaegan-disl`"
    assert "did you mean `vaegan-dis-l`" in str(error.hint)
    assert str(refusal("!", runs).hint).startswith(f"there are: {ENDED[0]}, ")
    assert "fits `celeba/s0`" in refusal("celeba/s0", runs).message  # names must follow each other
    assert refusal("runs/celeba/vae-mse/s0-00000000/checkpoint", runs).message.startswith("no run in runs fits")


def test_an_empty_store_and_one_that_is_not_there_say_how_a_run_is_made(tmp_path: Path) -> None:
    for store in (tmp_path, tmp_path / "nowhere"):
        for text in (None, "vae"):
            error = refusal(text, store)
            assert error.message == f"{store}: no runs"
            assert "genbench run" in str(error.hint)


def test_what_a_run_keeps_beside_its_record_is_no_run(tmp_path: Path) -> None:
    make(tmp_path / "run", "record.json")
    make(tmp_path / "run" / "film", "config.toml")
    assert choose_run(None, tmp_path).path == tmp_path / "run"


def test_several_texts_mean_all_that_fit_each_run_once(runs: Path) -> None:
    def chosen(*texts: str) -> list[str]:
        return [folder.path.relative_to(runs).as_posix() for folder in choose_runs(texts, runs)]

    assert chosen() == [*ENDED, TRAINING]
    assert chosen("vae-mse") == list(ENDED[:2])
    assert chosen("s1", "vae-mse", str(runs / TRAINING)) == [ENDED[1], ENDED[0], TRAINING]
    assert chosen("runs/toyfaces") == [ENDED[3], TRAINING]
    with pytest.raises(GenbenchError, match="no run in runs fits `nothing`"):
        chosen("vae-mse", "nothing")


def test_the_command_line_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latents", "vae-mse", "--runs", str(runs)]) == 2
    assert capsys.readouterr().err.startswith("error: 2 runs fit `vae-mse`: ")
