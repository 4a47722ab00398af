"""Seeds derived from what they are for, so that no draw depends on how many came before it."""

from hashlib import blake2b


def derive(seed: int, *purpose: str | int) -> int:
    """Return a seed in [0, 2^63) for one purpose, such as `derive(seed, "step", images_seen)`."""
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
