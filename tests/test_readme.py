"""The README's code runs as it stands, and its commands exist."""

import pathlib
import re

from jaxalign import errors
from jaxalign.__main__ import COMMANDS
from jaxalign.recipes.plan import FLAGS as PLAN_FLAGS

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run_one_after_the_other(capsys):
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    first, log_2, last = capsys.readouterr().out.splitlines()
    assert first.split()[1] == "0.1"  # beta * ((0.5 + 0) - (-0.5 + 0))
    assert log_2.startswith("0.693147")
    assert float(last.split()[0]) < 0.69
    assert names["metrics"]["loss/ipo"].weight == names["metrics"]["loss"].weight == 8
    assert float(names["nnx_metrics"]["loss"].value) > 0
    assert names["sharded"].step == 4


def test_errors_point_to_a_part_that_is_there():
    heading = re.search(r'README, "([^"]*)"', errors._README)
    assert heading
    assert f"**{heading[1]}.**" in README
    assert "nnx.split(" in README
    assert "auto_axes(" in README


def test_commands_exist():
    used = set(re.findall(r"^jaxalign (\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert used == set(COMMANDS)


def test_flags_exist():
    import importlib

    from jaxalign.recipes.command_line import field_names

    for line in "\n".join(blocks("sh")).splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["jaxalign"]:
            flags = {w[2:].replace("-", "_") for w in words if w.startswith("--")}
            if words[1] == "plan":  # its own flags, and those of a recipe
                words = words[1:]
                flags -= set(PLAN_FLAGS)
            recipe = importlib.import_module(f"jaxalign.recipes.{words[1]}")
            assert flags <= field_names(recipe.Config).keys()
