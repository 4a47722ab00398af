import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import make_record
from pydantic import ValidationError

from genbench.records import SCHEMA, Record, Score, Unscored


def test_the_schema_is_in_the_json_and_comes_back() -> None:
    record = make_record(skipped=(Unscored(evaluator="fid", reason="no weights"),))
    value = json.loads(record.model_dump_json())
    assert value["schema"] == SCHEMA
    assert "schema_" not in value
    assert Record.model_validate_json(json.dumps(value)) == record


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"genbench\.record/2"):
        make_record(schema="genbench.record/2")


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
