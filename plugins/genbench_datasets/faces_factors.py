"""What a toy face is made of: attributes to be named and changed, and nuisances that vary besides."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from genbench.errors import unknown_name

Floats = npt.NDArray[np.floating]
Colour = tuple[int, int, int]

SHARES = {
    "Bangs": 0.35,
    "Beard": 0.30,
    "Blond_Hair": 0.40,
    "Bushy_Eyebrows": 0.40,
    "Eyeglasses": 0.30,
    "Long_Hair": 0.45,
    "Mouth_Slightly_Open": 0.40,
    "Rosy_Cheeks": 0.30,
    "Smiling": 0.50,
    "Wearing_Earrings": 0.35,
    "Wearing_Hat": 0.25,
    "Wearing_Lipstick": 0.40,
    "Wearing_Necktie": 0.30,
}
"""Each attribute's probability; attributes are independent of each other and of every nuisance."""

ATTRIBUTES = tuple(SHARES)

_SKIN: tuple[Colour, ...] = ((255, 226, 203), (244, 199, 160), (222, 168, 122), (176, 118, 78), (118, 74, 52))
_DARK_HAIR: tuple[Colour, ...] = ((28, 24, 28), (62, 40, 28), (104, 62, 34), (146, 62, 26))
_BLOND_HAIR: tuple[Colour, ...] = ((226, 178, 62), (246, 214, 96), (255, 236, 150))
_EYES: tuple[Colour, ...] = ((50, 32, 20), (96, 62, 28), (52, 110, 64), (44, 96, 168))
_FRAMES: tuple[Colour, ...] = ((16, 16, 22), (70, 22, 26), (24, 32, 78))
_HATS: tuple[Colour, ...] = ((176, 36, 44), (36, 84, 172), (34, 122, 76), (110, 52, 140), (214, 112, 30))
_LIPSTICKS: tuple[Colour, ...] = ((204, 12, 40), (216, 20, 98), (158, 10, 54))
_TIES: tuple[Colour, ...] = ((190, 22, 36), (24, 46, 150), (20, 112, 62), (232, 170, 20))


@dataclass(frozen=True)
class Factors:
    """All that determines N faces; one row of every array belongs to one face.

    Lengths are in half sides of the image, y pointing down; colours are RGB in [0, 1].

    Attributes:
        attributes: (N, A) in {0, 1}, columns as in `ATTRIBUTES`.
        position: (N, 2), the head's shift from the middle.
        scale: (N,), factor on every length.
        tilt: (N,), tangent of half the head's rotation in the image plane.
        yaw: (N,) in [-1, 1], the head turned to the left or to the right.
        head: (N, 2), half width and half height.
        eye_distance: (N,), from the middle of the face to an eye.
        brow_height: (N,), from the eyes to the brows.
        mouth_width: (N,), half width of the resting mouth.
        gaze: (N, 2), the irises' shift.
        parting: (N,), slope of the lower edge of bangs.
        light: (N, 2), direction times strength; brightness changes by this much over half a side.
        background: (N, 2, 3), colours at two opposite ends.
        background_axis: (N, 2), from one end to the other.
        skin, dark_hair, blond_hair, eyes, frames, hat, lipstick, tie, clothes: (N, 3), colours.
    """

    attributes: npt.NDArray[np.uint8]
    position: Floats
    scale: Floats
    tilt: Floats
    yaw: Floats
    head: Floats
    eye_distance: Floats
    brow_height: Floats
    mouth_width: Floats
    gaze: Floats
    parting: Floats
    light: Floats
    background: Floats
    background_axis: Floats
    skin: Floats
    dark_hair: Floats
    blond_hair: Floats
    eyes: Floats
    frames: Floats
    hat: Floats
    lipstick: Floats
    tie: Floats
    clothes: Floats

    def __len__(self) -> int:
        return len(self.attributes)

    def has(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which faces have the attribute, (N,)."""
        return self.attributes[:, _column(name)].astype(bool)

    def with_attribute(self, name: str, value: bool) -> "Factors":
        """Return the same faces, all else equal, each with the attribute or each without it."""
        changed = self.attributes.copy()
        changed[:, _column(name)] = value
        return replace(self, attributes=changed)

    def flipped(self, name: str) -> "Factors":
        """Return the same faces, all else equal, those with the attribute without it and those without it with it."""
        changed = self.attributes.copy()
        changed[:, _column(name)] ^= 1
        return replace(self, attributes=changed)

    def select(self, rows: slice | npt.NDArray[np.int64]) -> "Factors":
        """Return some of the faces."""
        return Factors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def sample_factors(count: int, seed: int) -> Factors:
    """Draw faces; the first faces are the same whatever the count."""
    draw = _Draws(np.random.default_rng(seed).random((count, 64)))
    shares = np.array(list(SHARES.values()))
    return Factors(
        attributes=(draw.take(len(shares)) < shares).astype(np.uint8),
        position=draw.uniform(2, -0.08, 0.08),
        scale=draw.uniform(0, 0.94, 1.14),
        tilt=draw.uniform(0, -0.09, 0.09),
        yaw=draw.uniform(0, -1, 1),
        head=draw.uniform(2, -0.04, 0.04) + np.array((0.47, 0.6), np.float32),
        eye_distance=draw.uniform(0, 0.185, 0.225),
        brow_height=draw.uniform(0, 0.14, 0.17),
        mouth_width=draw.uniform(0, 0.15, 0.19),
        gaze=draw.uniform(2, -0.022, 0.022),
        parting=draw.uniform(0, -0.15, 0.15),
        light=draw.uniform(2, -0.26, 0.26),
        background=draw.uniform(6, 0.3, 0.95).reshape(count, 2, 3),
        background_axis=draw.uniform(2, -0.5, 0.5),
        skin=draw.colour(_SKIN),
        dark_hair=draw.colour(_DARK_HAIR),
        blond_hair=draw.colour(_BLOND_HAIR),
        eyes=draw.choice(_EYES),
        frames=draw.choice(_FRAMES),
        hat=draw.choice(_HATS),
        lipstick=draw.choice(_LIPSTICKS),
        tie=draw.choice(_TIES),
        clothes=draw.uniform(3, 0.2, 0.9),
    )


class _Draws:
    """Columns of uniform numbers, handed out in order: every factor has columns of its own."""

    def __init__(self, uniforms: npt.NDArray[np.float64]) -> None:
        self._uniforms = uniforms
        self._used = 0

    def take(self, columns: int) -> npt.NDArray[np.float64]:
        first, self._used = self._used, self._used + columns
        return self._uniforms[:, first : self._used]

    def uniform(self, columns: int, low: float, high: float) -> Floats:
        """Return (N, columns), or (N,) for no columns."""
        drawn = (low + (high - low) * self.take(columns or 1)).astype(np.float32)
        return drawn if columns else drawn[:, 0]

    def choice(self, palette: tuple[Colour, ...]) -> Floats:
        row = (self.take(1)[:, 0] * len(palette)).astype(np.int64)
        return (np.array(palette, np.float32) / np.float32(255))[row]

    def colour(self, palette: tuple[Colour, ...]) -> Floats:
        """Return colours on the line that joins the palette's."""
        place = self.take(1) * (len(palette) - 1)
        row = place[:, 0].astype(np.int64)
        colours = np.array(palette, np.float64) / 255
        return (colours[row] + (colours[row + 1] - colours[row]) * (place - row[:, None])).astype(np.float32)


def _column(name: str) -> int:
    if name not in SHARES:
        raise unknown_name("attribute", name, ATTRIBUTES)
    return ATTRIBUTES.index(name)
