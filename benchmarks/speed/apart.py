"""The peer in a process of its own, so that nothing that genbench sets in its process touches the peer."""

from argparse import Namespace
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory


class Apart:
    """pythae's side, built and trained on demand in another process; both wait while the other trains.

    Attributes:
        operations: that a step does.
    """

    def __init__(self, args: Namespace, options: Mapping[str, bool]) -> None:
        context = get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, args, dict(options)), daemon=True)
        self._process.start()
        there.close()
        self.operations = int(self._here.recv())

    def train(self) -> None:
        """Have it train for one block of steps."""
        self._here.send("train")
        self._here.recv()

    def shares(self) -> dict[str, float]:
        """Return the share of steps in which each network moved."""
        self._here.send("shares")
        return dict(self._here.recv())


def _serve(there: Connection, args: Namespace, options: Mapping[str, bool]) -> None:
    import torch
    from ceiling import performed_operations
    from train_step import build_case

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    case = build_case(args)
    with TemporaryDirectory() as folder:
        peer = case.peer(Path(folder), options)
        there.send(performed_operations(peer.train) // case.steps)
        peer.moved.clear()
        while True:
            try:
                wish = there.recv()
            except EOFError:
                return
            if wish == "train":
                peer.train()
            there.send(peer.shares() if wish == "shares" else None)
