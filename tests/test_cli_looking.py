"""Where a picture goes is checked before anything is computed."""

from pathlib import Path

import pytest

from genbench import GenbenchError
from genbench.cli.looking import claim


def test_a_path_that_is_free_may_be_taken_in_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    claim(tmp_path / "a.png", force=False)
    claim(tmp_path / "new" / "folders" / "a.png", force=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dangling", [False, True])
def test_what_is_there_is_left_alone_unless_it_is_to_be_replaced(dangling: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.symlink_to(tmp_path / "nowhere") if dangling else path.touch()
    with pytest.raises(GenbenchError, match="is there already"):
        claim(path, force=False)
    claim(path, force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("folder.png", r"folder\.png is a folder"),
        ("file/a.png", "cannot write .*: Not a directory"),
        ("file/b/a.png", "cannot write .*: Not a directory"),
        (f"{'x' * 300}.png", "cannot write .*: File name too long"),
    ],
)
def test_a_path_that_can_not_be_written_is_refused(force: bool, name: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(GenbenchError, match=complaint):
        claim(tmp_path / name, force=force)


def test_a_folder_that_nothing_may_be_written_into_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # as root may write anywhere
    with pytest.raises(GenbenchError, match=r"cannot write .*: Permission denied"):
        claim(tmp_path / "a.png", force=True)
