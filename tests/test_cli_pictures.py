"""`genbench sample`, `reconstruct`, `edit`, `interpolate` and `walk` as a user types them."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from desks import at_desk
from PIL import Image, ImageSequence
from showings import HERE, SIZE, pixels, reopened, tiles, trained

from genbench.cli import main
from genbench.evaluate.editing import attribute_vectors, edited
from genbench.images import to_uint8


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = trained(tmp_path_factory.mktemp("finished"))
    unfit = folder / "unfit"
    unfit.mkdir()
    (unfit / "text.txt").write_text("no image")
    Image.new("RGB", (16, 16)).save(unfit / "ok.png")
    Image.effect_noise((64, 64), 9).save(unfit / "half.png")
    (unfit / "half.png").write_bytes((unfit / "half.png").read_bytes()[:1500])
    Image.new("1", (20_000, 10_000)).save(unfit / "huge.png")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, finished: Path) -> Iterator[Path]:
    """Work in a folder with a copy of the store."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    with at_desk(tmp_path, finished / "cache"):
        yield tmp_path


FACES = "toyfaces/vae"


def call(*arguments: str) -> int:
    return main([*arguments, *HERE])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


# -- sample


def test_samples_are_those_that_scores_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", FACES, "-n", "11", "--columns", "4", "--scale", "2") == 0
    assert last_line(capsys) == "samples.png"
    with reopened(FACES, images=False) as it:
        expected = torch.cat(list(it.context.samples(11))).numpy()
    found = tiles(pixels("samples.png"), 3, 4, 2)
    assert np.array_equal(found[:11], expected)
    assert (found[11:] == 255).all()
    assert len(np.unique(found[:11], axis=0)) == 11, "which differ"


def test_samples_need_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "none"))
    assert call("sample", "folder/vae", "-n", "3") == 0
    assert call("walk", "folder/vae", "--frames", "2") == 0
    assert call("interpolate", "folder/vae", "--prior") == 0
    assert call("sample", "folder/vae", "--sampler", "gmm", "-o", "gmm.png") == 2, "a mixture is fitted to the data"


def test_samples_of_a_mixture(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", FACES, "-o", "prior.png") == 0
    assert call("sample", "digits/vae", "-o", "digits.png", "--sampler", "gmm") == 0
    capsys.readouterr()
    assert call("sample", FACES, "-o", "gmm.png", "--sampler", "gmm") == 2
    assert "needs 50 training images at least" in capsys.readouterr().err
    assert not Path("gmm.png").exists()
    assert call("sample", "toyfaces/gan", "-o", "gmm.png", "--sampler", "gmm") == 2
    err = capsys.readouterr().err
    assert "toyfaces/gan-none" in err
    assert "Gan has no encoder" in err
    assert "--sampler prior" in err


def test_single_samples_are_the_grids(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", FACES, "-n", "5", "--columns", "5", "--scale", "1") == 0
    assert call("sample", FACES, "-n", "5", "--folder", "many") == 0
    assert last_line(capsys) == "many"
    found = sorted(Path("many").iterdir())
    assert [path.name for path in found] == [f"{number:06}.png" for number in range(5)]
    assert np.array_equal(np.concatenate([pixels(path) for path in found], 1), pixels("samples.png"))


def test_a_folder_with_images_of_something_else_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", FACES, "-n", "4", "--folder", "many") == 0
    before = [path.stat().st_mtime_ns for path in sorted(Path("many").iterdir())]
    assert call("sample", FACES, "-n", "4", "--folder", "many") == 2
    assert "many: not empty" in capsys.readouterr().err
    assert call("sample", FACES, "-n", "2", "--folder", "many", "--force") == 2
    assert "2 images of something else would stay beside these, such as 000002.png" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in sorted(Path("many").iterdir())] == before
    assert call("sample", FACES, "-n", "4", "--folder", "many", "--force") == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills a process")
def test_a_killed_sample_leaves_whole_images(here: Path) -> None:
    command = [sys.executable, "-m", "genbench", "sample", FACES, "-n", "100000", "--folder", "many", *HERE]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if (here / "many" / "000300.png").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.kill()
    found = list((here / "many").glob("[0-9]*"))
    assert len(found) > 300
    for path in found:
        assert pixels(path).shape == (SIZE, SIZE, 3)


# -- reconstruct


def test_reconstructions_stand_below_their_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("reconstruct", FACES, "-n", "5", "--columns", "3", "--scale", "1") == 0
    assert last_line(capsys) == "reconstructions.png"
    with reopened(FACES) as it:
        real = next(it.context.real("test"))[:5]
        posterior = it.context.encode(real)
        decoded = it.context.decode(posterior.mean)
    found = tiles(pixels("reconstructions.png"), 4, 3)
    assert np.array_equal(found[[0, 1, 2, 6, 7]], real.numpy())
    assert np.array_equal(found[[3, 4, 5, 9, 10]], to_uint8(decoded).numpy())
    rows = list(csv.DictReader(Path("reconstructions.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == [f"test {number}" for number in range(5)]
    expected = ((real.double() / 255 - (decoded.double() + 1) / 2) ** 2).mean((1, 2, 3))
    assert [float(row["mse"]) for row in rows] == pytest.approx(expected.tolist(), rel=1e-5)
    assert [float(row["kl"]) for row in rows] == pytest.approx(posterior.kl().tolist())


def test_own_images_of_the_datas_form_are_taken_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with reopened(FACES) as it:
        real = next(it.context.real("test"))[0].permute(1, 2, 0).numpy()
    Image.fromarray(real).save("mi\nne.png")
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "none"))
    assert call("reconstruct", FACES, "mi\nne.png", "--scale", "1") == 0
    assert "note" not in capsys.readouterr().err
    assert np.array_equal(tiles(pixels("reconstructions.png"), 2, 1)[0], real.transpose(2, 0, 1))
    assert Path("reconstructions.csv").read_text().splitlines()[1].startswith("mi ne.png,")


def test_own_images_need_no_run_named_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 20)).save("mine.png")
    assert call("reconstruct", "mine.png", "mine.png", "--runs", "runs/toyfaces/vae-mse", "--scale", "1") == 0
    err = capsys.readouterr().err
    assert "note: mine.png: 40×20 pixels: cropped to the middle square, resized to 16×16" in err
    assert "note: the model has seen nothing but `toyfaces`" in err
    assert pixels("reconstructions.png").shape == (32, 32, 3)


