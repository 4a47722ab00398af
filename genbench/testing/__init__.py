"""The conformance kit: what a plugin promises, checked. Imports no torch.

In the tests of a plugin, each check a test of its own::

    from genbench.testing import parametrize_with_checks

    @parametrize_with_checks("similarity", "mine")
    def test_it_is_a_similarity(check):
        check()

or all of them in one call, `check_similarity("mine")`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genbench.findings import Finding

__all__ = [
    "check_dataset",
    "check_evaluator",
    "check_extractor",
    "check_model",
    "check_similarity",
    "parametrize_with_checks",
]


def parametrize_with_checks(
    kind: str, name: str, settings: Sequence[str] = (), device: str = "auto"
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that makes a test of each check of a part; the test is given `check`, and should call it.

    Args:
        kind: `similarity`, `model`, `evaluator`, `dataset` or `extractor`.
        name: as the part's plugin declares it, or `genbenchfile.py` in the folder where pytest is called.
        settings: such as `["similarity.reduction=mean"]`; without any, the defaults hold.
        device: on which it is tried beside the CPU; `auto` takes cuda, then mps, then none.

    Raises:
        GenbenchError: there is no such kind.
    """
    import pytest

    from genbench.errors import unknown_name
    from genbench.testing.checks import BUILDS, CHECKS
    from genbench.testing.plugin import PartCheck

    if kind not in CHECKS:
        raise unknown_name("kind", kind, CHECKS)
    checks = [PartCheck(kind, name, check, tuple(settings), device) for check in (BUILDS, *dict(CHECKS[kind]))]
    return pytest.mark.parametrize("check", checks, ids=[check.id for check in checks])


def check_similarity(name: str, settings: Sequence[str] = (), device: str = "auto") -> "list[Finding]":
    """Carry out all checks of a similarity, and return what they found; arguments as in `parametrize_with_checks`.

    Raises:
        AssertionError: some fail; it lists them.
        GenbenchError: there is no such name, setting or device.
    """
    return _check("similarity", name, settings, device)


def check_model(name: str, settings: Sequence[str] = (), device: str = "auto") -> "list[Finding]":
    """Carry out all checks of a model, as `check_similarity` does."""
    return _check("model", name, settings, device)


def check_evaluator(name: str, settings: Sequence[str] = (), device: str = "auto") -> "list[Finding]":
    """Carry out all checks of an evaluator, as `check_similarity` does."""
    return _check("evaluator", name, settings, device)


def check_dataset(name: str, settings: Sequence[str] = (), device: str = "auto") -> "list[Finding]":
    """Carry out all checks of a data set, as `check_similarity` does."""
    return _check("dataset", name, settings, device)


def check_extractor(name: str, settings: Sequence[str] = (), device: str = "auto") -> "list[Finding]":
    """Carry out all checks of a feature extractor, as `check_similarity` does."""
    return _check("extractor", name, settings, device)


def _check(kind: str, name: str, settings: Sequence[str], device: str) -> "list[Finding]":
    from genbench.plugins import Plugins
    from genbench.testing.interface import carry_out

    findings = list(carry_out(Plugins.load(), kind, name, settings, device))
    failed = [finding for finding in findings if finding.state == "failed"]
    if failed:
        told = [
            f"{finding.name}: {finding.found}" + (f" ({finding.hint})" if finding.hint else "") for finding in failed
        ]
        raise AssertionError("\n".join([f"{kind} `{name}` fails {len(failed)} of {len(findings)} checks:", *told]))
    return findings
