"""Grids and films: where pixels go, what captions take, and files that come out the same."""

import io
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from genbench.errors import GenbenchError
from genbench.images import png
from genbench.report.animation import gif, mp4
from genbench.report.pictures import LOSSLESS, enlargement, grid, over, webp
from genbench.report.singles import write_numbered


def noise(count: int, channels: int = 3, size: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 3])
def test_each_pixel_is_where_it_should_be(channels: int, scale: int) -> None:
    images = noise(5, channels)
    picture = np.asarray(grid(images, 3, scale=scale))
    picture = picture if channels == 3 else picture[..., None]
    assert picture.shape == (2 * 5 * scale, 3 * 5 * scale, channels)
    for i, channel, y, x in np.ndindex(5, channels, 5, 5):
        down, across = scale * (5 * (i // 3) + y), scale * (5 * (i % 3) + x)
        square = picture[down : down + scale, across : across + scale, channel]
        assert (square == images[i, channel, y, x].item()).all()
    assert (picture[5 * scale :, 10 * scale :] == 255).all(), "what no image fills is white"


def test_captions_take_room_beside_the_images_and_none_of_them() -> None:
    images = noise(4, size=60)
    bare, named = grid(images, 2), grid(images, 2, ("input", "a b"), rows=("first", "second row"))
    top, left = named.height - bare.height, named.width - bare.width
    assert top > 0 < left
    assert named.crop((left, top, named.width, named.height)).tobytes() == bare.tobytes()
    above, beside = np.asarray(named)[:top, left:], np.asarray(named)[top:, :left]
    for half in (above[:, :60], above[:, 60:], beside[:60], beside[60:]):
        assert half.min() < 100, "there is text"
    assert (np.asarray(named)[:top, :left] == 255).all()


def test_a_caption_too_long_to_stand_across_is_broken_or_turned() -> None:
    images = noise(2, size=60)
    short, broken, turned = (grid(images, 2, ("x", name)) for name in ("y", "Wearing_Hat +1", "Wearinganecklace"))
    assert short.height < broken.height < turned.height
    assert short.width == broken.width == turned.width == 120


@pytest.mark.parametrize("name", ["", "\x1b[31m\nγ −1", "日本", "x" * 10_000, "$\\frac{"])
def test_a_strangers_name_is_drawn_or_left_out(name: str) -> None:
    picture = grid(noise(1), 1, (name,), rows=(name,))
    assert max(picture.size) < 600


def test_rows_stand_over_what_belongs_to_them() -> None:
    images = noise(5)
    cut = np.asarray(over(images, 255 - images, 3)).reshape(4, 5, 3, 5, 3).transpose(0, 2, 4, 1, 3)
    assert (cut[0] == images[:3].numpy()).all()
    assert (cut[1] == 255 - images[:3].numpy()).all()
    assert (cut[2, :2] == images[3:].numpy()).all()
    assert (cut[3, :2] == 255 - images[3:].numpy()).all()
    assert (cut[2:, 2] == 255).all()


def test_the_least_scale_that_is_wide_enough() -> None:
    assert [enlargement(32, 8), enlargement(32, 9), enlargement(512, 1), enlargement(600, 3)] == [2, 2, 1, 1]


def test_png_and_webp_come_back_as_they_were() -> None:
    picture = grid(noise(6), 3, ("a", "b", "c"))
    for content in (png(picture), webp(picture)):
        with Image.open(io.BytesIO(content)) as again:
            assert again.convert("RGB").tobytes() == picture.tobytes()
    assert png(picture) == png(picture.copy())
    assert webp(picture) == webp(picture.copy())


def test_webp_of_large_images_is_smaller_and_no_longer_exact() -> None:
    smooth = torch.arange(128, dtype=torch.uint8).expand(1, 3, 128, 128) + noise(1, size=128) // 8
    exact, lossy = webp(grid(smooth, 1), LOSSLESS), webp(grid(smooth, 1), 128)
    assert len(lossy) < len(exact) / 2
    with Image.open(io.BytesIO(lossy)) as again:
        assert np.abs(np.asarray(again, int) - smooth[0].permute(1, 2, 0).numpy()).mean() < 10


def test_a_picture_too_large_for_webp_is_refused() -> None:
    with pytest.raises(GenbenchError, match="WebP has no more than 16383"):
        webp(Image.new("L", (16_384, 1)))


# -- films


def moving(count: int, mode: str = "RGB") -> list[Image.Image]:
    return [Image.new(mode, (6, 4), 20 * number if mode == "L" else (20 * number, 0, 255)) for number in range(count)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_gif_holds_every_frame_and_loops(mode: str) -> None:
    frames = moving(7, mode)
    content = gif(frames, 20, scale=2, hold_s=0.5)
    assert content == gif(frames, 20, scale=2, hold_s=0.5)
    with Image.open(io.BytesIO(content)) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (7, (12, 8), 0)
        durations = []
        for frame, expected in zip(ImageSequence.Iterator(film), frames, strict=True):
            durations.append(film.info["duration"])
            assert frame.convert("RGB").tobytes() == expected.convert("RGB").resize((12, 8)).tobytes()
    assert durations == [50] * 6 + [550]


def test_the_times_of_a_gif_are_rounded_to_the_right_length() -> None:
    with Image.open(io.BytesIO(gif(moving(9), 30))) as film:
        durations = [film.info["duration"] for _ in ImageSequence.Iterator(film)]
    assert set(durations) == {30, 40}
    assert sum(durations) == 300


def test_all_frames_of_a_gif_share_one_palette() -> None:
    generator = np.random.default_rng(0)
    frames = [Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(3)]
    still = frames[0].crop((0, 0, 20, 40))
    for frame in frames:
        frame.paste(still)
    with Image.open(io.BytesIO(gif(frames, 10))) as film:
        shown = [np.asarray(frame.convert("RGB"))[:, :20] for frame in ImageSequence.Iterator(film)]
    assert all((frame == shown[0]).all() for frame in shown), "what stands still does not flicker"


def test_a_gif_of_too_many_frames_a_second_is_refused() -> None:
    with pytest.raises(GenbenchError, match="60 frames a second: a GIF has 50 at most"):
        gif(moving(2), 60)


FFMPEG = """#!{python}
import sys
from pathlib import Path
fed = sys.stdin.buffer.read()
Path({told!r}).write_text(repr((sys.argv[1:], len(fed), fed[:3])))
Path(sys.argv[-1]).write_bytes(b"film")
"""


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(source)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))


@pytest.mark.skipif(os.name == "nt", reason="a script with a #! line")
def test_ffmpeg_is_fed_raw_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    fake_ffmpeg(tmp_path, monkeypatch, FFMPEG.format(python=sys.executable, told=str(told)))
    assert mp4(moving(3, "L"), 25, scale=2) == b"film"
    arguments, count, first = eval(told.read_text())
    assert (count, first) == (3 * 12 * 8 * 3, bytes(3))
    assert arguments[arguments.index("-video_size") + 1] == "12x8"
    assert arguments[arguments.index("-framerate") + 1] == "25"
    assert arguments[arguments.index("-f") + 1] == "rawvideo"


@pytest.mark.skipif(os.name == "nt", reason="a script with a #! line")
def test_an_ffmpeg_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = f"#!{sys.executable}\nimport sys\nsys.exit('Unknown encoder')\n"
    fake_ffmpeg(tmp_path, monkeypatch, failing)
    large = [Image.new("RGB", (300, 300))] * 20  # more than a pipe holds
    with pytest.raises(GenbenchError, match="can't encode: Unknown encoder") as raised:
        mp4(large, 25)
    assert ".gif" in str(raised.value.hint)


def test_without_ffmpeg_a_hint_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GenbenchError, match="no `ffmpeg` on the PATH") as raised:
        mp4(moving(2), 25)
    assert ".gif" in str(raised.value.hint)


# -- single images


def test_single_images_are_numbered_and_whole_ones_alone(tmp_path: Path) -> None:
    images = noise(5)
    assert list(write_numbered(images.split(2), tmp_path / "a" / "b", 5)) == [2, 2, 1]
    found = sorted((tmp_path / "a" / "b").iterdir())
    assert [path.name for path in found] == [f"{number:06}.png" for number in range(5)]
    for path, image in zip(found, images, strict=True):
        with Image.open(path) as picture:
            assert (np.asarray(picture) == image.permute(1, 2, 0).numpy()).all()


def test_a_stop_between_images_leaves_whole_ones(tmp_path: Path) -> None:
    def stopped() -> "list[Tensor]":  # type: ignore[misc]
        yield noise(2)  # type: ignore[misc]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(write_numbered(stopped(), tmp_path, 4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png"]


def test_numbers_grow_where_six_digits_are_not_enough(tmp_path: Path) -> None:
    list(write_numbered([noise(1)], tmp_path, 1_000_001))
    assert [path.name for path in tmp_path.iterdir()] == ["0000000.png"]


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenbenchError, match="cannot write"):
        list(write_numbered([noise(1)], tmp_path / "file", 1))