def test_grey_images(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (16, 16), "red").save("red.png")
    assert call("reconstruct", "digits", "red.png", "-o", "red-r.png", "--scale", "1") == 0
    assert "red.png: 16×16 pixels: made grey" in capsys.readouterr().err
    assert pixels("red-r.png").shape == (32, 16, 1)
    assert (pixels("red-r.png")[:16] == 76).all(), "ITU-R 601 luma of pure red"
    assert call("sample", "digits", "-n", "2") == 0
    assert call("edit", "digits", "--attribute", "digit-3", "-n", "2") == 0
    assert call("interpolate", "digits", "--pairs", "1", "--steps", "2") == 0
    assert call("walk", "digits", "--frames", "3") == 0


# -- edit


def test_an_edit_adds_the_attributes_vector() -> None:
    attributes = ("--attribute", "eyeg=0", "--attribute", "SMIL", "--attribute", "eyeglasses=-1.5")
    assert call("edit", FACES, *attributes, "-n", "2", "--scale", "1") == 0
    facts = json.loads(Path("edits.json").read_text())
    found = tiles(pixels("edits.png"), 2, 5).reshape(2, 5, 3, SIZE, SIZE)
    with reopened(FACES) as it:
        real = next(it.context.real("test"))[:2]
        latents = it.context.encode(real).mean
        vectors = attribute_vectors(it.context, ("Eyeglasses", "Smiling"))
        labels = it.context.attributes("train")
        column = it.context.attribute_names.index("Smiling")
        for k, (name, strength) in enumerate(
            (("Smiling", 0.0), ("Eyeglasses", 0.0), ("Smiling", 1.0), ("Eyeglasses", -1.5)), 1
        ):
            expected = to_uint8(edited(it.context, latents, vectors[name], strength)).numpy()
            assert np.array_equal(found[:, k], expected), k
    assert np.array_equal(found[:, 0], real.numpy())
    assert np.array_equal(found[:, 1], found[:, 2]), "strength 0 is the reconstruction"
    assert facts["training_images"] == len(labels)
    (smile,) = [entry for entry in facts["attributes"] if entry["name"] == "Smiling"]
    assert smile["norm"] == vectors["Smiling"].norm().item()
    assert smile["with"] == labels[:, column].sum().item() == len(labels) - smile["without"]


def test_a_row_of_strengths_for_each_image_and_attribute() -> None:
    arguments = (
        "--attribute",
        "Smiling",
        "--attribute",
        "Eyeglasses",
        "--strengths",
        "-2,0,+2",
        "-n",
        "2",
        "--scale",
        "4",
    )
    assert call("edit", FACES, *arguments) == 0
    picture = pixels("edits.png")
    assert picture.shape[1] > 5 * 4 * SIZE, "rows are named"
    found = tiles(picture, 4, 5, 4).reshape(2, 2, 5, 3, SIZE, SIZE)
    assert np.array_equal(found[:, :, 1], found[:, :, 3]), "strength 0 is the reconstruction"
    assert np.array_equal(found[:, 0, :2], found[:, 1, :2])
    assert not np.array_equal(found[:, 0, 4], found[:, 1, 4])


