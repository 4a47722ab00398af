"""A user's own images of every size and mode, and files that are none."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench.data.own import check_images, read_images
from genbench.errors import GenbenchError


def one(path: Path, size: int = 8, channels: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    return read_images([path], size, channels)[0][0]


def test_a_square_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images, notes = read_images([tmp_path / "a.png"] * 2, 8, 3)
    assert np.array_equal(images, [pixels, pixels])
    assert notes == ()


def test_the_middle_is_cut_out_and_resized(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 16), "red")
    picture.paste("blue", (12, 0, 28, 16))
    picture.save(tmp_path / "a.png")
    images, notes = read_images([tmp_path / "a.png"], 8, 3)
    assert (images[0] == (0, 0, 255)).all()
    assert notes == (f"{tmp_path / 'a.png'}: 40×16 pixels: cropped to the middle square, resized to 8×8",)


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), "red")
    picture.paste("blue", (0, 0, 8, 4))  # blue above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: blue comes to the right
    picture.save(tmp_path / "a.png", exif=exif)
    assert (one(tmp_path / "a.png")[:, 4:] == (0, 0, 255)).all()
    assert (one(tmp_path / "a.png")[:, :4] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (8, 8), 100), (100, 100, 100)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (8, 8), (0, 255)), (0, 0, 0)),
        (Image.new("RGB", (8, 8), (1, 2, 3)).quantize(), (1, 2, 3)),
        (Image.fromarray(np.full((8, 8), 40_000, np.uint16)), (156, 156, 156)),
    ],
    ids=["grey", "bilevel", "transparent", "half transparent", "grey and alpha", "palette", "16 bit"],
)
def test_every_mode_becomes_rgb(picture: Image.Image, expected: tuple[int, ...], tmp_path: Path) -> None:
    picture.save(tmp_path / "a.png")
    assert (one(tmp_path / "a.png") == expected).all()


def test_jpeg_in_cmyk_and_a_moving_gif(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.abs(one(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 3
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (one(tmp_path / "a.gif") == 10).all()


def test_for_a_grey_data_set_colours_become_grey(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "a.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "b.png")
    images, notes = read_images([tmp_path / "a.png", tmp_path / "b.png"], 8, 1)
    assert images.shape == (2, 8, 8, 1)
    assert (images[0] == 150).all()
    assert (images[1] == 7).all()
    assert len(notes) == 1
    assert notes[0].endswith("8×8 pixels: made grey")


def not_one(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "text.png").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    Image.new("1", (20_000, 10_000)).save(folder / "huge.png")
    return {
        "text": (folder / "text.png", "text.png: not an image"),
        "empty": (folder / "empty.png", "empty.png: not an image"),
        "huge": (folder / "huge.png", "huge.png: over 89,478,485 pixels"),
        "folder": (folder, "is a folder, not an image"),
        "missing": (folder / "missing.png", "missing.png: no such image"),
    }


def test_what_is_no_image_is_named_before_anything_is_read(tmp_path: Path) -> None:
    for path, message in not_one(tmp_path).values():
        for look in (lambda p: check_images([p]), lambda p: read_images([p], 8, 3)):
            with pytest.raises(GenbenchError, match=message) as raised:
                look(path)
            assert raised.value.hint


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:1000])
    with pytest.raises(GenbenchError, match=r"a\.png: "):
        one(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(content[:200] + b"\0" * 800 + content[1000:])
    with pytest.raises(GenbenchError, match=r"b\.png: "):
        one(tmp_path / "b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(GenbenchError, match="no regular file"):
        check_images([tmp_path / "a.png"])


def test_of_an_animation_the_first_frame_is_taken_and_told(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    images, (note,) = read_images([tmp_path / "a.gif"], 8, 1)
    assert images.max() == 0
    assert "the first of its frames" in note


def test_an_image_whose_range_is_not_known_is_not_called_damaged(tmp_path: Path) -> None:
    Image.new("F", (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(GenbenchError, match=r"a\.tif: can't be read: pixels of mode F, whose range is not known"):
        one(tmp_path / "a.tif")
