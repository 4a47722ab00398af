"""The kit in the tests of a plugin: a test for each check, plain functions, and what the summary says of them."""

import subprocess
import sys
from pathlib import Path

import pytest

import genbench.testing.similarities_cost
import genbench.testing.similarities_devices  # noqa: F401 - once for all: pytester forgets what is imported in a run
from genbench import GenbenchError
from genbench.testing import check_similarity, parametrize_with_checks
from genbench.testing.checks import BUILDS, CHECKS
from genbench.testing.plugin import PartCheck

pytest_plugins = ["pytester"]

FILE = """
import genbench
from genbench.interfaces import Similarity


class Mine(Similarity):
    def forward(self, real, fake):
        return (real.images - fake.images).square().flatten(1).sum(1)


class Root(Mine):
    def forward(self, real, fake):
        return super().forward(real, fake).sqrt()


class Raises(Mine):
    def forward(self, real, fake):
        return super().forward(real, fake) / undefined


class Absent(Similarity):
    def __init__(self):
        super().__init__()
        raise genbench.NotApplicable("its weights are not here", "get them")

    def forward(self, real, fake): ...


@genbench.hookimpl
def genbench_similarities():
    for name in ("mine", "root", "raises", "absent"):
        yield genbench.SimilaritySpec(name, "", f"genbenchfile:{name.title()}")
"""
TEST = """
from genbench.testing import parametrize_with_checks

@parametrize_with_checks("similarity", "{name}", device="cpu")
def test_it(check):
    check()
"""
COUNT = len(CHECKS["similarity"]) + 1


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a folder with similarities in which pytest can be run."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(genbenchfile=FILE)
    return pytester


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with similarities."""
    (tmp_path / "genbenchfile.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_each_check_is_a_test_what_fails_has_a_hint_and_the_summary_counts(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_mine=TEST.format(name="mine"), test_root=TEST.format(name="root"))
    # Of its own: torch's compiler, which some checks bring in, can't be imported into one process twice.
    result = folder.runpytest_subprocess("-v", timeout=120)
    result.assert_outcomes(passed=2 * COUNT - 6, failed=2, skipped=4)
    result.stdout.fnmatch_lines(
        [
            "test_mine.py::test_it?builds? PASSED*",
            "test_mine.py::test_it?finite-differences? PASSED*",
            "test_root.py::test_it?gradient-at-itself? FAILED*",
            "similarity root: gradient at itself: its gradient is not finite where both images are equal*",
            "hint: keep roots and logarithms off 0*",
            "*= genbench checks =*",
            f"similarity mine: {COUNT - 2} ran, {COUNT - 2} passed, 2 skipped",
            "    2 skipped: there is no other device than the CPU here",
            f"similarity root: {COUNT - 2} ran, {COUNT - 4} passed, 2 skipped",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_a_part_whose_weights_are_nowhere_is_skipped_with_the_reason(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_absent=TEST.format(name="absent"))
    result = folder.runpytest_inprocess()
    result.assert_outcomes(passed=1, skipped=COUNT - 1)  # its settings can be checked all the same
    told = f"similarity absent: 1 ran, 1 passed, {COUNT - 1} skipped"
    result.stdout.fnmatch_lines([told, f"    {COUNT - 3} skipped: its weights are not here"])


def test_an_unknown_name_fails_and_says_what_is_near(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_mine=TEST.format(name="mein"))
    result = folder.runpytest_inprocess("-k", "builds")
    result.assert_outcomes(failed=1, deselected=COUNT - 1)
    result.stdout.fnmatch_lines(["*unknown similarity `mein`", "hint: did you mean `mine`?*"])


def test_where_no_check_is_used_pytest_says_nothing_of_genbench(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_other="import pytest\n@pytest.mark.parametrize('n', [1])\ndef test_other(n): pass")
    result = folder.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    assert "genbench checks" not in result.stdout.str()


def test_the_decorator_names_each_check_once() -> None:
    mark = parametrize_with_checks("similarity", "mse", settings=["similarity.reduction=mean"]).mark  # type: ignore[attr-defined]
    (argument, checks), ids = mark.args, mark.kwargs["ids"]
    assert argument == "check"
    assert [check.check for check in checks] == [BUILDS, *dict(CHECKS["similarity"])]
    assert len(set(ids)) == COUNT
    assert not any(" " in name for name in ids)
    assert {check.part for check in checks} == {"similarity mse similarity.reduction=mean"}


def test_an_unknown_kind_is_refused_at_once() -> None:
    with pytest.raises(GenbenchError, match="unknown kind `similarities`") as caught:
        parametrize_with_checks("similarities", "mse")
    assert "did you mean `similarity`?" in str(caught.value.hint)


def test_what_the_parts_own_code_raises_keeps_its_traceback(here: None) -> None:
    with pytest.raises(NameError, match="undefined"):
        PartCheck("similarity", "raises", "shape", (), "cpu")()


def test_the_plain_function_returns_what_was_found(here: None) -> None:
    findings = check_similarity("mine", device="cpu")
    assert len(findings) == COUNT
    assert {finding.state for finding in findings} == {"ok", "skipped"}


def test_the_plain_function_lists_all_that_fails(here: None) -> None:
    with pytest.raises(AssertionError) as caught:
        check_similarity("root", device="cpu")
    first, *others = str(caught.value).splitlines()
    assert first == f"similarity `root` fails 2 of {COUNT} checks:"
    assert [line.partition(":")[0] for line in others] == ["gradient at itself", "gradient anywhere"]
    with pytest.raises(GenbenchError, match="unknown similarity `mien`"):
        check_similarity("mien")


def test_the_plugin_imports_nothing_heavy() -> None:
    """Every pytest loads it, of whatever project, where genbench is installed."""
    script = (
        "import pytest, sys; before = {*sys.modules}; import genbench.testing.plugin; print(*{*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "genbench" in loaded
    assert loaded & {"torch", "torchvision", "numpy", "pydantic", "rich", "click", "matplotlib", "scipy"} == set()