# -- interpolate


def test_a_way_begins_and_ends_at_the_reconstructions() -> None:
    assert call("reconstruct", FACES, "-n", "4", "--columns", "4", "--scale", "1") == 0
    assert call("interpolate", FACES, "--pairs", "2", "--steps", "5", "--scale", "2") == 0
    restored = tiles(pixels("reconstructions.png"), 2, 4).astype(int)
    found = tiles(pixels("interpolations.png"), 2, 7, 2).reshape(2, 7, 3, SIZE, SIZE)
    assert np.array_equal(found[:, 0], restored[[0, 2]])
    assert np.array_equal(found[:, -1], restored[[1, 3]])
    # decoded in another batch: rounding may differ by one step of 255
    assert np.abs(found[:, 1] - restored[[4, 6]]).max() <= 1
    assert np.abs(found[:, -2] - restored[[5, 7]]).max() <= 1
    with reopened(FACES) as it:
        latents = it.context.encode(next(it.context.real("test"))[:2]).mean
        middle = to_uint8(it.context.decode(latents.mean(0, keepdim=True))).numpy().astype(int)
    assert np.abs(found[0, 3] - middle[0]).max() <= 1, "the straight line by default"


def test_ways_between_samples_follow_a_great_circle_by_default() -> None:
    ways = {name: ("-o", f"{name}.png") for name in ("default", "spherical", "linear")}
    for name, output in ways.items():
        option = () if name == "default" else (f"--{name}",)
        assert call("interpolate", "toyfaces/gan", "--prior", "--pairs", "2", "--steps", "5", *option, *output) == 0
    default, spherical, linear = (Path(f"{name}.png").read_bytes() for name in ways)
    assert default == spherical != linear


def test_own_images_may_be_joined() -> None:
    for name in "ab":
        Image.new("RGB", (16, 16), (200, 0, ord(name))).save(f"{name}.png")
    assert call("interpolate", FACES, "a.png", "b.png", "--steps", "3", "--scale", "1") == 0
    found = tiles(pixels("interpolations.png"), 1, 5)
    assert (found[0, 2] == ord("a")).all()
    assert (found[4, 2] == ord("b")).all()


# -- walk


def test_a_walk_is_a_film_that_loops(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("walk", FACES, "-n", "3", "--columns", "2", "--frames", "12", "--scale", "2") == 0
    assert last_line(capsys) == "walk.gif"
    with Image.open("walk.gif") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (12, (64, 64), 0)
        frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(film)]
    assert all((frame[32:, 32:] == 255).all() for frame in frames), "three walks in two columns"


def test_an_mp4_wants_ffmpeg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("PATH", str(here))
    assert call("walk", FACES, "-o", "walk.mp4") == 2
    err = capsys.readouterr().err
    assert "no `ffmpeg` on the PATH" in err
    assert "hint: install it" in err


# -- all of them

