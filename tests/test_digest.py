"""A digest says what the whole record says: pydantic's reading of the same bytes is the truth here."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import make_record
from pydantic import BaseModel, ValidationError

from genbench import digest as digests
from genbench import records
from genbench.digest import Digest, Digester, digest_of
from genbench.records import Check, Plugin, Record, Score, Unscored
from genbench.schema import LONGEST_NAME, LONGEST_TEXT, MOST

Path = tuple[str | int, ...]
LEFT_OUT = {("parameters",), ("scores", 0, "details")}
"""What a digest steps over without looking at it."""


def full_record() -> Record:
    score = Score(
        name="fid",
        value=0.1 + 0.2,
        uncertainty=1e-3,
        direction="none",
        protocol={"images": 10, "share": 0.5, "exact": True, "reference": "test", "layer": None},
        details={"part": 1.5},
        warnings=("few images",),
        origin="0123",
    )
    record = make_record(
        status="diverged",
        reason="the loss became NaN",
        similarity_weight=0.5,
        weights_sha256="ab" * 32,
        plugins=(Plugin(kind="model", name="vae", distribution="a", version="1"),),
        skipped=(Unscored(evaluator="kid", reason="no weights"),),
        failures=(Unscored(evaluator="mse", reason="it broke"),),
        checks=(Check(name="active-units", value=0.1, flagged=True, rule="at least 0.3", meaning="It is ill."),),
        notes=("a note",),
        cost=records.Cost(prepare_s=1, train_s=2.5, evaluate_s=0, images_per_s=9, peak_memory_bytes=7, energy_j=3.5),
    )
    return record.model_copy(update={"scores": (score,)})


def written(record: Record) -> bytes:
    return json.dumps(record.model_dump()).encode()


def read(content: bytes) -> Digest | None:
    try:
        return Digester().decode(content)
    except (ValueError, RecursionError):
        return None


def expected(content: bytes) -> Digest | None:
    try:
        return digest_of(Record.model_validate_json(content))
    except (ValidationError, ValueError):
        return None


def paths_in(value: object, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths_in(item, (*path, key))


def changed(value: object, path: Path, new: object) -> object:
    """Return JSON with one value replaced; removed where `new` is Ellipsis."""
    copy = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    if len(path) == 1 and new is ...:
        del copy[path[0]]
    elif len(path) == 1:
        copy[path[0]] = new
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def test_a_digest_has_what_the_record_has() -> None:
    record = full_record()
    found = Digester().decode(written(record))
    assert found == digest_of(record)
    for name in ("status", "reason", "config", "config_hash", "images_asked", "images_seen", "similarity_weight"):
        assert getattr(found, name) == getattr(record, name)
    for name in ("run", "data", "cost", "execution"):
        assert msgspec.structs.asdict(getattr(found, name)) == getattr(record, name).model_dump()
    for name in ("plugins", "skipped", "failures", "checks"):
        have = [msgspec.structs.asdict(each) for each in getattr(found, name)]
        assert have == [each.model_dump() for each in getattr(record, name)]
    (score,), (truth,) = found.scores, record.scores
    for name in ("name", "value", "direction", "protocol", "uncertainty", "warnings"):
        assert getattr(score, name) == getattr(truth, name)
    assert (found.weights_sha256, found.finished_utc) == (record.weights_sha256, record.finished_utc)


@pytest.mark.parametrize(
    ("struct", "model"),
    [
        ("RunDigest", records.RunIdentity),
        ("DataDigest", records.DataFacts),
        ("CheckDigest", records.Check),
        ("UnscoredDigest", records.Unscored),
        ("PluginDigest", records.Plugin),
        ("CostDigest", records.Cost),
        ("ExecutionDigest", records.Execution),
        ("_WrittenScore", records.Score),
        ("_WrittenRecord", records.Record),
    ],
)
def test_no_field_of_the_schema_is_unknown(struct: str, model: type[BaseModel]) -> None:
    fields = {field.name: field.required for field in msgspec.structs.fields(getattr(digests, struct))}
    truth = {field.alias or name: field.is_required() for name, field in model.model_fields.items()}
    assert fields == truth | ({"schema": True} if "schema" in truth else {})


WRONG: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 1.0, 1.5, 2**70, "", "1", "1.5", "true", "x", "ok", "none", "genbench.record/1"),
    *([], [1], [[]], [None], {}, {"x": 1}, {"x": [None]}, {"x": {"y": "z"}}),
    *("x" * (LONGEST_NAME + 1), "x" * (LONGEST_TEXT + 1), ...),
)


def test_what_a_digest_takes_the_record_takes_with_the_same_values() -> None:
    value = json.loads(written(full_record()))
    accepted = refused = 0
    for path in paths_in(value):
        for wrong in WRONG:
            content = json.dumps(changed(value, path, wrong)).encode()
            found = read(content)
            if found is None:
                refused += 1
            elif not any(path[: len(skipped)] == skipped for skipped in LEFT_OUT):
                accepted += 1
                assert found == expected(content), (path, wrong)
    assert accepted > 200
    assert refused > 500


def test_what_the_record_takes_as_it_is_written_a_digest_takes() -> None:
    value = json.loads(written(full_record()))
    optional: list[tuple[Path, object]] = [
        *(((name,), None) for name in ("reason", "similarity_weight", "weights_sha256")),
        *(((name,), []) for name in ("plugins", "scores", "skipped", "failures", "checks", "notes")),
        *((("scores", 0, name), ...) for name in ("uncertainty", "details", "warnings", "origin")),
        *((("execution", name), ...) for name in ("fallback", "images", "processes")),
        *((("data", name), ...) for name in ("notes", "skipped_images")),
        *(((name,), ...) for name in ("reason", "scores", "skipped", "failures", "checks", "notes")),
        *((("scores", 0, "value"), number) for number in (0, -3, 2**70, 1e-400, 5e-324, 1.7976931348623157e308)),
        *((("scores", 0, "protocol", "images"), number) for number in (2**63, 2**64, -(2**70), 0.1, -0.0)),
        (("checks", 0, "value"), None),
        (("cost", "energy_j"), ...),
        (("run", "similarity"), None),
        (("run", "seed"), 2**62),
        (("config", "new"), {"deep": [{"er": [1, 1.0, None, True, "µ\u2028\x00"]}]}),
        (("scores", 0, "direction"), "higher"),
        (("reason",), "x" * LONGEST_TEXT),
        (("run", "model"), "µ" * LONGEST_NAME),
    ]
    for path, new in optional:
        content = json.dumps(changed(value, path, new)).encode()
        assert read(content) == expected(content) is not None, (path, new)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("surprise",), 1),
        (("run", "surprise"), 1),
        (("scores", 0, "surprise"), 1),
        (("execution", "surprise"), 1),
        (("schema",), "genbench.record/1"),
        (("schema",), "genbench.record/3"),
        (("schema",), ...),
        (("status",), "fine"),
        (("scores", 0, "value"), "many"),
        (("scores", 0, "value"), None),
        (("scores", 0, "direction"), "sideways"),
        (("scores", 0, "protocol", "images"), [1]),
        (("scores", 0, "protocol", "images"), "x" * (LONGEST_TEXT + 1)),
        (("scores", 0, "protocol"), {str(i): i for i in range(MOST + 1)}),
        (("scores", 0, "protocol", "n" * (LONGEST_NAME + 1)), 1),
        (("scores", 0, "warnings"), [""] * (MOST + 1)),
        (("config",), {str(i): i for i in range(MOST + 1)}),
        (("config", "n" * (LONGEST_NAME + 1)), 1),
        (("plugins",), [{"kind": "model", "name": "x", "distribution": "x", "version": "x"}] * (MOST + 1)),
        (("plugins", 0, "kind"), "executor"),
        (("execution", "versions", "torch"), 2),
        (("reason",), "x" * (LONGEST_TEXT + 1)),
        (("run", "model"), "x" * (LONGEST_NAME + 1)),
    ],
)
def test_spoiled_records_are_refused_by_both(path: Path, new: object) -> None:
    content = json.dumps(changed(json.loads(written(full_record())), path, new)).encode()
    if path != ("schema",):
        assert expected(content) is None
    assert read(content) is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("old", [b"0.30000000000000004", b"2.5", b'"share": 0.5', b'"gamma": 1.0', b'"value": 0.1'])
def test_numbers_that_are_not_finite_are_refused_wherever_they_stand(number: str, old: bytes) -> None:
    content = written(full_record())
    assert content.count(old) == 1
    name, colon, _ = old.rpartition(b": ")
    assert read(content.replace(old, name + colon + number.encode())) is None


def test_damage_is_refused() -> None:
    content = written(full_record())
    for length in range(0, len(content), 7):
        assert read(content[:length]) is None
    for spoiled in (
        b"",
        b"[]",
        b"3",
        b"{}",
        content + b"x",
        b"\xef\xbb\xbf" + content,
        content.replace(b"fid", b"\xff"),
    ):
        assert read(spoiled) is None
    assert read(content.replace(b'"test"', b'"\\ud800"')) is None
    deep = b'{"a": ' * 100_000 + b"1" + b"}" * 100_000
    assert read(content.replace(b'"width": 1.0', b'"width": ' + deep)) is None
    assert read(content.replace(b'"part": 1.5', b'"part": ' + deep)) is None


def keys(protocol: str, config: str = "{}") -> tuple[int, int]:
    value = json.loads(written(make_record(scores={"mse": 1})))
    value["scores"][0]["protocol"], value["config"] = "PROTOCOL", "CONFIG"
    text = json.dumps(value).replace('"PROTOCOL"', protocol).replace('"CONFIG"', config)
    found = Digester().decode(text.encode())
    assert found == digest_of(Record.model_validate_json(text))
    return found.scores[0].protocol_key, found.row_key


def test_keys_are_the_same_for_equal_content_whatever_its_order_and_spaces() -> None:
    config = '{"model": {"a": 1, "b": [{"c": 2, "d": null}]}, "training": {"images": 10}, "seed": 1}'
    turned = '{"seed":1,"training":{"images":10},"model":{"b":[{"d":null,"c":2}],  "a":1}}'
    assert keys('{"a": 1, "b": "x"}', config) == keys('{ "b":"\\u0078",\n"a":1}', turned)


def test_keys_tell_values_and_types_apart() -> None:
    protocols = ["{}", *(f'{{"a": {v}}}' for v in ("1", "1.0", "true", '"1"', "null", '"true"', "2", "0", "false"))]
    assert len({keys(protocol)[0] for protocol in protocols}) == len(protocols)
    configs = ['{"a": {"n": 1}}', '{"a": {"n": 1.0}}', '{"a": {"n": true}}', '{"a": {"n": [1]}}', '{"b": {"n": 1}}']
    configs += ['{"a": {}, "n": 1}', '{"a": {"n": "1"}}', '{"a": {"n": null}}', '{"a": null}', "{}", '{"n": {"a": 1}}']
    configs += ['{"a": 1, "b": 2}', '{"a": 2, "b": 1}', '{"a, b": 1}']
    assert len({keys("{}", config)[1] for config in configs}) == len(configs)


def test_a_row_is_all_but_the_seed_and_what_was_evaluated() -> None:
    one = digest_of(make_record(seed=1))
    assert one.row_key == digest_of(make_record(seed=2)).row_key
    others = [make_record(gamma=2.0), make_record("gan"), make_record(similarity="ssim"), make_record(images=7)]
    named = make_record()
    others.append(named.model_copy(update={"run": named.run.model_copy(update={"similarity": "ssim"})}))
    assert len({digest_of(other).row_key for other in others} | {one.row_key}) == 6


def test_what_is_alike_is_shared_by_all_that_one_digester_reads() -> None:
    digester = Digester()
    first, second = (digester.decode(written(make_record(seed=seed, protocol={"n": 3}))) for seed in (1, 2))
    assert first.scores[0].protocol is second.scores[0].protocol
    assert first.config["training"] is second.config["training"]
    assert first.execution is second.execution
    assert first.plugins is second.plugins
    assert first.config["seed"] != second.config["seed"]


def test_the_configuration_of_a_record_that_was_never_written_is_as_json_has_it() -> None:
    record = make_record()
    never = record.model_copy(update={"config": {"network": {"layers": (1, 2)}}})
    assert digest_of(never).config == {"network": {"layers": [1, 2]}}
    with pytest.raises(ValueError, match="JSON"):
        digest_of(record.model_copy(update={"config": {"gamma": float("nan")}}))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBERS | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=5), t, max_size=3), max_leaves=6
)


@given(
    value=NUMBERS,
    protocol=st.dictionaries(st.text(max_size=5), SCALARS, max_size=5),
    config=st.dictionaries(st.text(max_size=5), JSON, max_size=4),
    reason=st.none() | st.text(),
)
def test_any_record_reads_alike(
    value: float, protocol: dict[str, object], config: dict[str, object], reason: str | None
) -> None:
    score = Score(name="s", value=value, direction="lower", protocol=protocol)  # type: ignore[arg-type]
    record = make_record(reason=reason, config=config).model_copy(update={"scores": (score,)})
    for content in (written(record), json.dumps(record.model_dump(), indent=1, ensure_ascii=False).encode()):
        found = Digester().decode(content)
        assert found == digest_of(record) == expected(content)
        assert repr(found.scores[0]) == repr(digest_of(record).scores[0])
        assert found.config == config
