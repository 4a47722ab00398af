"""`genbench score` as a user types it: tables, figures, JSON, what is skipped, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desks import at_desk
from judgements import SETS, write_bapps

from genbench import sensitivity
from genbench.cli import main
from genbench.evaluate import referee

FACES = ("--size", "16", "-s", "dataset.count=120")
TINY = ("--images", "6", "--device", "cpu", "--threads", "1", *FACES)

PLUGIN = """
import genbench
from genbench.errors import NotApplicable
from genbench.interfaces import Similarity


@genbench.hookimpl
def genbench_similarities():
    for name in ("root", "unhad", "broken", "nan", "blind", "numberless", "leaving", "loud"):
        yield genbench.SimilaritySpec(name, "", f"genbenchfile:{name.title()}")
    yield genbench.SimilaritySpec("large", "", "genbenchfile:Root", needs=genbench.Needs(min_size=999))
    yield genbench.SimilaritySpec("grey", "", "genbenchfile:Root", needs=genbench.Needs(channels=1))


class Root(Similarity):
    def forward(self, real, fake):
        return (real.images - fake.images).square().flatten(1).sum(1).sqrt()


class Unhad(Root):
    def __init__(self):
        raise NotApplicable("its weights are not here", "put them there")


class Broken(Root):
    def forward(self, real, fake):
        raise RuntimeError("out of luck")


class Nan(Root):
    def forward(self, real, fake):
        return super().forward(real, fake) * float("nan")


class Blind(Root):
    def forward(self, real, fake):
        return 0 * super().forward(real, fake)


class Numberless(Root):
    def forward(self, real, fake):
        return super().forward(real, fake).numpy()


class Leaving(Root):
    def forward(self, real, fake):
        raise SystemExit(3)


class Loud(Root):
    def forward(self, real, fake):
        import os

        os.chdir("/")
        print("loud")
        os.write(1, b"louder")
        return super().forward(real, fake)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with a plugin, with a cache that the tests share, one thread and no terminal."""
    monkeypatch.setattr(sensitivity, "LEVELS", tuple(level for level in sensitivity.LEVELS if level > 0.015))
    (tmp_path / "genbenchfile.py").write_text(PLUGIN)
    with at_desk(tmp_path, cache):
        yield tmp_path


def score(*arguments: str) -> int:
    return main(["score", *arguments])


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Score, and return the status and what is printed as JSON."""
    capsys.readouterr()
    status = score(*arguments, *TINY, "--json")
    return status, json.loads(capsys.readouterr().out)


def noises(plain: dict[str, Any], name: str, distortion: str) -> list[float]:
    (found,) = [similarity for similarity in plain["similarities"] if similarity["name"] == name]
    (curve,) = [curve for curve in found["curves"] if curve["distortion"] == distortion]
    return [point["median"]["value"] for point in curve["points"]]


def test_one_is_told_in_full_beside_mse(capsys: pytest.CaptureFixture[str]) -> None:
    assert score("root", *TINY) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "toyfaces 16×16×3, 6 images of the test split"
    assert max(map(len, lines)) <= 80
    starts = [line.split(",")[0] for line in lines if line and not line.startswith(" ")]
    for distortion in ("blur", "shift", "rotation", "contrast", "jpeg", "colour", "another image", "noise"):
        assert distortion in starts
    root, mse = ([line.split()[1:] for line in lines if line.startswith(f"  {name} ")] for name in ("root", "mse"))
    assert len(root) == len(mse) == 8
    assert root[:7] == mse[:7], "a root orders all as what it is the root of"
    assert root[7] != mse[7], "but not by equal shares"
    assert lines[-2].startswith("a shift of 1 px costs as much as noise of ")
    assert "toyfaces are drawn" in err


def test_several_are_told_in_brief_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert score("ssim", "root", "ssim", *TINY) == 0
    out, _ = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["ssim", "root", "mse"]
    assert score("mse", "--dataset", "toyfaces", *TINY) == 0
    out, err = capsys.readouterr()
    assert sum(line.startswith("  mse ") for line in out.splitlines()) == 8
    assert "drawn" not in err


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    status, plain = result(capsys, "ssim", "-s", "mse.reduction=mean")
    assert status == 0
    assert plain["schema"] == "genbench.score/1"
    protocol = plain["protocol"]
    assert (protocol["dataset"], protocol["dataset_size"], protocol["split"], protocol["images"]) == (
        "toyfaces", 16, "test", 6,
    )  # fmt: skip
    assert len(protocol["dataset_fingerprint"]) == 64
    assert protocol["dataset_settings"]["count"] == 120
    assert {"genbench", "torch", "pillow"} <= set(protocol["versions"])
    ssim, mse = plain["similarities"]
    assert (ssim["name"], mse["name"]) == ("ssim", "mse")
    assert mse["facts"]["similarity_reduction"] == "mean"
    assert mse["facts"]["similarity_plugin"].startswith("genbench ")
    assert [curve["distortion"] for curve in ssim["curves"]] == [
        "blur", "shift", "rotation", "contrast", "jpeg", "colour",
    ]  # fmt: skip
    point = ssim["curves"][0]["points"][0]
    assert point["median"]["low"] <= point["median"]["value"] <= point["median"]["high"]
    assert point["cost"]["value"] > point["cost"]["error"] > 0
    assert [level["strength"] for level in mse["noise"]["points"]] == protocol["noise_levels"]
    again = result(capsys, "ssim", "mse", "-s", "mse.reduction=mean")[1]
    assert again["similarities"] == plain["similarities"]