COMMANDS = {
    "sample": ("samples.png", ()),
    "reconstruct": ("reconstructions.png", ()),
    "edit": ("edits.png", ("--attribute", "Smiling")),
    "interpolate": ("interpolations.png", ()),
    "walk": ("walk.gif", ("--frames", "4")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_command_gives_the_same_bytes_and_replaces_nothing_unasked(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, options = COMMANDS[command]
    assert call(command, FACES, *options) == 0
    first = Path(name).read_bytes()
    Path(name).write_bytes(b"mine")
    assert call(command, FACES, *options) == 2
    assert f"error: {name} is there already" in capsys.readouterr().err
    assert Path(name).read_bytes() == b"mine"
    assert call(command, FACES, *options, "--force") == 0
    assert Path(name).read_bytes() == first
    assert pixels(name).shape[1] >= 256, "wide enough to be seen"


@pytest.mark.parametrize("command", COMMANDS)
def test_which_run_is_meant(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = COMMANDS[command][1]
    assert call(command, *options) == 2
    assert "4 runs are in runs: " in capsys.readouterr().err
    assert call(command, "toyfaces/vea", *options) == 2
    assert "toyfaces/vae-mse`?" in capsys.readouterr().err
    (record,) = Path("runs/toyfaces/vae-mse").glob("s0-*/record.json")
    record.rename("record.json")
    assert call(command, FACES, *options) == 2
    assert "this run has not finished" in capsys.readouterr().err
    assert call(command, "--runs", "nowhere", *options) == 2
    assert "nowhere: no runs" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["reconstruct", "edit", "interpolate"])
def test_a_model_without_an_encoder(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "toyfaces/gan", *COMMANDS[command][1]) == 2
    err = capsys.readouterr().err
    assert "toyfaces/gan-none" in err
    assert "Gan has no encoder" in err
    assert "hint: " in err
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("sample", FACES, "-o", "a.jpg"), "a.jpg: can't draw .jpg", "png"),
        (("sample", FACES, "-o", "a"), "can't draw a file without an ending", ".png"),
        (("walk", FACES, "-o", "walk.avi"), "can't draw .avi", "endings are .gif, .mp4"),
        (("walk", FACES, "--fps", "60"), "60 frames a second: a GIF has 50 at most", "--fps 50"),
        (("sample", FACES, "-n", "5000"), "5,000 samples: a grid has 4,096 at most", "--folder DIR"),
        (("sample", FACES, "-n", "4000", "--scale", "64"), "a picture of 8,192×512,000 pixels is too large", "fewer"),
        (("walk", FACES, "--frames", "2000", "--scale", "64"), "2000 frames of 16 images of 1024 pixels", "--scale"),
        (("sample", FACES, "--folder", "x", "--scale", "2"), "--scale and --folder exclude each other", ""),
        (("sample", FACES, "--folder", "x", "-o", "y.png"), "--output and --folder exclude each other", ""),
        (("sample", FACES, "--folder", "text.txt"), "text.txt is a file, not a folder", "another path"),
        (("edit", FACES), "no attribute to edit", "Eyeglasses"),
        (("edit", FACES, "--attribute", "Smilling"), "unknown attribute `Smilling`", "did you mean `Smiling`"),
        (("edit", FACES, "--attribute", "Smiling=more"), "`more` is no strength", "-1 takes it away"),
        (("edit", FACES, "--attribute", "Smiling=nan"), "`nan` is no strength", ""),
        (("edit", FACES, "--attribute", "Smiling=1e9"), "expected a number from -100 to 100", ""),
        (("edit", FACES, "--attribute", "Smiling", "--strengths", "1,,2"), "`` is no strength", ""),
        (("edit", FACES, "--attribute", "hat", "-n512", "--strengths", "1" + ",1" * 8), "4,608 edited images", ""),
        (("edit", FACES, "--attribute", "Smiling=2", "--strengths", "1"), "beside --strengths", "leave one"),
        (("edit", "folder", "--data", "plain", "--attribute", "x"), "data set `folder` has no attributes", ""),
        (("reconstruct", FACES, "text.txt"), "text.txt: not an image", "JPEG"),
        (("reconstruct", FACES, "missing.png"), "missing.png: no such image", ""),
        (("reconstruct", "missing.png"), "missing.png: no such image", ""),
        (("reconstruct", FACES, "runs"), "runs is a folder, not an image", "runs/*.jpg"),
        (("reconstruct", FACES, "half.png"), "half.png: can't be read", ""),
        (("reconstruct", FACES, "huge.png"), "huge.png: over 89,478,485 pixels", "scale it down"),
        (("reconstruct", FACES, "ok.png", "-n", "3"), "--count and images of your own exclude each other", ""),
        (("reconstruct", FACES, "ok.png", "--split", "test"), "--split and images of your own exclude", ""),
        (("edit", FACES, "text.txt", "--attribute", "Smiling"), "text.txt: not an image", ""),
        (("interpolate", FACES, "ok.png"), "1 image, expected two", "two images"),
        (("interpolate", FACES, "ok.png", "ok.png", "--prior"), "--prior and images of your own exclude", ""),
        (("interpolate", FACES, "ok.png", "ok.png", "--pairs", "1"), "--pairs and images of your own exclude", ""),
        (("interpolate", FACES, "--prior", "--split", "test"), "--prior and --split exclude each other", ""),
    ],
)
def test_a_wrong_command_exits_2_and_writes_nothing(
    arguments: tuple[str, ...], error: str, hint: str, capsys: pytest.CaptureFixture[str], finished: Path, here: Path
) -> None:
    shutil.copytree(finished / "unfit", ".", dirs_exist_ok=True)
    if "folder" in arguments:
        arguments = tuple(str(finished / "plain") if text == "plain" else text for text in arguments)
    before = sorted(here.rglob("*"))
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err
    assert hint in err
    assert "Traceback" not in err
    assert sorted(here.rglob("*")) == before
