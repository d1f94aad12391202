"""Plans of public models: the commands are commands, and the tables tell the plans."""

import importlib
import math

import jax
import pytest

from experiments.benchmarks.plans import limits, run, scaling
from experiments.benchmarks.plans.models import MODELS, write_models
from jaxalign.models import param_shapes
from jaxalign.models.hf.config import read_config
from jaxalign.recipes.flags.command_line import parse_command
from jaxalign.recipes.plan import order_of

COMMANDS = [
    *run.LINES.values(),
    *(text.format(n=n[0], four=4 * n[0]) for text, n in limits.CASES.values()),
]
GIB = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_of_the_recipe(command, folder):
    words = [str(folder / x) if x in MODELS else x for x in command.split()]
    order = order_of(words)
    recipe = importlib.import_module(f"jaxalign.recipes.{order['recipe']}")
    choose = getattr(recipe, "config_class", lambda argv: recipe.Config)
    parse_command(choose(order["argv"]), order["argv"], prog="jaxalign plan")


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # As their cards say.
        ("llama3_8b", 8.03),
        ("llama3_70b", 70.55),
        ("qwen3_1.7b", 1.72),
        ("smollm2_135m", 0.1345),
    ],
)
def test_models_have_as_many_parameters_as_their_cards_say(name, billions, folder):
    shapes = param_shapes(read_config(folder / name))
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
    assert count / 1e9 == pytest.approx(billions, rel=2e-3)


def a_plan(peak, refused=False):
    small = {"name": "scorer", "fits": True, "bytes": {"peak": GIB // 2}}
    large = {"name": "step", "fits": not refused, "bytes": {"peak": int(peak * GIB)}}
    large |= {"largest_arrays": [], "compile_seconds": 7.0}
    if refused:
        large["compiler_says"] = "Ran out of memory"
    return {"command": "plan", "fits": not refused, "programs": [small, large]}


def test_the_largest_program_of_a_plan_is_named():
    last = run.table({"a": a_plan(2.5)}).splitlines()[-1]
    assert last == "| `plan` | yes | step | scorer 0.50, step 2.50 | 7 |"
    assert "| **no** | step |" in run.table({"a": a_plan(99, refused=True)})


def test_a_verdict_that_is_not_the_compilers_is_marked():
    agreed = a_plan(16.5, refused=True)
    assert limits.row("x", 3, agreed).endswith("| does not fit | out of memory | yes |")
    alone = a_plan(16.5) | {"fits": False}
    assert limits.row("x", 3, alone).endswith("| does not fit | compiled | **no** |")


def test_what_is_exchanged_is_added_up():
    mib = 1 << 20
    held = {"arguments": mib, "temporaries": 2 * mib, "peak": 3 * mib}
    sent = {"all-gather": 4, "all-reduce": 5, "reduce-scatter": 6, "all-to-all": 7}
    collectives = [{"kind": kind, "bytes": n * mib} for kind, n in sent.items()]
    collectives.append({"kind": "collective-permute", "bytes": 8 * mib})
    plan = {"devices": 4, "programs": [{"bytes": held, "collectives": collectives}]}
    row = scaling.row("data", plan)
    assert row == "| data | 4 | 1.0 | 2.0 | 3.0 | 4.0 | 18.0 | 30.0 |"
