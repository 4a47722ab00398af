"""Ways through the latent space: straight lines, great circles, and a random walk that comes back to its start. Pure.

Nearly all of the prior N(0, I) in d dimensions lies close to the sphere of radius √d. A straight line between two of
its draws leaves that shell, by a factor of √2 half way, and shows the decoder latents that it was hardly ever given; a
great circle stays there (White 2016, "Sampling generative networks").
"""

from math import pi

import torch
from torch import Tensor

PARALLEL = 1e-6
"""Sine of an angle below which two latents have no great circle of their own."""


def straight(start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """Return points between latents (N, d) at places (T,) in [0, 1], (N, T, d) float64; at 0 and 1 the latents."""
    t = places.double()[:, None]
    return (1 - t) * start.double()[:, None] + t * end.double()[:, None]


def great_circle(start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """Return points between latents (N, d) at places (T,) in [0, 1], (N, T, d) float64; at 0 and 1 the latents.

    sin((1 - t)·Ω) / sin Ω · start + sin(t·Ω) / sin Ω · end, where Ω is the angle between them (Shoemake 1985,
    "Animating rotation with quaternion curves"; White 2016 for latents of any norm). Latents on one line through 0,
    between which it is not determined, are joined by that line.
    """
    p, q, t = start.double()[:, None], end.double()[:, None], places.double()[:, None]
    cosine = torch.nn.functional.cosine_similarity(p, q, dim=2, eps=1e-300)[..., None]
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    across = ((1 - t) * angle).sin() / sine * p + (t * angle).sin() / sine * q
    return torch.where(sine > PARALLEL, across, straight(start, end, places))


def closed_walk(noise: Tensor, frames: int) -> Tensor:
    """Return random walks on the prior's shell that end where they begin, (N, frames, d) float64, each of norm √d.

    z(t) = Σ_k a_k·cos(2πkt) + b_k·sin(2πkt) over K harmonics, t in [0, 1), scaled to norm √d: a stationary Gaussian
    process, so that each frame alone is a draw from the prior but for its norm; smooth, and at nearly constant speed.
    It passes about 2·K unlike latents.

    Args:
        noise: (N, 2·K, d) from N(0, I): the a_k, then the b_k.
        frames: how many; the one after the last would be the first.
    """
    count = noise.shape[1] // 2
    times = torch.arange(frames, dtype=torch.float64) / frames
    phases = 2 * pi * torch.arange(1, count + 1, dtype=torch.float64) * times[:, None]
    waves = torch.cat([phases.cos(), phases.sin()], 1)
    walks = waves @ noise.double()
    shell: Tensor = noise.shape[2] ** 0.5 * torch.nn.functional.normalize(walks, dim=2, eps=1e-300)
    return shell
