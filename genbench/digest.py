"""`Digest`: what a leaderboard needs of a record, decoded straight from its bytes. Imports no torch.

Reading many records is most of the work of comparing them. A digest takes a seventh of the time of a `Record`: what no
leaderboard shows is stepped over, and what many records share, such as a protocol, is decoded once.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Generic, Literal, NamedTuple, TypeVar

from msgspec import Meta, Raw, Struct, convert
from msgspec.json import Decoder
from pydantic_core import from_json

from genbench.schema import LONGEST_NAME, LONGEST_TEXT, MOST, SCHEMA, Direction

if TYPE_CHECKING:
    from genbench.records import Record, Scalar

NOT_OF_A_ROW = frozenset({"seed", "evaluation"})
"""Parts of a configuration that runs of one row need not share."""

_Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Scalar = _Text | int | float | bool | None
_Bounded = Meta(max_length=MOST)
_KEY_BYTES = 16

T = TypeVar("T")


class RunDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `RunIdentity`."""

    model: _Name
    similarity: _Name | None
    dataset: _Name
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class DataDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `DataFacts`."""

    name: _Name
    size: int
    channels: int
    fingerprint: _Name
    train: int
    validation: int
    test: int
    attributes: int
    notes: Annotated[tuple[_Text, ...], _Bounded] = ()
    skipped_images: int = 0


class CheckDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `Check`."""

    name: _Name
    value: float | None
    flagged: bool
    rule: _Text
    meaning: _Text


class UnscoredDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `Unscored`."""

    evaluator: _Name
    reason: _Text


class PluginDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `Plugin`."""

    kind: Literal["model", "similarity", "evaluator", "dataset"]
    name: _Name
    distribution: _Name
    version: _Name


class CostDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """See `Cost`."""

    prepare_s: float
    train_s: float
    evaluate_s: float
    images_per_s: float
    peak_memory_bytes: int
    energy_j: float | None = None


