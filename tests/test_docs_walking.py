"""The walk through a page notices what a page says and is not so."""

from pathlib import Path

import pytest
from markdown import Block, blocks, changed, commands, missing
from walking import Walk, as_written, tiny

from genbench import GenbenchError
from genbench.plugins import Plugins

PLUGIN = """```python
# genbenchfile.py
import genbench


@genbench.hookimpl
def genbench_similarities():
    yield genbench.SimilaritySpec("mine", "my own", "genbenchfile:Mine")
```
"""


def walked(folder: Path, text: str, **elsewhere: str) -> Walk:
    """Walk through a page of this text."""
    page = folder / "page.md"
    page.write_text(text)
    (folder / "desk").mkdir()
    walk = Walk(folder / "desk", elsewhere)
    walk.through(page)
    return walk


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_blocks_are_found_fenced_and_indented(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# Page\n\n    genbench list   # all\n\n    genbench plugins\n\ntext\n    of it\n\n"
    page.write_text(f"{text}```toml\n# a.toml\n[x]\n```\n")
    first, second = blocks(page)
    assert first == Block(3, "sh", "genbench list   # all\n\ngenbench plugins\n")
    assert [str(command) for command in commands(first)] == ["genbench list", "genbench plugins"]
    assert (second.line, second.language, second.file) == (11, "toml", "a.toml")


def test_commands_have_variables_parts_and_what_they_print() -> None:
    block = Block(1, "console", "$ cd there && A=~/x genbench list 'a b'  # now\nfirst\n…\n\n$ genbench plugins\n")
    there, listing, plugins = commands(block)
    assert there.words == ("cd", "there")
    assert (listing.words, listing.variables) == (("genbench", "list", "a b"), {"A": "~/x"})
    assert listing.expected == ("first", "…")
    assert plugins.expected == ()


def test_expected_lines_are_looked_for_in_their_order() -> None:
    printed = "one  two\nthree four\nfive"
    assert missing(printed, ("one two", "th… four five")) is None
    assert missing(printed, ("five", "one two")) == "one two"
    assert missing(printed, ("one … five",)) is None
    assert missing(printed, ("one (.*) two",)) == "one (.*) two"


def test_a_difference_is_made_where_its_lines_are() -> None:
    assert changed("a\nb\nc\n", " a\n-b\n+x\n+y\n c\n") == "a\nx\ny\nc\n"
    with pytest.raises(ValueError, match="0 times"):
        changed("a\nb\n", "-c\n")
    with pytest.raises(ValueError, match="2 times"):
        changed("a\na\n", "-a\n+b\n")


def test_files_are_written_changed_for_one_block_and_put_back(tmp_path: Path) -> None:
    line = '    yield genbench.SimilaritySpec("mine", "my own", "genbenchfile:Mine")'
    change = f"```diff\n# genbenchfile.py\n-{line}\n+{line.replace('mine', 'other', 1)}\n```\n"
    console = "```console\n$ genbench plugins\nsimilarities: other\n```\n"
    walk = walked(tmp_path, f"{PLUGIN}\n{change}\n{console}\n{console.replace('other', 'mine')}")
    assert (walk.folder / "genbenchfile.py").read_text().splitlines()[-1] == line
    assert dict(walk.counts) == {"files": 1, "changes": 1, "commands": 2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("    rm -r /\n", "nothing says what is to be done"),
        ("    genbench list modells\n", "modells"),
        ("    genbench runn\n", "no command runn"),
        ("```console\n$ genbench list models\nno such line\n```\n", "expected, and not printed: 'no such line'"),
        ("    genbench show nothing\n", "ended with 2"),
        ("```console\n$ genbench list models\nerror: vae\n```\n", "expected, and not printed"),
        ("```yaml\nx: 1\n```\n", "a block of 'yaml' that is no file"),
        (PLUGIN + "\n```diff\n# genbenchfile.py\n-nothing\n```\n", "0 times in the file"),
    ],
)
def test_what_is_not_so_is_noticed(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=told):
        walked(tmp_path, text)


def test_python_is_run_and_toml_is_read(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        walked(tmp_path, "```python\n1 / 0\n```\n")
    with pytest.raises(ValueError, match="Expected"):
        Walk(tmp_path, {}).through(write(tmp_path, "```toml\n# a.toml\nnot toml\n```\n"))


def write(folder: Path, text: str) -> Path:
    page = folder / "other.md"
    page.write_text(text)
    return page


def test_a_run_is_checked_as_it_stands_and_made_tiny() -> None:
    asked = ["run", "vaegan", "celeba", "--similarity", "perceptual", "-s", "network.latent_size=8"]
    as_written(asked)
    with pytest.raises(GenbenchError, match="unknown dataset"):
        as_written(["run", "vae", "faces"])
    with pytest.raises(GenbenchError, match="discriminator"):
        as_written(["run", "vae", "celeba", "--similarity", "dis-l"])
    made = tiny(asked)
    assert made[:3] == ["run", "vaegan", "toyfaces"]
    least = Plugins.load().similarity("perceptual").needs.min_size
    assert made[made.index("--size") + 1] == str(max(least, 16))
    assert "network.latent_size=4" not in made
    assert made[made.index("--images") + 1] == "64"
