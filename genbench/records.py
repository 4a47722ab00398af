"""`Record`: the one immutable JSON file of a run, its schema and its checks. Imports no torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from genbench.config import Frozen

SCHEMA = "genbench.record/1"

Scalar = str | int | float | bool | None


class Score(Frozen):
    """One number about one model.

    Attributes:
        name: as in a table's heading, such as `mse` or `fd-attributes`.
        value: finite, at full precision.
        uncertainty: standard error of `value` over images, or None where it is not estimated.
        direction: which way is better.
        protocol: everything that can move the number apart from the model; the harness adds evaluator and data set.
            Scores whose protocols differ are never ranked together.
        details: parts of the score, such as one value for each attribute; never ranked.
        warnings: what a reader of the number must know, a sentence each; compared with nothing.
        origin: key of the evaluator's configuration, by which a later score of it takes this one's place; the harness
            adds it.
    """

    name: str
    value: float
    direction: Literal["higher", "lower"]
    protocol: dict[str, Scalar]
    uncertainty: float | None = None
    details: dict[str, float] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    origin: str | None = None


class Check(Frozen):
    """One sign of a model's health. It ranks nothing; a flag says that a score of this run may mislead.

    Attributes:
        name: such as `active-units`.
        value: what was measured, or None where it could not be.
        flagged: whether the value breaks the rule.
        rule: the threshold in words, such as `at least 0.3`.
        meaning: what a flag says of the model, one sentence.
    """

    name: str
    value: float | None
    flagged: bool
    rule: str
    meaning: str

    @property
    def flag(self) -> str:
        """Return in words what a flag says."""
        found = "unknown" if self.value is None else f"{self.value:.3g}"
        return f"{self.name} is {found}, not {self.rule}: {self.meaning}"


class Sheet(Frozen):
    """A table that is too large for a record, such as one value for each pair of attributes.

    The harness writes it to the run's folder, as `tables/NAME.csv`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]


class Unscored(Frozen):
    """An evaluator that gave no score, or not all: skipped because it does not apply, or failed.

    Attributes:
        evaluator: its name, with its variant where it has one, such as `fd:attributes`.
    """

    evaluator: str
    reason: str


class Plugin(Frozen):
    """Where a part of the run came from."""

    kind: Literal["model", "similarity", "evaluator", "dataset"]
    name: str
    distribution: str
    version: str


class RunIdentity(Frozen):
    """What was run; with the configuration's hash, the run's place in the store."""

    model: str
    similarity: str | None
    dataset: str
    seed: int


class DataFacts(Frozen):
    """The data as the run saw it."""

    name: str
    size: int
    channels: int
    fingerprint: str
    train: int
    validation: int
    test: int
    attributes: int
    notes: tuple[str, ...] = ()
    skipped_images: int = 0


class Cost(Frozen):
    """What the run cost; times in seconds of wall clock, summed over resumed parts."""

    prepare_s: float
    train_s: float
    evaluate_s: float
    images_per_s: float
    peak_memory_bytes: int


class Execution(Frozen):
    """How the run was executed.

    Attributes:
        engine: that executed the training steps: `eager`, `graph` or `compile`.
        precision: of convolutions and matrix products in training; evaluation is in float32.
        fallback: why it is not the engine that was looked for first, or None.
        images: where training images lay: `resident` on the device, or `streamed` from the file.
        processes: how many trained the run together.
    """

    device: str
    device_name: str
    engine: str
    precision: str
    fallback: str | None = None
    images: str | None = None
    processes: int = 1
    threads: int
    platform: str
    versions: dict[str, str]
    git_commit: str | None


def _is_record(schema: str) -> str:
    if schema != SCHEMA:
        raise ValueError(f"schema is {schema!r}, this genbench reads {SCHEMA!r}")
    return schema


class Record(Frozen):
    """All that is known of a run that has ended.

    Attributes:
        status: `ok`; `diverged` where a loss became non-finite; `failed` where anything else ended it.
        reason: why it did not end well, or None.
        config: the fully resolved configuration, as `RunConfig` dumps it.
        config_hash: of all of it that can move the weights.
        similarity_weight: the factor by which the similarity was multiplied, or None without one.
        weights_sha256: of the trained weights that were scored; scores of other weights are never added to them.
        checks: signs of health.
    """

    schema_: Annotated[str, AfterValidator(_is_record), Field(alias="schema")] = SCHEMA
    status: Literal["ok", "failed", "diverged"]
    reason: str | None = None
    run: RunIdentity
    config: dict[str, object]
    config_hash: str
    plugins: tuple[Plugin, ...]
    data: DataFacts
    images_asked: int
    images_seen: int
    parameters: dict[str, int]
    similarity_weight: float | None = None
    weights_sha256: str | None = None
    scores: tuple[Score, ...] = ()
    skipped: tuple[Unscored, ...] = ()
    failures: tuple[Unscored, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    cost: Cost
    execution: Execution
    started_utc: str
    finished_utc: str

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)
