import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import make_record
from pydantic import ValidationError

from genbench.records import Record, Score, Unscored
from genbench.schema import LONGEST_NAME, LONGEST_TEXT, MOST, SCHEMA


def test_the_schema_is_in_the_json_and_comes_back() -> None:
    record = make_record(skipped=(Unscored(evaluator="fid", reason="no weights"),))
    value = json.loads(record.model_dump_json())
    assert value["schema"] == SCHEMA
    assert "schema_" not in value
    assert Record.model_validate_json(json.dumps(value)) == record


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"genbench\.record/2"):
        make_record(schema="genbench.record/1")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite_everywhere(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Score(name="mse", value=value, direction="lower", protocol={})
    with pytest.raises(ValidationError, match="finite"):
        Score(name="mse", value=0, direction="lower", protocol={}, uncertainty=value)
    with pytest.raises(ValidationError, match="finite"):
        Score(name="mse", value=0, direction="lower", protocol={"range": value})
    with pytest.raises(ValidationError, match="finite"):
        Score(name="mse", value=0, direction="lower", protocol={}, details={"hat": value})
    with pytest.raises(ValidationError, match="finite"):
        make_record(similarity_weight=value)


@pytest.mark.parametrize(
    ("field", "most", "more"),
    [
        ("reason", "x" * LONGEST_TEXT, "x"),
        ("config_hash", "x" * LONGEST_NAME, "x"),
        ("finished_utc", "x" * LONGEST_NAME, "x"),
        ("notes", ("",) * MOST, ("",)),
        ("notes", ("x" * LONGEST_TEXT,), None),
        ("skipped", (Unscored(evaluator="e", reason="r"),) * MOST, None),
        ("config", {str(i): i for i in range(MOST)}, {"more": 1}),
        ("parameters", {str(i): i for i in range(MOST)}, {"more": 1}),
    ],
)
def test_nothing_is_longer_than_its_bound(field: str, most: Any, more: Any) -> None:
    assert getattr(make_record(**{field: most}), field) == most
    if more is None:
        more = most[:1] if len(most) > 1 else ("x" * (LONGEST_TEXT + 1),)
    with pytest.raises(ValidationError, match="at most"):
        make_record(**{field: most | more if isinstance(most, dict) else most + more})


def test_a_scores_texts_are_bounded() -> None:
    def score(**changes: Any) -> Score:
        return Score.model_validate({"name": "s", "value": 1, "direction": "none", "protocol": {}} | changes)

    score(name="x" * LONGEST_NAME, protocol={"k": "x" * LONGEST_TEXT}, warnings=("x" * LONGEST_TEXT,) * 2)
    for changes in (
        {"name": "x" * (LONGEST_NAME + 1)},
        {"protocol": {"k": "x" * (LONGEST_TEXT + 1)}},
        {"protocol": {"x" * (LONGEST_NAME + 1): 1}},
        {"protocol": {str(i): i for i in range(MOST + 1)}},
        {"details": {str(i): i for i in range(MOST + 1)}},
        {"warnings": ("x" * (LONGEST_TEXT + 1),)},
        {"direction": "up"},
    ):
        with pytest.raises(ValidationError):
            score(**changes)


def test_a_record_is_closed_and_immutable() -> None:
    with pytest.raises(ValidationError, match="surprise"):
        make_record(surprise=1)
    with pytest.raises(ValidationError, match="frozen"):
        make_record().status = "failed"  # type: ignore[misc]


@given(
    st.floats(allow_nan=False, allow_infinity=False), st.dictionaries(st.text(), st.none() | st.booleans() | st.text())
)
def test_a_score_keeps_full_precision_and_types(value: float, protocol: dict[str, str | bool | None]) -> None:
    score = Score(name="mse", value=value, direction="lower", protocol=protocol | {"n": 10, "exact": True})
    again = Score.model_validate_json(score.model_dump_json())
    assert again == score
    assert again.protocol["exact"] is True
    assert type(again.protocol["n"]) is int