def test_the_mean_of_squares_has_the_curves_of_their_sum(capsys: pytest.CaptureFixture[str]) -> None:
    plain = result(capsys, "mse", "-s", "reduction=mean")[1]
    other = result(capsys, "mse")[1]
    assert noises(plain, "mse", "shift") == pytest.approx(noises(other, "mse", "shift"), rel=1e-4)


def test_other_images_give_other_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    test = result(capsys, "mse")[1]
    train = result(capsys, "mse", "--split", "train")[1]
    assert train["protocol"]["split"] == "train"
    assert noises(train, "mse", "blur") != noises(test, "mse", "blur")


def test_grey_images_are_not_recoloured(capsys: pytest.CaptureFixture[str]) -> None:
    status = score("grey", "root", "--dataset", "digits", "--size", "16", "--images", "6", "--device", "cpu")
    out, _ = capsys.readouterr()
    assert status == 0
    assert "colour: left out: grey images have no colour to turn" in out
    assert "  5 %" not in out


def test_one_that_cannot_be_had_is_skipped_where_others_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert score("unhad", "root", "large", "grey", *TINY) == 0
    out, _ = capsys.readouterr()
    assert "unhad: skipped: its weights are not here (put them there)" in out
    assert "large: skipped: similarity `large` needs images of 999 px, these have 16 (--size 999)" in out
    assert "grey: skipped: similarity `grey` needs 1 channels, these images have 3" in out
    assert any(line.startswith("root ") for line in out.splitlines())


def test_one_that_goes_wrong_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    status, plain = result(capsys, "broken", "nan", "blind", "numberless", "leaving", "root")
    assert status == 1
    assert [similarity["name"] for similarity in plain["similarities"]] == ["root", "mse"]
    assert plain["failed"]["broken"] == "RuntimeError: out of luck"
    assert "cost is nan for an image and itself" in plain["failed"]["nan"]
    assert "`blind` tells most images from no other" in plain["failed"]["blind"]
    assert "gives a ndarray, expected a tensor" in plain["failed"]["numberless"]
    assert plain["failed"]["leaving"] == "SystemExit: 3"


