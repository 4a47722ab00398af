"""Moving pictures: GIF by Pillow, and MP4 by the program ffmpeg where it is installed."""

import io
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from genbench.errors import GenbenchError

FORMS = ("gif", "mp4")

FASTEST = 50
"""Frames a second of a GIF: viewers show one of more at a speed of their own."""

COLOURS = 256
LOOKED_AT = 32
"""Frames that a film's colours are chosen from."""


def gif(frames: Sequence[Image.Image], fps: float, scale: int = 1, hold_s: float = 0.0) -> bytes:
    """Return frames as a GIF that begins again when it ends.

    All share one palette and none is dithered: what stands still in the frames does so in the film, where a palette or
    a dithering of each frame's own would flicker.

    Args:
        frames: of one size, `L` or `RGB`.
        fps: frames a second, up to `FASTEST`; times are rounded to 1/100 s, all together to the right length.
        scale: side in pixels of the square that each pixel becomes.
        hold_s: how much longer the last frame is shown, in seconds.

    Raises:
        GenbenchError: more frames a second than a GIF has.
    """
    check_speed(fps)
    pictures = [_enlarged(frame, scale) for frame in _indexed(frames)]
    ends = [round(100 * (number + 1) / fps) for number in range(len(frames))]
    durations = [10 * (end - start) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    durations[-1] += 10 * round(100 * hold_s)
    content = io.BytesIO()
    first, *others = pictures
    first.save(
        content, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False, disposal=1
    )
    return content.getvalue()


def check_speed(fps: float) -> None:
    """Raise a GenbenchError where a GIF has fewer frames a second."""
    if fps > FASTEST:
        raise GenbenchError(
            f"{fps:g} frames a second: a GIF has {FASTEST} at most",
            f"--fps {FASTEST}, or name a file that ends in .mp4",
        )


def mp4(frames: Sequence[Image.Image], fps: float, scale: int = 1) -> bytes:
    """Return frames, of one size, as H.264 in MP4, encoded by ffmpeg; a white row and column make odd sides even.

    Raises:
        GenbenchError: ffmpeg is not installed, or fails; says why.
    """
    program = find_ffmpeg()
    width, height = (side * scale for side in frames[0].size)
    with TemporaryDirectory() as folder:
        film, told = Path(folder) / "film.mp4", Path(folder) / "told.txt"
        with told.open("wb") as errors:
            status = _fed(_command(program, width, height, fps, film), frames, scale, errors.fileno())
        if status or not film.is_file():
            lines = told.read_text("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else f"status {status}"
            raise GenbenchError(
                f"{program}: can't encode: {said}", "name a file that ends in .gif, which needs no ffmpeg", exit_code=1
            )
        return film.read_bytes()


def find_ffmpeg() -> str:
    """Return the path of ffmpeg.

    Raises:
        GenbenchError: it is not installed.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        raise GenbenchError(
            "no `ffmpeg` on the PATH, which encodes MP4",
            "install it (https://ffmpeg.org), or name a file that ends in .gif, which needs no ffmpeg",
        )
    return found


def _command(program: str, width: int, height: int, fps: float, film: Path) -> list[str]:
    """Return the command that encodes raw frames from its standard input, into the same bytes each time."""
    return [
        *(program, "-nostdin", "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", f"{fps:g}"),
        *("-i", "pipe:0", "-an", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
        # players want chroma at half the resolution, which wants even sides
        *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-crf", "18", "-movflags", "+faststart", "-f", "mp4", str(film)),
    ]


def _fed(command: list[str], frames: Sequence[Image.Image], scale: int, errors: int) -> int:
    """Run a command with frames on its standard input, and return its status."""
    with subprocess.Popen(  # noqa: S603 - no shell, and a program that the user has on the PATH
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
    ) as process:
        assert process.stdin is not None  # noqa: S101 - by the line above
        try:
            for frame in frames:
                process.stdin.write(_enlarged(frame.convert("RGB"), scale).tobytes())
        except BrokenPipeError:  # it has ended early, and its status says why
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
        return process.wait()


def _enlarged(picture: Image.Image, scale: int) -> Image.Image:
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Choose the colours of a film from frames all over it, the rare ones among them."""
    chosen = frames[:: -(-len(frames) // LOOKED_AT)]
    width, height = chosen[0].size
    together = Image.new("RGB", (width, height * len(chosen)))
    for number, frame in enumerate(chosen):
        together.paste(frame.convert("RGB"), (0, number * height))
    return together.quantize(COLOURS, Image.Quantize.FASTOCTREE)


def _indexed(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return frames in the nearest of a film's colours; grey ones have all of theirs."""
    if all(frame.mode == "L" for frame in frames):
        return list(frames)
    palette = _palette(frames)
    return [frame.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
