"""One worker process, seen from the process that began it. Imports no torch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from tempfile import TemporaryFile
from threading import Thread

from genbench.executors.messages import Order, Report, decode_report, encode

MODULE = "genbench.executors.worker"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What libraries read as they are loaded."""
MOST_BYTES = 2**20
"""Of what a worker prints, which is kept for the case that it dies."""
LAST_LINES, LAST_BYTES = 40, 2**13

Reports = SimpleQueue[tuple["WorkerProcess", Report | None]]


class WorkerProcess:
    """A worker in a session of its own, which Ctrl-C at the terminal does not reach.

    Args:
        device: as asked for; the worker says what it stands for.
        threads: CPU threads of its libraries, or None for what they take by themselves.
        reports: is given what the worker reports, and None once it has ended.
    """

    def __init__(self, device: str, threads: int | None, reports: Reports) -> None:
        self.reports = reports
        # A file, since whoever prints into a pipe that nobody reads any more is ended by that.
        self.printed = TemporaryFile()  # noqa: SIM115 - closed by `bury`
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", MODULE, device, json.dumps(sys.path, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            bufsize=0,
            env=_environment(os.environ, threads),
            start_new_session=True,
        )
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def send(self, order: Order) -> None:
        """Give an order; that a worker has died is told by the end of its reports."""
        line = encode(order)
        with suppress(OSError):
            while line:
                line = line[os.write(self._input(), line) :]

    def dismiss(self) -> None:
        """Let it end, once it has ended the run at work, if any."""
        assert self.process.stdin is not None  # noqa: S101 - for the type checker
        self.process.stdin.close()

    def look_after(self) -> None:
        """Keep what it has printed small, and see that its reports end when it does."""
        printed = self.printed.fileno()
        if os.fstat(printed).st_size > MOST_BYTES:
            os.ftruncate(printed, 0)
            os.lseek(printed, 0, os.SEEK_SET)  # the worker's own place in the file, too
        if self.process.poll() is not None:
            self._kill_group()  # processes that it began could hold its end of the pipe open

    def last_words(self) -> str:
        """Return the last lines that it has printed, such as the traceback of what it died of."""
        printed = self.printed.fileno()
        size = os.fstat(printed).st_size
        text = os.pread(printed, LAST_BYTES, max(size - LAST_BYTES, 0)).decode(errors="replace")
        return "\n".join(text.splitlines()[-LAST_LINES:])

    def bury(self) -> int:
        """End it at once, with all that it began, where it has not ended by itself; return its exit status.

        Nothing but its `reader` may still use it.
        """
        self._kill_group()
        status = self.process.wait()
        self.reader.join()
        for file in (self.process.stdin, self.process.stdout, self.printed):
            if file is not None:
                file.close()
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - for the type checker
        with suppress(OSError):
            rest = b""
            while chunk := os.read(self.process.stdout.fileno(), 65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for report in map(decode_report, lines):
                    if report is not None:
                        self.reports.put((self, report))
        self.reports.put((self, None))

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS has the latter for a group of the dead
            os.killpg(self.process.pid, signal.SIGKILL)

    def _input(self) -> int:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker
        if self.process.stdin.closed:
            raise BrokenPipeError
        return self.process.stdin.fileno()


def _environment(own: Mapping[str, str], threads: int | None) -> dict[str, str]:
    return dict(own) if threads is None else dict(own) | dict.fromkeys(THREADS, str(threads))
