"""The programs that TPUs would run: layout and exchanges, without a TPU.

`pytest -m aot` runs this where libtpu is installed. Each machine is compiled for in a
process of its own, because the compiler takes its settings when it is loaded.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from jaxalign.recipes.planning.topology import devices_of, environment

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu, the compiler for TPUs, is not installed",
    ),
]
TOPOLOGIES = ("v5e:2x2", "v5e:4x4")
ROOT = str(pathlib.Path(__file__).parents[2])
CHILD = "tests.parallel.aot_child"


@pytest.mark.parametrize(
    ("name", "count"),
    [("v5e:1x1", 1), ("v6e:1x1", 1), ("v5e:2x4", 8), ("v5p:2x2x1", 4)],
)
def test_a_machine_may_be_smaller_than_a_host(name, count, monkeypatch):
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value)
    assert len(devices_of(name)) == count


@pytest.fixture(scope="module")
def found():
    """What each machine's program holds and sends, at one row a device."""
    children = {
        name: subprocess.Popen(
            [sys.executable, "-m", CHILD, name],
            env=environment(name) | {"PYTHONPATH": os.pathsep.join([ROOT, *sys.path])},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in TOPOLOGIES
    }
    try:
        said = {
            name: child.communicate(timeout=900) for name, child in children.items()
        }
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    for name, child in children.items():
        assert child.returncode == 0, said[name][1][-2000:]
    return {name: json.loads(out.splitlines()[-1]) for name, (out, _) in said.items()}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_rows_are_split_and_weights_travel_a_layer_at_a_time(found, name):
    program = found[name]
    assert program["own_row"], "the residual stream of a device's own row"
    assert not program["all_rows"], "nor of any other's"
    assert not program["all_layers"], "no array holds a whole matrix of all layers"
    assert program["in_chunks"] == 0
    if name == "v5e:2x2":
        # On sixteen devices a part of this width is less than TPUs scatter.
        assert program["scattered_in_layers"], "gradients are not summed whole"


def test_what_is_held_and_sent_stays_as_the_machine_grows(found):
    small, large = (found[name] for name in TOPOLOGIES)
    assert 0 < large["held"] < 1.1 * small["held"]
    assert large["sent"] < 1.1 * small["sent"]
