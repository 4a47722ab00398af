"""A process that carries out runs for the local executor: `python -m genbench.executors.worker DEVICE PATHS`.

Orders come on its standard input and reports leave on its standard output, as `messages` has them; what a run's
plugins print goes to standard error. It ends when its input does, so with the process that began it.
"""

import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Lock, Thread, Timer
from types import FrameType

from genbench.errors import GenbenchError
from genbench.executors.messages import (
    Advanced,
    CarryOut,
    Done,
    Ready,
    Report,
    Said,
    Unfit,
    decode_order,
    encode,
    shortened,
)

PATIENCE_S = 60.0
"""Seconds that a run has for saving what it has once nobody is there any more to be told."""


class Channel:
    """The line to the executor.

    Attributes:
        halted: set once the run at work is to stop.
        orders: runs to carry out, then None.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing
        self.halted = Event()
        self.orders: SimpleQueue[CarryOut | None] = SimpleQueue()
        self.lock = Lock()

    @classmethod
    def take_over(cls) -> "Channel":
        """Take this process's standard input and output, and leave it an empty one and standard error for them."""
        channel = cls(os.dup(0), os.dup(1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return channel

    def listen(self) -> None:
        """Take orders until there is nobody to give any."""
        try:
            for line in _lines(self.reading):
                order = decode_order(line)
                if isinstance(order, CarryOut):
                    self.orders.put(order)
                else:
                    self.halt()
        finally:
            self.halt()
            end = Timer(PATIENCE_S, os._exit, (1,))
            end.daemon = True
            end.start()

    def halt(self) -> None:
        """Stop the run at work, and take no other."""
        self.halted.set()
        self.orders.put(None)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Halt at a signal."""
        self.halt()

    def report(self, report: Report) -> None:
        """Write a report; where nobody reads it any more, the run is to stop."""
        line = encode(report)
        try:
            with self.lock:
                while line:
                    line = line[os.write(self.writing, line) :]
        except OSError:
            self.halted.set()

    def advanced(self, images_seen: int) -> None:
        self.report(Advanced(images_seen))

    def said(self, message: str) -> None:
        self.report(Said(shortened(message)))


def _lines(descriptor: int) -> Iterator[bytes]:
    # A thread that waits in a buffered reader could not be left behind when the process ends.
    rest = b""
    while chunk := os.read(descriptor, 65536):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def main(device: str, paths: str) -> int:
    """Carry out runs until no more come."""
    channel = Channel.take_over()
    sys.path[:] = json.loads(paths)  # plugins find what they find in the process that began this one
    faulthandler.enable()
    signal.signal(signal.SIGINT, channel.handle)
    signal.signal(signal.SIGTERM, channel.handle)
    Thread(target=channel.listen, daemon=True).start()
    try:
        channel.report(_get_ready(device))
    except GenbenchError as error:
        channel.report(Unfit(error.message, error.hint))
        return 1
    while (order := channel.orders.get()) is not None:
        done = _carry_out(order, channel)
        channel.report(done)
        if done.leaving:
            break
    gc.freeze()  # or the end of the process would look through all of torch for what nobody needs: up to a second
    return 0


def _get_ready(asked: str) -> Ready:
    """Import everything, and say what the asked-for devices are.

    Raises:
        GenbenchError: one is not there.
    """
    import torch

    import genbench.executors.carrying
    import genbench.executors.freeing  # noqa: F401
    from genbench.execution import choose_device

    devices: list[str] = []
    cudas = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = [f"cuda:{index}" for index in range(cudas)]
    for name in asked.split(","):
        if name in ("auto", "cuda") and cudas:
            devices += known
        else:  # those of others are not touched: that alone would take hundreds of MiB of their memory
            devices.append(name if name in known else str(choose_device(name)))
    gc.freeze()  # what is imported stays, and is not to be looked through between any two runs
    return Ready(tuple(dict.fromkeys(devices)), torch.get_num_threads())


def _carry_out(order: CarryOut, channel: Channel) -> Done:
    import torch

    from genbench.executors.carrying import carry_out
    from genbench.executors.freeing import free_memory

    if order.device.startswith("cuda"):  # where plugins, too, put what they put on no device in particular
        torch.cuda.set_device(order.device)
    how = carry_out(order.job, order.terms, order.device, channel, channel.halted.is_set)
    free_memory()
    # An error may leave a device such that all that follows in this process fails too.
    return Done(how, leaving=how.status == "failed" and order.device != "cpu")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
