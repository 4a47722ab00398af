"""`Record`: the one immutable JSON file of a run, its schema and its checks. Imports no torch.

A record may come from a stranger, so that every text and list in it is bounded; nothing in it is ever opened.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from genbench.config import Frozen
from genbench.schema import LONGEST_NAME, LONGEST_TEXT, MOST, SCHEMA, Direction, flag_text

Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Scalar = Text | int | float | bool | None
_BOUNDED = Field(max_length=MOST)


class Score(Frozen):
    """One number about one model.

    Attributes:
        name: as in a table's heading, such as `mse` or `fd-attributes`.
        value: finite, at full precision.
        uncertainty: standard error of `value` over images, or None where it is not estimated.
        direction: which way is better, if any.
        protocol: everything that can move the number apart from the model; the harness adds evaluator and data set.
            Scores whose protocols differ are never ranked together.
        details: parts of the score, such as one value for each attribute; never ranked.
        warnings: what a reader of the number must know, a sentence each; compared with nothing.
        origin: key of the evaluator's configuration, by which a later score of it takes this one's place; the harness
            adds it.
    """

    name: Name
    value: float
    direction: Direction
    protocol: Annotated[dict[Name, Scalar], _BOUNDED]
    uncertainty: float | None = None
    details: Annotated[dict[Name, float], _BOUNDED] = Field(default_factory=dict)
    warnings: Annotated[tuple[Text, ...], _BOUNDED] = ()
    origin: Name | None = None


class Check(Frozen):
    """One sign of a model's health. It ranks nothing; a flag says that a score of this run may mislead.

    Attributes:
        name: such as `active-units`.
        value: what was measured, or None where it could not be.
        flagged: whether the value breaks the rule.
        rule: the threshold in words, such as `at least 0.3`.
        meaning: what a flag says of the model, one sentence.
    """

    name: Name
    value: float | None
    flagged: bool
    rule: Text
    meaning: Text

    @property
    def flag(self) -> str:
        """Return in words what a flag says."""
        return flag_text(self.name, self.value, self.rule, self.meaning)


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

    evaluator: Name
    reason: Text


class Plugin(Frozen):
    """Where a part of the run came from."""

    kind: Literal["model", "similarity", "evaluator", "dataset"]
    name: Name
    distribution: Name
    version: Name


class RunIdentity(Frozen):
    """What was run; with the configuration's hash, the run's place in the store."""

    model: Name
    similarity: Name | None
    dataset: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class DataFacts(Frozen):
    """The data as the run saw it."""

    name: Name
    size: int
    channels: int
    fingerprint: Name
    train: int
    validation: int
    test: int
    attributes: int
    notes: Annotated[tuple[Text, ...], _BOUNDED] = ()
    skipped_images: int = 0


class Cost(Frozen):
    """What the run cost; times in seconds of wall clock, summed over resumed parts.

    Attributes:
        energy_j: that the device used in training, in joules, whoever else used it then; None where it does not tell.
    """

    prepare_s: float
    train_s: float
    evaluate_s: float
    images_per_s: float
    peak_memory_bytes: int
    energy_j: float | None = None


class Execution(Frozen):
    """How the run was executed.

    Attributes:
        engine: that executed the training steps: `eager`, `graph` or `compile`.
        precision: of convolutions and matrix products in training; evaluation is in float32.
        fallback: why it is not the engine that was looked for first, or None.
        images: where training images lay: `resident` on the device, or `streamed` from the file.
        processes: how many trained the run together.
    """

    device: Name
    device_name: Name
    engine: Name
    precision: Name
    fallback: Text | None = None
    images: Name | None = None
    processes: int = 1
    threads: int
    platform: Name
    versions: Annotated[dict[Name, Name], _BOUNDED]
    git_commit: Name | None


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
        similarity_weight: the factor by which the similarity was multiplied, or None without one; those of a mixture's
            parts stand in `notes`.
        weights_sha256: of the trained weights that were scored; scores of other weights are never added to them.
        checks: signs of health.
    """

    schema_: Annotated[str, AfterValidator(_is_record), Field(alias="schema")] = SCHEMA
    status: Literal["ok", "failed", "diverged"]
    reason: Text | None = None
    run: RunIdentity
    config: Annotated[dict[Name, object], _BOUNDED]
    config_hash: Name
    plugins: Annotated[tuple[Plugin, ...], _BOUNDED]
    data: DataFacts
    images_asked: int
    images_seen: int
    parameters: Annotated[dict[Name, int], _BOUNDED]
    similarity_weight: float | None = None
    weights_sha256: Name | None = None
    scores: Annotated[tuple[Score, ...], _BOUNDED] = ()
    skipped: Annotated[tuple[Unscored, ...], _BOUNDED] = ()
    failures: Annotated[tuple[Unscored, ...], _BOUNDED] = ()
    checks: Annotated[tuple[Check, ...], _BOUNDED] = ()
    notes: Annotated[tuple[Text, ...], _BOUNDED] = ()
    cost: Cost
    execution: Execution
    started_utc: Name
    finished_utc: Name

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)
