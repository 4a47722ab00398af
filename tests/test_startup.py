"""Commands that only list must start without what is slow to import."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"torch", "torchvision", "torch_fidelity", "numpy", "scipy", "sklearn", "PIL", "pydantic"}

SCRIPT = """
import sys
from genbench.cli import main
status = main(sys.argv[1:])
print("LOADED", *{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (["--help"], SLOW | {"rich"}),
        (["--version"], SLOW | {"rich"}),
        (["list"], SLOW),
        (["list", "--json"], SLOW | {"rich"}),
        (["plugins"], SLOW),
        (["no-such-command"], SLOW | {"rich"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_slow_import(tmp_path: Path, arguments: list[str], slow: set[str]) -> None:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "LOADED" in loaded
    assert "genbench" in loaded
    assert loaded & slow == set()
