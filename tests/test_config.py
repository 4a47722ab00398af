"""`RunConfig`: closed, immutable, and hashed over all that can move the weights."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genbench.config import (
    Component,
    DataConfig,
    EvaluationConfig,
    EvaluatorConfig,
    NetworkConfig,
    NetworkKind,
    RunConfig,
    SamplingConfig,
    TrainingConfig,
)
from genbench.specs import ADDED_LATER

BASE = RunConfig(
    model=Component(name="vaegan", settings={"gamma": 0.01, "saturating": False}),
    similarity=Component(name="dis-l", settings={"layer": "default"}),
    dataset=DataConfig(name="toyfaces", settings={"count": 256}, size=32),
    network=NetworkConfig(),
    training=TrainingConfig(images=1000, flip=True, learning_rate_end=1e-5),
    evaluation=EvaluationConfig(evaluators=(EvaluatorConfig(name="mse"),)),
)

CHANGES: list[tuple[str, Any]] = [
    ("model.name", "vae"),
    ("model.settings.gamma", 0.02),
    ("model.settings.saturating", True),
    ("similarity", None),
    ("similarity.name", "mse"),
    ("similarity.settings.layer", "down2"),
    ("dataset.name", "digits"),
    ("dataset.settings.count", 257),
    ("dataset.size", 33),
    ("dataset.skip_bad_images", True),
    ("network.kind", "mlp"),
    ("network.width", 0.999),
    ("network.latent_size", 127),
    ("network.encoder_hidden", 1024),
    ("training.images", 1001),
    ("training.batch_size", 63),
    ("training.optimiser", "adam"),
    ("training.learning_rate", 2e-4),
    ("training.learning_rate_end", 2e-5),
    ("training.learning_rate_end", None),
    ("training.learning_rate_power", 0.75),
    ("training.discriminator_learning_rate", 3e-4),
    ("training.weight_decay", 1e-5),
    ("training.flip", False),
    ("training.flip_whole_batches", True),
    ("training.augmentation", "larsen2016"),
    ("training.precision", "float32"),
    ("training.batch_norm", "local"),
    ("training.similarity_weight", 1.0),
    ("seed", 1),
]
SAME_WEIGHTS: list[tuple[str, Any]] = [
    ("evaluation.evaluators", [{"name": "mse", "sampling": {"samples": 100}}]),
    ("evaluation.evaluators", []),
    ("evaluation.evaluators", [{"name": "mse", "settings": {"x": 1}}]),
]


def changed(path: str, value: Any) -> RunConfig:
    dumped: dict[str, Any] = BASE.model_dump()
    *way, last = path.split(".")
    at = dumped
    for part in way:
        at = at[part]
    at[last] = value
    return RunConfig.model_validate(dumped)


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_whatever_can_move_the_weights_moves_the_hash(path: str, value: Any) -> None:
    assert changed(path, value) != BASE
    assert changed(path, value).hash() != BASE.hash()


def test_no_field_is_forgotten() -> None:
    """Every field of every section stands in one of the two tables above."""
    fields = {
        f"{section}.{name}"
        for section in ("dataset", "network", "training", "evaluation")
        for name in type(getattr(BASE, section)).model_fields
        if name != "settings"
    }
    covered = {path for path, _ in CHANGES + SAME_WEIGHTS}
    assert fields <= covered
    assert set(RunConfig.model_fields) == {path.split(".")[0] for path in covered}


@pytest.mark.parametrize(("path", "value"), SAME_WEIGHTS)
def test_what_is_scored_does_not_move_the_hash(path: str, value: Any) -> None:
    assert changed(path, value) != BASE
    assert changed(path, value).hash() == BASE.hash()


def test_a_run_of_before_keeps_its_hash_and_its_row() -> None:
    """What came later is written only where it is not as it always was; the hash is one that was recorded then."""
    before = BASE.model_copy(update={"training": TrainingConfig(images=1000)})
    assert before.hash() == "64c9d9f1ac2c00f1f83133b8b66183ea54a52b6ec731d4d31b664ebf35b7e126"
    known = {"images", "batch_size", "optimiser", "learning_rate", "flip", "similarity_weight", "precision"}
    assert set(before.model_dump(mode="json")["training"]) == known | {"batch_norm"}


def test_settings_of_training_that_came_later_have_the_defaults_that_they_came_with() -> None:
    """With others, a run of before would be taken for one of now."""
    fields = TrainingConfig.model_fields.items()
    assert {name: field.default for name, field in fields if ADDED_LATER in field.metadata} == {
        "learning_rate_end": None,
        "learning_rate_power": 1.0,
        "discriminator_learning_rate": None,
        "weight_decay": 0.0,
        "flip_whole_batches": False,
        "augmentation": "none",
    }


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"learning_rate_power": 0.75}, "without `learning_rate_end` the rate stays: give an end"),
        ({"learning_rate_end": 0.1}, "`learning_rate_end` is 0.1, expected no more than `learning_rate`, 0.0003"),
        ({"flip_whole_batches": True}, "`flip` is off, so nothing is mirrored"),
    ],
)
def test_settings_of_training_that_do_nothing_together_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TrainingConfig(images=1, **values)


def test_a_rate_that_falls_can_be_made_to_stay_by_a_word() -> None:
    """As on a command line, over a suite or a recipe that says otherwise."""
    words = {"images": 1, "learning_rate_end": "none", "discriminator_learning_rate": "none"}
    assert TrainingConfig.model_validate(words) == TrainingConfig(images=1)


def test_the_order_of_settings_does_not_move_the_hash() -> None:
    turned = changed("model.settings", {"saturating": False, "gamma": 0.01})
    assert turned.hash() == BASE.hash()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)
components = st.builds(Component, name=st.text(), settings=st.dictionaries(st.text(), json_values, max_size=3))
evaluators = st.builds(
    EvaluatorConfig,
    name=st.text(),
    settings=st.dictionaries(st.text(), json_values, max_size=3),
    variant=st.text(),
    sampling=st.builds(SamplingConfig, samples=st.integers(2, 10**7), sampler=st.sampled_from(["prior", "gmm"])),
)
configs = st.builds(
    RunConfig,
    model=components,
    similarity=st.none() | components,
    dataset=st.builds(DataConfig, name=st.text(), size=st.integers(4, 1024)),
    network=st.builds(NetworkConfig, kind=st.sampled_from(get_args(NetworkKind)), width=st.floats(0.01, 8)),
    training=st.builds(
        TrainingConfig,
        images=st.integers(1, 10**15),
        learning_rate=st.floats(1e-300, 1),
        learning_rate_end=st.none() | st.floats(0, 1e-300),
        discriminator_learning_rate=st.none() | st.floats(1e-300, 1),
        weight_decay=st.floats(0, 1),
        augmentation=st.sampled_from(["none", "larsen2016"]),
        similarity_weight=st.just("auto") | st.floats(1e-300, 1e300),
    ),
    evaluation=st.builds(EvaluationConfig, evaluators=st.lists(evaluators, max_size=2).map(tuple)),
    seed=st.integers(0, 2**63 - 1),
)


@given(configs)
def test_a_configuration_survives_json(config: RunConfig) -> None:
    back = RunConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert back == config
    assert back.hash() == config.hash()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sead", 1),
        ("training.lerning_rate", 1e-3),
        ("network.width", float("nan")),
        ("training.learning_rate", float("inf")),
        ("training.similarity_weight", 0.0),
        ("training.similarity_weight", "automatic"),
        ("training.batch_size", 1),  # batch-norm needs two
        ("training.learning_rate_end", 1e-3),  # over the rate at the start
        ("training.learning_rate_end", -1e-9),
        ("training.learning_rate_power", 0),
        ("training.discriminator_learning_rate", 0),
        ("training.weight_decay", -1e-9),
        ("training.weight_decay", float("nan")),
        ("training.augmentation", "larsen"),
        ("dataset.size", 3),
        ("network.kind", "transformer"),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_configuration_out_of_range_is_refused(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        changed(path, value)


def test_a_configuration_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BASE.training.images = 5


def test_a_record_keeps_the_name_of_a_weights_file_and_not_its_folder() -> None:
    component = EvaluatorConfig(name="fd", settings={"weights": "/home/jane/w/net.pth", "reference": "test"})
    assert component.model_dump(mode="json")["settings"] == {"weights": "net.pth", "reference": "test"}
    assert component.settings["weights"] == "/home/jane/w/net.pth"
    assert EvaluatorConfig(name="fd", settings={"weights": ""}).model_dump(mode="json")["settings"] == {"weights": ""}
    assert EvaluatorConfig(name="mse").model_dump(mode="json")["settings"] == {}
