"""Whether Python and the packages that genbench stands on are of versions that it was made for. Imports no torch."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from genbench.doctor.findings import Ground
from genbench.findings import Finding

SHOWN = ("torch", "torchvision", "torch-fidelity", "scikit-learn")
"""Those that can move a number get a line each."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*([^;\[]*)$")
_CONDITION = re.compile(r"(>=|<=|==|!=|<|>)\s*(\d[\w.+!]*)")


def packages(_: Ground) -> Iterator[Finding]:
    """Compare what is installed with what genbench's metadata, made from pyproject.toml, asks for."""
    hint = "reinstall genbench: `pip install --upgrade genbench`"
    python, asked = platform.python_version(), str(metadata("genbench")["Requires-Python"])
    yield Finding.of("python", satisfies(python, asked), f"{python} ({asked} is asked for)", f"install {asked}")
    wanted = _wanted(requires("genbench") or ())
    for name in SHOWN:
        found, asked = _installed(name), wanted.pop(name)
        yield Finding.of(name, satisfies(found, asked), f"{found or 'not installed'} ({asked} is asked for)", hint)
    wrong = {name: _installed(name) for name, asked in wanted.items() if not satisfies(_installed(name), asked)}
    told = ", ".join(f"{name} {found or 'missing'} ({wanted[name]})" for name, found in wrong.items())
    yield Finding.of("other packages", not wrong, told or f"{len(wanted)}, all as asked for", hint)


def satisfies(found: str | None, asked: str) -> bool:
    """Whether a version satisfies conditions such as `>=0.4,<0.5`; what is missing satisfies none.

    Raises:
        ValueError: the conditions are of another form.
    """
    if found is None:
        return False
    own = _release(found)
    for condition in filter(None, map(str.strip, asked.split(","))):
        parts = _CONDITION.fullmatch(condition)
        if parts is None:
            raise ValueError(f"can't read the condition {condition!r}")
        if not _holds(own, parts[1], _release(parts[2])):
            return False
    return True


def _holds(own: tuple[int, ...], operator: str, bound: tuple[int, ...]) -> bool:
    length = max(len(own), len(bound))
    a, b = (release + (0,) * (length - len(release)) for release in (own, bound))
    return {">=": a >= b, "<=": a <= b, "==": a == b, "!=": a != b, "<": a < b, ">": a > b}[operator]


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version's release: (2, 6, 0) of `2.6.0rc1+cu124`."""
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    if numbers is None:
        raise ValueError(f"can't read the version {text!r}")
    return tuple(map(int, numbers[0].split(".")))


def _wanted(requirements: list[str] | tuple[()]) -> dict[str, str]:
    """Return name and condition of what genbench always needs; what belongs to an extra is left out."""
    wanted = {}
    for text in requirements:
        plain, _, marker = text.partition(";")
        parts = _REQUIREMENT.fullmatch(plain.strip())
        if parts is None:
            raise ValueError(f"can't read the requirement {text!r}")
        if "extra" not in marker:
            wanted[parts[1]] = parts[2].strip()
    return wanted


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
