"""`--where`: which runs are shown."""

import pytest
from leaderboards import lost, make_record

from genbench.digest import Digest, digest_of
from genbench.errors import GenbenchError
from genbench.records import Record
from genbench.selection import condition, narrowed

RUNS = [
    make_record("vae", "mse", 0, gamma=0.5, images=1000),
    make_record("vae", "ssim", 1, gamma=1.0, images=2000),
    make_record("gan", None, 2, width=0.25),
    make_record("vaegan", "dis-l", 3, dataset="lfw"),
    lost("diverged", 4, "NaN", "vaegan"),
]


def with_config(record: Record, **parts: object) -> Record:
    return record.model_copy(update={"config": {**record.config, **parts}})


def seeds(*texts: str, runs: list[Record] = RUNS) -> list[int]:
    kept, problems = narrowed([digest_of(record) for record in runs], [condition(text) for text in texts])
    assert problems == []
    return [digest.run.seed for digest in kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=vae", [0, 1]),
        ("model = vae , gan", [0, 1, 2]),
        ("model==gan", [2]),
        ("model!=vae", [2, 3, 4]),
        ("model!=vae,gan", [3, 4]),
        ("similarity=none", [2]),
        ("similarity!=none", [0, 1, 3, 4]),
        ("dataset=lfw", [3]),
        ("status=diverged", [4]),
        ("status=ok", [0, 1, 2, 3]),
        ("seed=0,3", [0, 3]),
        ("seed<2", [0, 1]),
        ("seed <= 2", [0, 1, 2]),
        ("seed>3.5", [4]),
        ("seed>=4", [4]),
        ("model.settings.gamma=0.5", [0]),
        ("model.gamma=0.5", [0]),
        ("gamma=.50", [0]),
        ("gamma<1", [0]),
        ("network.width=0.25", [2]),
        ("training.images>=2e3", [1]),
        ("dataset.size=32.0", [0, 1, 2, 3, 4]),
    ],
)
def test_conditions(text: str, expected: list[int]) -> None:
    assert seeds(text) == expected


def test_several_must_all_hold() -> None:
    assert seeds("model=vae,gan", "seed>0") == [1, 2]
    assert seeds() == [0, 1, 2, 3, 4]
    assert narrowed([], [condition("model=vae")]) == ([], [])


def test_values_of_all_kinds() -> None:
    runs = [
        with_config(make_record(seed=0), data={"flip": True, "strengths": "0.5,1", "weight": "auto", "of": [1, 2]}),
        with_config(make_record(seed=1), data={"flip": False, "strengths": "1", "weight": 0.5, "of": None}),
        make_record(seed=2),
    ]
    assert seeds("flip=true", runs=runs) == [0]
    assert seeds("flip=False", runs=runs) == [1]
    assert seeds("flip!=true", runs=runs) == [1, 2]
    assert seeds("strengths=0.5,1", runs=runs) == [0, 1]  # the whole of it, or one of the list
    assert seeds("weight=auto", runs=runs) == [0]
    assert seeds("weight<1", runs=runs) == [1]  # what is no number is not less
    assert seeds("of=[1, 2]", runs=runs) == [0]
    assert seeds("of=none", runs=runs) == [1, 2]  # what is not there is none
    assert seeds("data.weight=.5", runs=runs) == [1]


def error(*texts: str, runs: list[Record] = RUNS) -> GenbenchError:
    with pytest.raises(GenbenchError) as caught:
        narrowed([digest_of(record) for record in runs], [condition(text) for text in texts])
    return caught.value


@pytest.mark.parametrize("text", ["gamma", "=1", "gamma=", "", "gamma~1", "ga mma=1", "gamma=<1=2=<"])
def test_what_is_no_condition(text: str) -> None:
    if text == "gamma=<1=2=<":  # the value may hold anything
        assert condition(text).value == "<1=2=<"
        return
    with pytest.raises(GenbenchError, match="expected KEY OP VALUE"):
        condition(text)


def test_order_is_of_numbers() -> None:
    with pytest.raises(GenbenchError, match="`<` compares numbers, and `many` is none"):
        condition("seed<many")


def test_an_unknown_key_says_which_there_are() -> None:
    assert error("modle=vae").hint == "did you mean `model`?"
    assert "`training.images`" in str(error("trainin.images=1").hint)
    assert "training.images" in str(error("zzz=1").hint)
    assert "evaluation" not in str(error("zzz=1").hint)


def test_an_ambiguous_key_says_what_to_say() -> None:
    found = error("name=vae")
    assert "`name` stands for several settings" in found.message
    assert found.hint == "say one of dataset.name, model.name, similarity.name"


def test_nothing_left_says_what_there_is() -> None:
    found = error("model=vea")
    assert found.message == "no run fulfils --where 'model=vea'"
    assert found.hint == "did you mean `vae`?"
    assert error("seed>10").hint == "there are 0, 1, 2, 3, 4"
    assert error("images<5").hint == "there are 1000, 2000"
    both = error("model=gan", "seed=0")
    assert both.message == "no run fulfils all of --where 'model=gan' --where 'seed=0'"


def test_a_slip_in_a_list_is_told() -> None:
    digests: list[Digest] = [digest_of(record) for record in RUNS]
    kept, problems = narrowed(digests, [condition("model=gan,vea")])
    assert [digest.run.model for digest in kept] == ["gan"]
    assert problems == ["--where 'model=gan,vea': no run has `vea`; did you mean `vae`?"]