@pytest.mark.parametrize(
    ("names", "status", "complaint", "hint"),
    [
        (("unhad",), 1, "its weights are not here", "put them there"),
        (("nan",), 1, "the similarity's cost is nan", ""),
        (("large",), 2, "needs images of 999 px, these have 16", "--size 999"),
        (("large", "grey"), 2, "needs images of 999 px, these have 16", "--size 999"),
        (("unhad", "nan"), 1, "none of them can be measured: unhad: its weights", ""),
        (("broken",), 1, "unexpected RuntimeError", ""),
        (("leaving",), 1, "unexpected SystemExit", ""),
        (("sim",), 2, "unknown similarity `sim`", "did you mean `ssim`"),
        (("mse:0.5+dis-l:0.5",), 2, "is a mixture", "name its parts"),
        (("ssim", "--dataset", "toyface"), 2, "unknown dataset `toyface`", "did you mean `toyfaces`"),
        (("ssim", "-s", "window=3"), 2, "`ssim` has no setting `window`", ""),
        (("ssim", "-s", "l1.reduction=mean"), 2, "setting `l1.reduction` belongs to nothing here", "ssim, mse"),
        (("ssim", "root", "-s", "reduction=mean"), 2, "setting `reduction` belongs to nothing here", "dataset, ssim"),
        (("mse", "-s", "reduction"), 2, "is not of the form NAME.KEY=VALUE", "-s mse.KEY"),
        (("mse", "-s", "reduction=sum", "-s", "mse.reduction=sum"), 2, "`mse.reduction` is given twice", ""),
        (("mse", "-s", "reduction=most"), 2, "`reduction`", ""),
        (("ssim", "--figure", "a.gif"), 2, "a.gif: can't draw .gif", ".svg, .pdf, .png"),
        (("ssim", "--bapps", "nowhere"), 2, "there is no folder nowhere/2afc/val", "holds `2afc/val`"),
        (("dis-l", "--run", "nowhere"), 2, "--run nowhere: no finished run", "record.json"),
        (("ssim", "--run", "nowhere"), 2, "--run nowhere: ssim needs no discriminator", "leave it out"),
    ],
)
def test_what_cannot_be_done_is_told(
    names: tuple[str, ...], status: int, complaint: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(*names, *TINY) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert hint in err


def test_nothing_to_score_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert score() == 2
    assert "NAMES" in capsys.readouterr().err


def test_a_figure_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("root", *TINY, "--figure", "deep/score.png") == 0
    assert (here / "deep/score.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[-1] == "deep/score.png"


def test_what_is_measured_is_told_even_where_the_figure_can_not_be_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.svg").mkdir()
    assert score("root", *TINY, "--figure", "a.svg") == 2
    out, err = capsys.readouterr()
    assert "a shift of 1 px costs as much" in out
    assert "cannot write a.svg" in err


def test_what_a_similarity_prints_is_no_json_and_where_it_goes_moves_no_figure(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert score("loud", *TINY, "--json", "--figure", "a.svg") == 0
    assert json.loads(capfd.readouterr().out)["failed"] == {}
    assert (here / "a.svg").is_file()


def test_the_reference_discriminator_is_trained_once_and_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referee, "IMAGES", 128)
    assert score("dis-l", *TINY) == 0
    assert "training the reference discriminator of `toyfaces`: once, 128 images; --run" in capsys.readouterr().err
    assert score("dis-l", *TINY, "--json") == 0
    out, err = capsys.readouterr()
    assert "training" not in err
    facts = json.loads(out)["similarities"][0]["facts"]
    assert len(facts["discriminator_weights"]) == 64
    assert facts["similarity_layer"] == "default"


def test_a_runs_own_discriminator_is_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = (*FACES, "--width", "0.05", "--images", "32", "--batch-size", "8", "--evaluators", "none")
    network = ("-s", "network.latent_size=4", "-s", "network.encoder_hidden=64", "--device", "cpu", "--threads", "1")
    assert main(["run", "vaegan", "toyfaces", *small, *network]) == 0
    assert main(["run", "vae", "toyfaces", *small, *network]) == 0
    (run,) = here.glob("runs/*/vaegan-dis-l/*")
    (without,) = here.glob("runs/*/vae-mse/*")
    capsys.readouterr()
    assert score("dis-l", "--run", str(run), "--images", "6", "--device", "cpu", "--json") == 0
    out, err = capsys.readouterr()
    plain = json.loads(out)
    assert "training" not in err
    assert "drawn" not in err
    assert (plain["protocol"]["dataset_size"], plain["protocol"]["dataset_settings"]["count"]) == (16, 120)
    facts = plain["similarities"][0]["facts"]
    assert facts["discriminator"] == "of vaegan-dis-l on toyfaces, seed 0"
    assert facts["discriminator_weights"] == json.loads((run / "record.json").read_text())["weights_sha256"]
    assert noises(plain, "dis-l", "shift") != noises(plain, "mse", "shift")
    assert score("dis-l", "--run", str(without), "--images", "6", "--device", "cpu") == 2
    assert "its model `vae` has no discriminator" in capsys.readouterr().err
    assert score("dis-l", "--run", str(run), "--images", "6", "--device", "cpu", "--size", "32") == 2
    assert "the images are 32×32×3, its own were 16×16×3" in capsys.readouterr().err


def test_people_are_asked(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referee, "IMAGES", 128)
    folder = str(write_bapps(here / "bapps"))
    assert score("root", "grey", "dis-l", *TINY, "--bapps", folder) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert max(len(line) for line in lines if ":" not in line) <= 80
    (heading,) = [line for line in lines if line.split()[:1] == ["traditional"]]
    assert heading.split() == [*SETS, "all"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[lines.index(heading) :]}
    assert rows["root"] == rows["mse"] == ["67.5"] * 7
    assert rows["people"] == ["80.0"] * 7
    assert "dis-l" not in rows
    assert "dis-l: people not asked: its discriminator takes other images than patches of 64 px: --size 64" in lines
    plain = result(capsys, "root", "--bapps", folder)[1]
    agreement = plain["similarities"][0]["people_who_agree"]
    assert agreement["sets"]["cnn"]["value"] == pytest.approx(0.675)
    assert agreement["triplets"]["cnn"] == 4
    assert plain["people_who_agree"]["all"]["value"] == pytest.approx(0.8)
    assert plain["protocol"]["people"]["patch"] == 64


def test_a_patch_that_can_not_be_read_takes_nothing_that_was_measured_with_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bapps(here / "bapps")
    (folder / "2afc/val/cnn/ref/000000.png").write_bytes(b"")
    status, plain = result(capsys, "root", "--bapps", str(folder))
    assert status == 1
    assert [similarity["name"] for similarity in plain["similarities"]] == ["root", "mse"]
    assert "000000.png: not a picture that can be read" in plain["failed"]["people"]
