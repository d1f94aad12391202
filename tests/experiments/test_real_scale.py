"""Commands for machines that are not here: their flags are flags, with such values."""

import importlib
import pathlib

import pytest

from jaxalign.errors import UserError
from jaxalign.recipes.evaluation.config import Config as EvaluationConfig
from jaxalign.recipes.flags.command_line import parse_command
from jaxalign.recipes.plan import RECIPES, order_of
from tests.recipes.printed import commands_of

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = commands_of(ROOT / "experiments" / "real_scale" / "README.md", ROOT)


def parse(words):
    program, name, *argv = words
    assert program == "jaxalign"
    if name == "plan":
        order = order_of(argv)
        name, argv = order["recipe"], order["argv"]
    if name == "evaluate":
        return parse_command(EvaluationConfig, argv, prog="jaxalign")
    assert name in RECIPES
    recipe = importlib.import_module(f"jaxalign.recipes.{name}")
    choose = getattr(recipe, "config_class", lambda argv: recipe.Config)
    return parse_command(choose(argv), argv, prog="jaxalign")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_parses(command):
    parse(command.words)


def test_all_ten_are_there():
    folders = {x.split("/")[0] for c in COMMANDS for x in c.words if "/" in x}
    assert {f"r{i}" for i in range(1, 11)} <= folders


@pytest.mark.parametrize("wrong", ["--bta 1", "--beta nought", "--loss no_loss"])
def test_a_wrong_flag_is_found(wrong):
    words = ["jaxalign", "dpo", "--model", "M", "--data", "D", "--output-dir", "O"]
    with pytest.raises((SystemExit, UserError)):
        parse([*words, *wrong.split()])