class ExecutionDigest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See `Execution`."""

    device: _Name
    device_name: _Name
    engine: _Name
    precision: _Name
    fallback: _Text | None = None
    images: _Name | None = None
    processes: int = 1
    threads: int
    platform: _Name
    versions: Annotated[dict[_Name, _Name], _Bounded]
    git_commit: _Name | None


class ScoreDigest(Struct, frozen=True):
    """See `Score`; without its details and origin.

    Attributes:
        protocol: shared between scores, so never to be changed.
        protocol_key: equal for protocols of equal keys, values and types of values, in whatever order; 1, 1.0 and True
            are three values.
    """

    name: str
    value: float
    direction: Direction
    protocol: "Mapping[str, Scalar]"
    protocol_key: int
    uncertainty: float | None = None
    warnings: tuple[str, ...] = ()


class Digest(Struct, frozen=True, kw_only=True):
    """See `Record`; without what no leaderboard shows.

    Attributes:
        config: shared in parts between records, so never to be changed.
        row_key: as a score's `protocol_key`, of the model's and the similarity's name and of all of `config` but its
            seed and what was evaluated (`NOT_OF_A_ROW`).
    """

    status: Literal["ok", "failed", "diverged"]
    reason: str | None
    run: RunDigest
    config: Mapping[str, object]
    row_key: int
    config_hash: str
    plugins: tuple[PluginDigest, ...]
    data: DataDigest
    images_asked: int
    images_seen: int
    similarity_weight: float | None
    weights_sha256: str | None
    scores: tuple[ScoreDigest, ...]
    skipped: tuple[UnscoredDigest, ...]
    failures: tuple[UnscoredDigest, ...]
    checks: tuple[CheckDigest, ...]
    cost: CostDigest
    execution: ExecutionDigest
    finished_utc: str


class Digester:
    """Decodes records, and keeps what equal texts in them share: one for all that are read together."""

    def __init__(self) -> None:
        self._record = Decoder(_WrittenRecord)
        self._parts = _Once(_part)
        protocol: Decoder[dict[str, Scalar]] = Decoder(Annotated[dict[_Name, _Scalar], _Bounded])
        self._protocols = _Once(lambda text: _keyed(protocol.decode(text)))
        self._data = _Once(Decoder(DataDigest).decode)
        self._plugins = _Once(Decoder(Annotated[tuple[PluginDigest, ...], _Bounded]).decode)
        self._executions = _Once(Decoder(ExecutionDigest).decode)
        self._warnings = _Once(Decoder(Annotated[tuple[_Text, ...], _Bounded]).decode)
        self._unscored = _Once(Decoder(Annotated[tuple[UnscoredDigest, ...], _Bounded]).decode)

    def decode(self, content: bytes) -> Digest:
        """Return the digest of a record's JSON.

        What `Record` refuses is refused, except inside of what a digest leaves out (`details`, `parameters`); so is a
        value that `Record` would turn into one of the right type.

        Raises:
            ValueError: it is no record, or one of the kind above; the message is no help.
            RecursionError: it is nested too deep.
        """
        record = self._record.decode(content)
        if record.schema != SCHEMA:
            raise ValueError(record.schema)
        parts = {name: self._parts[bytes(raw)] for name, raw in record.config.items()}
        return Digest(
            status=record.status,
            reason=record.reason,
            run=record.run,
            config={name: part.value for name, part in parts.items()},
            row_key=_row_key(record.run, parts),
            config_hash=record.config_hash,
            plugins=self._plugins[bytes(record.plugins)],
            data=self._data[bytes(record.data)],
            images_asked=record.images_asked,
            images_seen=record.images_seen,
            similarity_weight=record.similarity_weight,
            weights_sha256=record.weights_sha256,
            scores=self._scores(record.scores),
            skipped=self._unscored[bytes(record.skipped)],
            failures=self._unscored[bytes(record.failures)],
            checks=record.checks,
            cost=record.cost,
            execution=self._executions[bytes(record.execution)],
            finished_utc=record.finished_utc,
        )

    def _scores(self, scores: "tuple[_WrittenScore, ...]") -> tuple[ScoreDigest, ...]:
        protocols, warnings = self._protocols, self._warnings
        return tuple(
            [
                ScoreDigest(
                    s.name,
                    s.value,
                    s.direction,
                    *protocols[bytes(s.protocol)],
                    s.uncertainty,
                    warnings[bytes(s.warnings)],
                )
                for s in scores
            ]
        )


def digest_of(record: "Record") -> Digest:
    """Return the digest of a record, equal to the one decoded from its JSON.

    Raises:
        ValueError: its configuration holds what JSON has no form for, such as NaN.
    """
    run = convert(record.run, RunDigest, from_attributes=True)
    parts = {name: _keyed(json.loads(_canonical(value))) for name, value in record.config.items()}
    return Digest(
        status=record.status,
        reason=record.reason,
        run=run,
        config={name: part.value for name, part in parts.items()},
        row_key=_row_key(run, parts),
        config_hash=record.config_hash,
        plugins=convert(record.plugins, tuple[PluginDigest, ...], from_attributes=True),
        data=convert(record.data, DataDigest, from_attributes=True),
        images_asked=record.images_asked,
        images_seen=record.images_seen,
        similarity_weight=record.similarity_weight,
        weights_sha256=record.weights_sha256,
        scores=tuple(
            ScoreDigest(s.name, s.value, s.direction, s.protocol, _keyed(s.protocol).key, s.uncertainty, s.warnings)
            for s in record.scores
        ),
        skipped=convert(record.skipped, tuple[UnscoredDigest, ...], from_attributes=True),
        failures=convert(record.failures, tuple[UnscoredDigest, ...], from_attributes=True),
        checks=convert(record.checks, tuple[CheckDigest, ...], from_attributes=True),
        cost=convert(record.cost, CostDigest, from_attributes=True),
        execution=convert(record.execution, ExecutionDigest, from_attributes=True),
        finished_utc=record.finished_utc,
    )


class _WrittenScore(Struct, frozen=True, forbid_unknown_fields=True):
    """A score as it stands in the file; what is `Raw` is no more than looked at for its end."""

    name: _Name
    value: float
    direction: Direction
    protocol: Raw
    uncertainty: float | None = None
    details: Raw = Raw(b"{}")
    warnings: Raw = Raw(b"[]")
    origin: _Name | None = None


class _WrittenRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record as it stands in the file."""

    schema: _Name
    status: Literal["ok", "failed", "diverged"]
    reason: _Text | None = None
    run: RunDigest
    config: Annotated[dict[_Name, Raw], _Bounded]
    config_hash: _Name
    plugins: Raw
    data: Raw
    images_asked: int
    images_seen: int
    parameters: Raw
    similarity_weight: float | None = None
    weights_sha256: _Name | None = None
    scores: Annotated[tuple[_WrittenScore, ...], _Bounded] = ()
    skipped: Raw = Raw(b"[]")
    failures: Raw = Raw(b"[]")
    checks: Annotated[tuple[CheckDigest, ...], _Bounded] = ()
    notes: Annotated[tuple[_Text, ...], _Bounded] = ()
    cost: CostDigest
    execution: Raw
    started_utc: _Name
    finished_utc: _Name


class _Keyed(NamedTuple, Generic[T]):
    """A value, and a hash that stands for it: no table needs to be passed on for keys to be comparable."""

    value: T
    key: int


class _Once(dict[bytes, T]):
    """What texts say, each decoded when it is first asked for."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, text: bytes) -> T:
        found = self[text] = self._decode(text)
        return found


def _part(text: bytes) -> _Keyed[object]:
    """Decode a part of a configuration, which may be any JSON, as pydantic does: no deeper than it goes."""
    value: object = from_json(text, allow_inf_nan=False)
    return _keyed(value)


def _keyed(value: T) -> _Keyed[T]:
    return _Keyed(value, _hash(_canonical(value).encode()))


def _row_key(run: RunDigest, parts: Mapping[str, _Keyed[object]]) -> int:
    names = sorted(parts.keys() - NOT_OF_A_ROW)
    keys = b"".join([parts[name].key.to_bytes(_KEY_BYTES) for name in names])
    return _hash(repr((run.model, run.similarity, names)).encode() + keys)


def _canonical(value: object) -> str:
    """Return the JSON that all equal values share.

    Raises:
        ValueError: there is a number in it that is not finite, such as 1e999 becomes.
    """
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=_KEY_BYTES).digest())
