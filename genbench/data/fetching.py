"""Bringing batches to a GPU ahead of time: a thread gathers and pins them, a stream of its own copies them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Staged = tuple[Tensor, ...]


class Fetcher:
    """Fetches ahead of whoever asks.

    Args:
        gather: returns the tensors of a position, on the CPU; called by one thread alone.
        device: where they go; on a GPU through pinned memory, so that no copy waits for the host or for the step.
    """

    def __init__(self, gather: Callable[[int], Staged], device: torch.device) -> None:
        self.gather = gather
        self.device = device
        on_gpu = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="fetcher")
        self.coming: dict[int, Future[tuple[Staged, torch.cuda.Event | None]]] = {}

    def fetch(self, position: int, following: Sequence[int]) -> Staged:
        """Return the tensors of a position on the device, and begin to fetch those that follow."""
        for wanted in (position, *following):
            if wanted not in self.coming:
                self.coming[wanted] = self.pool.submit(self._bring, wanted)
        tensors, copied = self.coming.pop(position).result()
        for stale in self.coming.keys() - set(following):
            self.coming.pop(stale).cancel()
        if copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            for tensor in tensors:  # else its memory could be given to the next copy while the step still reads it
                tensor.record_stream(current)
        return tensors

    def _bring(self, position: int) -> tuple[Staged, torch.cuda.Event | None]:
        gathered = self.gather(position)
        if self.stream is None:
            return tuple(tensor.to(self.device) for tensor in gathered), None
        with torch.cuda.stream(self.stream):
            # torch keeps pinned memory from being reused until the copies that read it are done.
            tensors = tuple(tensor.pin_memory().to(self.device, non_blocking=True) for tensor in gathered)
            return tensors, self.stream.record_event()
