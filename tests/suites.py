"""Jobs for executors, with plugins in a `genbenchfile.py` that go wrong, and someone who watches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from genbench.executors.interface import Ended, Job, Terms
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve
from genbench.store import RunFolder, folder_in

BATCH = 8
PLUGIN = '''
import os, signal, sys, time
from pathlib import Path

import genbench
from genbench.interfaces import Similarity
from torch import nn


class Measure(Similarity):
    """The squared error, and something else at every step."""

    def __init__(self):
        super().__init__()
        self.steps = 0
        Path(f"{type(self).__name__}.{os.getpid()}.pid").touch()

    def forward(self, real, fake):
        self.steps += 1
        self.besides()
        return (real.images - fake.images).square().flatten(1).sum(1)

    def besides(self):
        pass


class Slow(Measure):
    def besides(self):
        time.sleep(0.05 if Path("slow").exists() else 0)


class Loud(Measure):
    def besides(self):
        print("not for anybody")
        os.write(1, b'{"kind": "done", "how": {"status": "failed"}}\\n')
        sys.stdin.read()


class Raising(Measure):
    def besides(self):
        if self.steps > 10:
            raise RuntimeError("this measure is\\nbroken")


class Deadly(Measure):
    def besides(self):
        if self.steps > 10:
            print("a last word", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


class Blind(Measure):
    def forward(self, real, fake):
        return (0 * real.images).flatten(1).sum(1)


@genbench.hookimpl
def genbench_similarities():
    for name in ("Slow", "Loud", "Raising", "Deadly", "Blind"):
        yield genbench.SimilaritySpec(name.lower(), "", f"genbenchfile:{name}")
'''


def make_job(similarity: str, seed: int = 0, steps: int = 16, *, label: str = "") -> Job:
    """Return a tiny run on drawn faces, with the plugins of the working folder."""
    asked = RunRequest(
        "vae",
        "toyfaces",
        similarity=similarity,
        seed=seed,
        size=16,
        width=0.05,
        images=steps * BATCH,
        batch_size=BATCH,
        evaluators=(),
        settings=("dataset.count=64", "network.latent_size=4", "network.encoder_hidden=64"),
    )
    return Job(label or f"{similarity}-{seed}", resolve(Plugins.load(), asked))


def folder_of(job: Job, terms: Terms) -> RunFolder:
    return folder_in(terms.runs, job.config)


@dataclass
class Watching:
    """Keeps what it is told, in order, and does something when a job has come so far or has ended."""

    then: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    ends: dict[str, Ended] = field(default_factory=dict)

    def started(self, job: Job, where: str) -> None:
        self._note("started", job)

    def advanced(self, job: Job, images_seen: int) -> None:
        self.seen.append(images_seen)
        if images_seen >= 2 * BATCH:
            self.then.pop(("advanced", job.label), lambda: None)()

    def said(self, job: Job, message: str) -> None:
        self.words.append(f"{job.label}: {message}")
        if "another process" in message:
            self.then.pop(("busy", job.label), lambda: None)()

    def ended(self, job: Job, how: Ended) -> None:
        assert job.label not in self.ends
        self.ends[job.label] = how
        self._note("ended", job)

    def _note(self, what: str, job: Job) -> None:
        self.told.append((what, job.label))
        self.then.pop((what, job.label), lambda: None)()

    def how(self) -> dict[str, str]:
        return {label: how.status for label, how in self.ends.items()}


def pids(measure: str = "*") -> list[int]:
    """Return the processes that have built a measure in the working folder."""
    return [int(path.suffixes[0][1:]) for path in Path().glob(f"{measure}.*.pid")]
