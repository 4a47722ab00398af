"""What an executor and its worker processes say to each other: JSON, one message a line. Imports no torch.

Nothing is pickled, so a worker that runs anyone's plugins can make the suite's own process do nothing but read.
"""

import json
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from genbench.executors.interface import Ended, Job, Terms

LONGEST = 4000
"""Characters of a text that is passed on."""


@dataclass(frozen=True)
class CarryOut:
    """To a worker: carry out this run.

    Attributes:
        device: torch's name of one.
    """

    job: Job
    terms: Terms
    device: str
    kind: Literal["carry-out"] = "carry-out"


@dataclass(frozen=True)
class Halt:
    """To a worker: save what there is, and end."""

    kind: Literal["halt"] = "halt"


@dataclass(frozen=True)
class Ready:
    """From a worker that has imported everything.

    Attributes:
        devices: those that the asked-for name stands for.
        threads: CPU threads that torch takes by itself.
    """

    devices: tuple[str, ...]
    threads: int
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Unfit:
    """From a worker that can carry out nothing, such as for a device that is not there."""

    message: str
    hint: str | None = None
    kind: Literal["unfit"] = "unfit"


@dataclass(frozen=True)
class Advanced:
    """From a worker: how far training has come."""

    images_seen: int
    kind: Literal["advanced"] = "advanced"


@dataclass(frozen=True)
class Said:
    """From a worker: something in words."""

    message: str
    kind: Literal["said"] = "said"


@dataclass(frozen=True)
class Done:
    """From a worker: how its run ended.

    Attributes:
        leaving: whether the worker ends as well, since its device may not be what it was.
    """

    how: Ended
    leaving: bool = False
    kind: Literal["done"] = "done"


Order = CarryOut | Halt
Report = Ready | Unfit | Advanced | Said | Done

_ORDERS: TypeAdapter[Order] = TypeAdapter(Order)
_REPORTS: TypeAdapter[Report] = TypeAdapter(Report)


def encode(message: Order | Report) -> bytes:
    """Return a message as a line."""
    adapter: TypeAdapter[Order] | TypeAdapter[Report]
    adapter = _ORDERS if isinstance(message, CarryOut | Halt) else _REPORTS
    # As JSON by pydantic a configuration would lose the folders of its weights, which only records must not tell.
    plain = adapter.dump_python(message)  # type: ignore[arg-type]
    return json.dumps(plain, default=str).encode() + b"\n"


def decode_order(line: bytes) -> Order:
    """Return what an executor has written."""
    return _ORDERS.validate_python(json.loads(line))


def decode_report(line: bytes) -> Report | None:
    """Return what a worker has written, or None where that is nonsense or was cut off by its end."""
    try:
        return _REPORTS.validate_python(json.loads(line))
    except (ValueError, RecursionError, ValidationError):
        return None


def shortened(text: str) -> str:
    """Return a text with no more than anybody reads of it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
