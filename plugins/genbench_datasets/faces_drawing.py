"""Drawing toy faces: anti-aliased layers from back to front, many faces at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genbench_datasets.faces_factors import Factors
from genbench_datasets.faces_shapes import Floats, box, disc, ellipse, intersection, stroke, union

_CHUNK_PIXELS = 64 * 32 * 32  # what a chunk's arrays hold then fits the processor's cache


def render(factors: Factors, size: int, progress: Callable[[int, int], None] | None = None) -> npt.NDArray[np.uint8]:
    """Draw faces, (N, size, size, 3); each one's pixels depend on its own factors alone.

    Args:
        factors: N faces.
        size: side in pixels.
        progress: called with (faces done, N).
    """
    images = np.empty((len(factors), size, size, 3), np.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))
    for start in range(0, len(factors), step):
        part = slice(start, start + step)
        images[part] = _draw(factors.select(part), size)
        if progress:
            progress(min(start + step, len(factors)), len(factors))
    return images


@dataclass(frozen=True)
class _Place:
    """Coordinates of every pixel, each (N, S, S), for some faces of a canvas.

    Attributes:
        rows: which faces of the canvas.
        factors: theirs.
        body: x and y that follow neither tilt nor yaw.
        head: x and y of the tilted head.
        pixel: (N, 1, 1), side of a pixel.
    """

    rows: npt.NDArray[np.int64]
    factors: Factors
    body: tuple[Floats, Floats]
    head: tuple[Floats, Floats]
    pixel: Floats

    def where(self, chosen: npt.NDArray[np.bool_]) -> "_Place":
        if chosen.all():
            return self
        kept = np.flatnonzero(chosen)
        body = (self.body[0][kept], self.body[1][kept])
        head = (self.head[0][kept], self.head[1][kept])
        return _Place(self.rows[kept], self.factors.select(kept), body, head, self.pixel[kept])

    def face(self, turn: float = 0.13) -> tuple[Floats, Floats]:
        """Return x and y on the face, which yaw moves by `turn` over the head."""
        x, y = self.head
        return x - np.float32(turn) * _wide(self.factors.yaw), y


class _Canvas:
    """Images under construction, (N, 3, S, S) in [0, 1]."""

    def __init__(self, pixels: Floats) -> None:
        self.pixels = pixels

    def paint(self, place: _Place, distance: Floats, colour: Floats, opacity: float = 1.0) -> None:
        """Paint a shape, given by its signed distance, in one colour (N, 3) or (N, 3, S, S) for each face."""
        self.blend(place, np.clip(np.float32(0.5) - distance / place.pixel, 0, 1) * np.float32(opacity), colour)

    def blend(self, place: _Place, cover: Floats, colour: Floats) -> None:
        colour = colour[:, :, None, None] if colour.ndim == 2 else colour
        if len(place.rows) == len(self.pixels):
            self.pixels += cover[:, None] * (colour - self.pixels)
        elif len(place.rows):
            under = self.pixels[place.rows]
            self.pixels[place.rows] = under + cover[:, None] * (colour - under)


def _draw(factors: Factors, size: int) -> npt.NDArray[np.uint8]:
    place, x, y = _place(factors, size)
    canvas = _Canvas(_background(factors, x, y))
    _long_hair(canvas, place.where(factors.has("Long_Hair")))
    _body(canvas, place)
    _necktie(canvas, place.where(factors.has("Wearing_Necktie")))
    _head(canvas, place)
    _rosy_cheeks(canvas, place.where(factors.has("Rosy_Cheeks")))
    _beard(canvas, place.where(factors.has("Beard")))
    _hair(canvas, place)
    _bangs(canvas, place.where(factors.has("Bangs")))
    _eyes(canvas, place)
    _brows(canvas, place)
    _nose(canvas, place)
    _mouth(canvas, place)
    _earrings(canvas, place.where(factors.has("Wearing_Earrings")))
    _eyeglasses(canvas, place.where(factors.has("Eyeglasses")))
    _hat(canvas, place.where(factors.has("Wearing_Hat")))
    return np.rint(np.clip(canvas.pixels, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _place(factors: Factors, size: int) -> tuple[_Place, Floats, Floats]:
    line = (np.arange(size, dtype=np.float32) * 2 + (1 - size)) / np.float32(size)
    x, y = line[None, None, :], line[None, :, None]
    scale = _wide(factors.scale)
    body_x = (x - _wide(factors.position[:, 0]) + 0 * y) / scale
    body_y = (y - _wide(factors.position[:, 1]) + 0 * x) / scale
    t = _wide(factors.tilt)
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    chin = np.float32(0.5)  # the head tilts about the chin
    head = (cosine * body_x + sine * (body_y - chin), cosine * (body_y - chin) - sine * body_x + chin)
    pixel = np.float32(2 / size) / scale
    return _Place(np.arange(len(factors)), factors, (body_x, body_y), head, pixel), x, y


def _background(factors: Factors, x: Floats, y: Floats) -> Floats:
    axis = factors.background_axis
    mix = np.float32(0.5) + (_wide(axis[:, 0]) * x + _wide(axis[:, 1]) * y) * np.float32(0.5)
    first, second = (factors.background[:, end, :, None, None] for end in (0, 1))
    return np.ascontiguousarray(first + (second - first) * mix[:, None])


def _lit(place: _Place, colour: Floats, strength: float = 1.0) -> Floats:
    """Return a colour (N, 3) as the light makes it over the image, (N, 3, S, S)."""
    x, y = place.body
    light = place.factors.light
    shade = 1 + (_wide(light[:, 0]) * x + _wide(light[:, 1]) * y) * np.float32(strength)
    return colour[:, :, None, None] * shade[:, None]


def _hair_colour(factors: Factors) -> Floats:
    return np.where(factors.has("Blond_Hair")[:, None], factors.blond_hair, factors.dark_hair)


def _long_hair(canvas: _Canvas, place: _Place) -> None:
    x, y = place.head
    back = box(x, y - np.float32(0.16), 0.63, 0.78, 0.4)
    canvas.paint(place, back, _lit(place, _hair_colour(place.factors) * np.float32(0.85)))


def _body(canvas: _Canvas, place: _Place) -> None:
    x, y = place.body
    shoulders = ellipse(x, y - np.float32(1.26), 0.88, 0.56)
    canvas.paint(place, shoulders, _lit(place, place.factors.clothes))
    neck = box(x, y - np.float32(0.6), 0.19, 0.28, 0.12)
    canvas.paint(place, neck, _lit(place, place.factors.skin * np.float32(0.78)))


def _necktie(canvas: _Canvas, place: _Place) -> None:
    x, y = place.body
    collar = intersection(np.abs(x) - (np.float32(1.08) - y) * np.float32(0.85), np.float32(0.68) - y)
    canvas.paint(place, collar, _constant(place, 1, 1, 1))
    blade = intersection(np.abs(x) - np.float32(0.02) - (y - np.float32(0.62)) * np.float32(0.32), np.float32(0.7) - y)
    canvas.paint(place, blade, _lit(place, place.factors.tie, 0.5))


def _head(canvas: _Canvas, place: _Place) -> None:
    x, y = place.head
    ear_x = np.abs(x + np.float32(0.05) * _wide(place.factors.yaw)) - _wide(place.factors.head[:, 0])
    ears = ellipse(ear_x, y - np.float32(0.04), 0.075, 0.11)
    canvas.paint(place, ears, _lit(place, place.factors.skin * np.float32(0.88)))
    canvas.paint(place, _head_shape(place), _lit(place, place.factors.skin, 1.4))


def _head_shape(place: _Place, wider: float = 0.0) -> Floats:
    x, y = place.head
    half_width, half_height = (_wide(place.factors.head[:, side]) + np.float32(wider) for side in (0, 1))
    return ellipse(x, y, half_width, half_height)


def _rosy_cheeks(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face()
    u, v = (np.abs(x) - np.float32(0.27)) / np.float32(0.17), (y - np.float32(0.17)) / np.float32(0.14)
    soft = np.maximum(1 - (u * u + v * v), np.float32(0))
    inside = np.clip(np.float32(0.5) - _head_shape(place) / place.pixel, 0, 1)
    canvas.blend(place, soft * inside * np.float32(0.8), _constant(place, 0.95, 0.22, 0.30))


def _beard(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face(0.08)
    bare = ellipse(x, y - np.float32(0.02), 0.385, 0.245)
    shape = intersection(_head_shape(place, 0.025), -bare, np.float32(0.06) - y)
    canvas.paint(
        place, shape, _lit(place, _hair_colour(place.factors) * np.array((0.66, 0.52, 0.44), np.float32)), 0.95
    )


def _hair(canvas: _Canvas, place: _Place) -> None:
    x, y = place.head
    crown = ellipse(x, y + np.float32(0.12), _wide(place.factors.head[:, 0]) + np.float32(0.09), 0.6)
    face_x, _ = place.face(0.07)
    opening = ellipse(face_x, y - np.float32(0.2), 0.43, 0.67)
    cap = intersection(crown, -opening, y - np.float32(0.0))
    canvas.paint(place, cap, _lit(place, _hair_colour(place.factors)))


def _bangs(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face(0.07)
    edge = y + np.float32(0.265) - _wide(place.factors.parting) * x
    fringe = intersection(edge, _head_shape(place), -(y + np.float32(0.7)))
    canvas.paint(place, fringe, _lit(place, _hair_colour(place.factors) * np.float32(0.93)))


def _eyes(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face()
    eye_x, eye_y = np.abs(x) - _wide(place.factors.eye_distance), y + np.float32(0.03)
    white = ellipse(eye_x, eye_y, 0.105, 0.07)
    canvas.paint(place, ellipse(eye_x, eye_y + np.float32(0.018), 0.118, 0.078), place.factors.skin * np.float32(0.35))
    canvas.paint(place, white, _constant(place, 0.97, 0.97, 0.97))
    side = np.where(x > 0, np.float32(1), np.float32(-1))
    iris_x = eye_x - side * _wide(place.factors.gaze[:, 0])
    iris_y = eye_y - _wide(place.factors.gaze[:, 1]) * np.float32(0.5)
    iris = intersection(disc(iris_x, iris_y, 0.06), white)
    canvas.paint(place, iris, place.factors.eyes)
    canvas.paint(place, disc(iris_x, iris_y, 0.028), _constant(place, 0.04, 0.04, 0.06))


def _brows(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face()
    factors = place.factors
    start = np.abs(x) - _wide(factors.eye_distance) + np.float32(0.11)
    bushy = _wide(factors.has("Bushy_Eyebrows").astype(np.float32))
    radius = np.float32(0.016) + bushy * np.float32(0.036)
    brow = stroke(start, y + np.float32(0.03) + _wide(factors.brow_height), 0.21, 0.02, radius)
    canvas.paint(place, brow, _hair_colour(factors) * np.float32(0.5))


def _nose(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face(0.18)
    bridge = stroke(x - np.float32(0.035), y - np.float32(0.02), 0.02, 0.12, 0.016)
    canvas.paint(place, bridge, place.factors.skin * np.float32(0.72), 0.6)
    tip = ellipse(x, y - np.float32(0.17), 0.07, 0.042)
    canvas.paint(place, tip, place.factors.skin * np.float32(0.68), 0.8)


def _mouth(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face()
    smiling, opened, painted = (
        _wide(place.factors.has(name).astype(np.float32))
        for name in ("Smiling", "Mouth_Slightly_Open", "Wearing_Lipstick")
    )
    half_width = _wide(place.factors.mouth_width) + smiling * np.float32(0.07)
    middle = np.maximum(1 - (x / half_width) * (x / half_width), np.float32(0))
    bend = smiling * np.float32(0.135) - np.float32(0.01)
    gap = opened * (np.float32(0.062) + smiling * np.float32(0.012)) * middle
    centre_y = np.float32(0.37) - smiling * np.float32(0.075) + bend * middle
    lips = np.float32(0.022) + painted * np.float32(0.016) + (np.float32(0.014) + painted * np.float32(0.012)) * middle
    off = np.abs(y - centre_y)
    ends = np.abs(x) - half_width
    colour = np.where(
        place.factors.has("Wearing_Lipstick")[:, None],
        place.factors.lipstick,
        place.factors.skin * np.float32(0.45) + np.array((0.36, 0.03, 0.05), np.float32),
    )
    canvas.paint(place, intersection(off - gap - lips, ends), colour)
    inner = intersection(off - gap, ends)
    canvas.paint(place.where(place.factors.has("Mouth_Slightly_Open")), *_inner(place, inner, y - centre_y))


def _earrings(canvas: _Canvas, place: _Place) -> None:
    x, y = place.head
    ear_x = np.abs(x + np.float32(0.05) * _wide(place.factors.yaw)) - _wide(place.factors.head[:, 0]) - np.float32(0.03)
    ring = disc(ear_x, y - np.float32(0.2), 0.075)
    canvas.paint(place, ring - np.float32(0.02), _constant(place, 0.35, 0.22, 0.02), 0.8)
    canvas.paint(place, ring, _constant(place, 1.0, 0.86, 0.22))


def _eyeglasses(canvas: _Canvas, place: _Place) -> None:
    x, y = place.face()
    eye_x, eye_y = np.abs(x) - _wide(place.factors.eye_distance) - np.float32(0.005), y + np.float32(0.02)
    lens = box(eye_x, eye_y, 0.16, 0.135, 0.09)
    canvas.paint(place, lens, _constant(place, 0.85, 0.93, 1.0), 0.28)
    rim = np.abs(lens) - np.float32(0.027)
    bridge = box(x, y + np.float32(0.06), 0.06, 0.022, 0.01)
    temples = intersection(
        box(np.abs(x) - np.float32(0.45), y + np.float32(0.06), 0.1, 0.022, 0.01), _head_shape(place)
    )
    canvas.paint(place, union(rim, bridge, temples), place.factors.frames)


def _hat(canvas: _Canvas, place: _Place) -> None:
    x, y = place.head
    dome = intersection(ellipse(x, y + np.float32(0.4), 0.55, 0.5), y + np.float32(0.38))
    canvas.paint(place, dome, _lit(place, place.factors.hat))
    band = intersection(dome, -(y + np.float32(0.54)))
    canvas.paint(place, band, _lit(place, place.factors.hat * np.float32(0.5)))
    brim = box(x, y + np.float32(0.4), 0.76, 0.055, 0.05)
    canvas.paint(place, brim, _lit(place, place.factors.hat * np.float32(0.85)))


def _inner(place: _Place, inner: Floats, below: Floats) -> tuple[Floats, Floats]:
    chosen = place.factors.has("Mouth_Slightly_Open")
    teeth = np.where(below[chosen, None] < np.float32(-0.005), np.float32(0.96), np.float32(0))
    dark = np.array((0.25, 0.04, 0.06), np.float32)[None, :, None, None]
    return inner[chosen], np.maximum(teeth, dark)


def _constant(place: _Place, red: float, green: float, blue: float) -> Floats:
    return np.tile(np.array((red, green, blue), np.float32), (len(place.rows), 1))


def _wide(values: Floats) -> Floats:
    """Return one number per face, (N, 1, 1)."""
    return values[:, None, None]
