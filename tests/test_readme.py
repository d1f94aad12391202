"""The README's code runs as it stands, and its commands exist."""

import math
import pathlib
import re

import pytest

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
    first, log_2, trained, rewarded, simpo, gspo = capsys.readouterr().out.splitlines()
    assert first.split()[1] == "0.1"  # beta * ((0.5 + 0) - (-0.5 + 0))
    assert log_2.startswith("0.693147")
    assert float(trained.split()[0]) < 0.69
    assert float(rewarded) > 0.75  # of tokens that are even; at first about 0.55
    assert names["rl_state"].step == 10
    # a(y_w) = −1.5, a(y_l) = −2: −log σ(2 · 0.5 − 1), and each pair weighs 1.
    assert simpo.startswith("0.693147")
    # One response, ρ = e^¼: clipped at 1.2 with A = 1; lr of ½ and 0, k3 of ½ and 0.
    ratio, k3 = math.exp(0.25), (math.exp(-0.5) - 1 + 0.5) / 2
    assert float(gspo) == pytest.approx(-1.2 + 0.04 * ratio * k3, rel=1e-5)
    assert names["metrics"]["loss/dpo"].weight == 8
    assert names["metrics"]["loss/sft"].weight == 48
    parts = [float(names["metrics"][x].value) for x in ("loss/dpo", "loss/sft", "loss")]
    assert parts[2] == pytest.approx(parts[0] + 0.05 * parts[1], rel=1e-5)
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

    from jaxalign.recipes.flags.command_line import field_names

    for line in "\n".join(blocks("sh")).splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["jaxalign"]:
            flags = {w[2:].replace("-", "_") for w in words if w.startswith("--")}
            if words[1] == "plan":  # its own flags, and those of a recipe
                words = words[1:]
                flags -= set(PLAN_FLAGS)
            recipe = importlib.import_module(f"jaxalign.recipes.{words[1]}")
            assert flags <= field_names(recipe.Config).keys()


def test_paths_exist():
    """The text names files and folders as they are called."""
    root = pathlib.Path(__file__).parents[1]
    named = set(re.findall(r"`((?:jaxalign|tests|experiments)/[\w./]*)`", README))
    assert len(named) > 10
    assert [x for x in sorted(named) if not (root / x).exists()] == []
