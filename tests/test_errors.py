"""What errors say, and what of it a record may keep."""

from pathlib import Path

import pytest

from genbench.errors import GenbenchError, explained, without_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /home/jane/w/net.pth: no", "cannot read net.pth: no"),
        ("[Errno 13] Permission denied: '/srv/cache/classifiers'", "[Errno 13] Permission denied: 'classifiers'"),
        (r"no file at C:\\Users\\jane\\net.pth", "no file at net.pth"),
        ("no file at ~/w/net.pth", "no file at net.pth"),
        ("get it from https://example.org/a/net.pth", "get it from https://example.org/a/net.pth"),
        ("precision and/or recall, 3/4", "precision and/or recall, 3/4"),
        ("(1 / 2)", "(1 / 2)"),
    ],
)
def test_folders_are_cut_from_what_is_recorded_and_nothing_else(text: str, expected: str) -> None:
    assert without_folders(text) == expected


def test_a_home_with_a_space_in_its_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/Jane Doe"))
    assert without_folders("no file at /home/Jane Doe/w/net.pth") == "no file at net.pth"


def test_an_error_is_explained_in_one_line() -> None:
    assert explained(GenbenchError("wrong", "mend it")) == "wrong (mend it)"
    assert explained(GenbenchError("wrong")) == "wrong"
    assert explained(ValueError("first\nsecond")) == "ValueError: first"
