"""Suites: what a file says, what is wrong with it, and the runs that come of it."""

from pathlib import Path

import pytest

from genbench.errors import GenbenchError
from genbench.suite import find_suite, known_suites, read_suite


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> GenbenchError:
    with pytest.raises(GenbenchError) as caught:
        read_suite(write(folder, text))
    return caught.value


def test_lists_are_axes_and_tables_take_what_they_do_not_say_from_the_defaults(tmp_path: Path) -> None:
    suite = read_suite(
        write(
            tmp_path,
            """
            about = "two tables"
            [defaults]
            dataset = "digits"
            images = 1_000
            seeds = 3
            settings = { "training.learning_rate" = 1e-3, kl_weight = 2 }
            [[runs]]
            model = "vae"
            similarity = ["mse", "l1"]
            similarity_weight = [1.5, "auto"]
            [runs.settings]
            kl_weight = [0.1, 1]
            [[runs]]
            model = "gan"
            images = 2_000
            seeds = [7, 5]
            evaluators = ["health"]
            settings = { saturating = true }
            """,
        )
    )
    assert (suite.name, suite.about) == ("mine", "two tables")
    *grid, (gan, seeds) = suite.requests
    assert len(grid) == 2 * 2 * 2
    assert {(r.similarity, r.similarity_weight, r.settings) for r, _ in grid} == {
        (similarity, weight, ("training.learning_rate=0.001", f"kl_weight={kl}"))
        for similarity in ("mse", "l1")
        for weight in ("1.5", "auto")
        for kl in ("0.1", "1")
    }
    assert {seeds for _, seeds in grid} == {(0, 1, 2)}
    assert {(r.model, r.dataset, r.images) for r, _ in grid} == {("vae", "digits", 1000)}
    assert (gan.model, gan.images, gan.evaluators, seeds) == ("gan", 2000, ("health",), (7, 5))
    assert gan.settings == ("training.learning_rate=0.001", "kl_weight=2", "saturating=true")


RUN = '[[runs]]\nmodel = "vae"\ndataset = "digits"\n'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[[runs]\n", "not TOML", "quick.toml"),
        ("", "no runs", "[[runs]]"),
        ("runs = []", "no runs", "[[runs]]"),
        ('abuot = "x"\n[[runs]]\nmodel = "vae"', "unknown key `abuot`", "did you mean `about`?"),
        ('[[runs]]\nmodel = "vae"\n[[runs]]\nmodell = "vae"', "runs table 2: unknown key `modell`", "`model`"),
        ('[defaults]\nmodle = "vae"\n[[runs]]\nmodel = "vae"', "defaults: unknown key `modle`", "`model`"),
        ('[[runs]]\nmodel = "vae"', "runs table 1: no dataset", "[defaults]"),
        ('[[runs]]\ndataset = "digits"', "runs table 1: no model", "[defaults]"),
        ('[[runs]]\nmodel = []\ndataset = "digits"', "model: an empty list makes a grid of no runs", ""),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nseeds = []', "seeds", ""),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nseeds = 0', "seeds", ""),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nseeds = [-1]', "seeds", ""),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\n[runs.settings]\nkl_weight = []', "settings", ""),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nsize = "large"', "runs table 1: size", ""),
        ('[[runs]]\nmodel = ["vae", "vae"]\ndataset = "digits"', "model has 'vae' twice", "leave out one"),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nseeds = [3, 3]', "seeds has 3 twice", "leave out one"),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nseeds = 1_000_000\nsize = [16, 32]', "grid of over", "shorter"),
        ('[[runs]]\nmodel = "vae"\ndataset = "digits"\nwidth = nan', "width", ""),
        (RUN + 'seeds = "3"', "runs table 1: seeds is '3', expected how many", ""),
        (RUN + 'seeds = ["3"]', "seeds is ['3'], expected", ""),
        (RUN + "seeds = true", "seeds is true, expected how many", ""),
        (RUN + "seeds = 3.0", "seeds is 3.0, expected how many", ""),
        (RUN + "seeds = 0", "seeds is 0, expected how many, from 1 to", ""),
        (RUN + "images = 2020-01-01", "images is 2020-01-01, expected a whole number", ""),
        (RUN + 'size = "16"', "size is '16', expected a whole number", ""),
        (RUN + "width = true", "width is true, expected a number", ""),
        (RUN + 'evaluators = "mse"', "evaluators is 'mse', expected a list of names", ""),
        (RUN + "settings = 3", "settings is 3, expected a table", ""),
        (RUN + "settings.kl_weight = nan", "settings.kl_weight is nan, expected a text", ""),
        (RUN + "settings.size = [[1]]", "settings.size is [[1]], expected a text", ""),
        (RUN + "settings.network.kind = 'mlp'", "settings.network is a table, expected", '"network.kind" = …'),
        ("runs = 3", "runs is 3, expected tables", ""),
        ("runs = [3]", "runs table 1 is 3, expected a table", ""),
        ('[runs]\nmodel = "vae"', "runs is a table, expected tables", ""),
        ('about = 3\n[[runs]]\nmodel = "vae"', "about is 3, expected a text", ""),
        ('defaults = 1\n[[runs]]\nmodel = "vae"', "defaults is 1, expected a table", ""),
        ("x = " + "[" * 5000, "nested too deep", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str, hint: str) -> None:
    error = refusal(tmp_path, text)
    assert message in error.message
    assert "mine.toml" in error.message
    assert hint in (error.hint or "")


def test_suites_that_come_with_genbench_are_found_by_name_and_all_are_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(known_suites()) == {"larsen2016", "quick", "rate-distortion", "similarity"}
    for name, path in known_suites().items():
        assert find_suite(name) == path
        assert read_suite(path).requests
    with pytest.raises(GenbenchError, match="unknown suite `quik`") as caught:
        find_suite("quik")
    assert "`quick`" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match=r"mine\.toml: no such file"):
        find_suite("mine.toml")
    own = write(tmp_path, '[[runs]]\nmodel = "vae"\ndataset = "digits"')
    assert find_suite("mine.toml") == Path(own.name)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(GenbenchError, match="not TOML"):
        read_suite(path)


def test_a_mark_that_an_editor_put_before_the_text_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RUN, encoding="utf-8-sig")
    assert len(read_suite(path).requests) == 1


def test_a_folder_is_told_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(GenbenchError, match=r"mine\.toml: a folder"):
        find_suite(str(tmp_path / "mine.toml"))
