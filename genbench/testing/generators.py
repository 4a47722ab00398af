"""Random generators that genbench does not seed, and that plugins therefore must not draw from."""

import random

import numpy as np


def other_states() -> dict[str, object]:
    """Return the states of the global generators beside torch's."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - what somebody else's code may draw from
    return {"numpy": (kind, bytes(keys), *rest), "random": random.getstate()}  # type: ignore[arg-type]
