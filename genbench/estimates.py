"""How long a run will take, by the runs of its kind that the store has. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from genbench.config import RunConfig
from genbench.digest import Digest, Digester
from genbench.exchange import read_digest
from genbench.store import RECORD_NAME

ENOUGH = 10
"""Records of one model on one data set that are looked at."""

Kind = tuple[object, ...]


@dataclass(frozen=True)
class Timed:
    """What a finished run took.

    Attributes:
        per_image: seconds of training for each image.
        around: seconds before and after training.
    """

    per_image: float
    around: float


class Estimates:
    """Times of finished runs by their kind: model, similarity, image size, networks and batch size.

    Where none has the same similarity, those with another stand in. A store may hold runs of other machines; then the
    estimate is theirs.

    Args:
        runs: root of the store.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._digester = Digester()
        self._models: dict[tuple[str, str], dict[Kind, list[Timed]]] = {}

    def seconds(self, config: RunConfig, state: str) -> float | None:
        """Return what is left of a run in seconds, or None where nothing of its kind has been timed."""
        if state in ("done", "diverged"):
            return 0.0
        name = (config.dataset.name, config.model.name)
        if name not in self._models:
            self._models[name] = self._collect(*name)
        kind = _kind_of(config)
        timed = self._models[name].get(kind) or self._models[name].get(_any_similarity(kind))
        if not timed:
            return None
        train = median(t.per_image for t in timed) * config.training.images
        around = median(t.around for t in timed)
        return around if state == "score" else train + around

    def _collect(self, dataset: str, model: str) -> dict[Kind, list[Timed]]:
        found: dict[Kind, list[Timed]] = {}
        for folder in sorted((self.runs / dataset).glob(f"{model}-*")):
            for path in islice(sorted(folder.glob(f"*/{RECORD_NAME}")), ENOUGH):
                digest = read_digest(self._digester, path)
                # `vae-*` finds the folders of `vae-dis-l` as well.
                if digest is None or digest.run.model != model or digest.status != "ok" or not digest.images_seen:
                    continue
                cost = digest.cost
                timed = Timed(cost.train_s / digest.images_seen, cost.prepare_s + cost.evaluate_s)
                kind = _kind_written(digest)
                for each in (kind, _any_similarity(kind)):
                    found.setdefault(each, []).append(timed)
        return found


def _kind_of(config: RunConfig) -> Kind:
    similarity = config.similarity.name if config.similarity else None
    network = config.network
    return (similarity, config.dataset.size, network.kind, network.width, config.training.batch_size)


def _kind_written(digest: Digest) -> Kind:
    network, training = (_mapping(digest.config.get(key)) for key in ("network", "training"))
    return (
        digest.run.similarity,
        digest.data.size,
        network.get("kind"),
        network.get("width"),
        training.get("batch_size"),
    )


def _any_similarity(kind: Kind) -> Kind:
    return ("any", *kind[1:])


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
