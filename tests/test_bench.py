"""tests/bench.py runs, and finds no wrong answer. How fast things were is not looked at: that takes a quiet machine."""

import json
import subprocess
import sys
from pathlib import Path

import bench
import pytest

MODES = ["session", "stateless", "typed", "typed-stateless", "handshake", "progress", "start"]


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_measures_this_server_beside_the_floor(mode, tmp_path):
    script, found = Path(bench.__file__), tmp_path / "found.json"
    command = [sys.executable, script, "--quick", "--modes", mode, "--servers", "floor,this", "--json", found]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    report = json.loads(found.read_text())
    assert report["errors"] == 0
    for figure in report["figures"]:
        assert figure["what"] in done.stdout
        assert figure["medians"].keys() == {"floor", "this"} and min(figure["medians"].values()) > 0
    assert [target["than"] for figure in report["figures"] for target in figure["targets"]].count("floor") >= 1


def test_a_server_that_is_not_installed_is_skipped_with_the_reason():
    options = bench.parse_arguments(["--servers", "this,mcp", "--peer", f"mcp={sys.executable}", "--quick"])
    wanted = bench.PROGRAMS["mcp"]._replace(distribution="no-such-distribution")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.PROGRAMS, "mcp", wanted)
        kinds, skipped = bench.find_kinds(options)
    assert list(kinds) == ["this"]
    assert skipped == {"mcp": f"not installed: {sys.executable}"}
