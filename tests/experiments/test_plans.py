"""Plans of public models: the commands are commands, and the tables tell the plans.

The tables of the page are read cell by cell and compared with the committed JSON files,
not with the functions that print tables: neither may go stale.
"""

import importlib
import json
import math
import pathlib

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
GIB, MIB = 1 << 30, 1 << 20
BENCHMARKS = pathlib.Path(run.__file__).parents[1]
PAGE = (BENCHMARKS / "README.md").read_text("utf-8")


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


def rows_below(header, page=PAGE):
    """Cells of the rows of the one table of a page that begins with this header."""
    lines = page.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.startswith(header))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def kept(name):
    return json.loads((BENCHMARKS / "plans" / f"{name}.json").read_text("utf-8"))


def peaks(plan):
    """GiB of a device, by program."""
    return {x["name"]: x["bytes"]["peak"] / GIB for x in plan["programs"]}


def yes(is_so):
    return "yes" if is_so else "**no**"


def of_results(_, plan):
    """What the page says of a plan of a public model."""
    by_name = peaks(plan)
    largest = max(by_name, key=by_name.__getitem__)
    each = ", ".join(f"{name} {gib:.2f}" for name, gib in by_name.items())
    seconds = sum(x["compile_seconds"] for x in plan["programs"])
    return [f"`{plan['command']}`", yes(plan["fits"]), largest, each, f"{seconds:.0f}"]


def of_scaling(name, plan):
    """What the page says of a machine that grows."""
    axis, devices = name.split()
    assert plan["devices"] == int(devices)
    (step,) = plan["programs"]
    sent = {x["kind"]: x["bytes"] for x in step["collectives"]}
    gathered = sent.pop("all-gather")
    moved = sent.pop("collective-permute", 0)
    held = [step["bytes"][x] for x in ("arguments", "temporaries", "peak")]
    summed = sum(sent.values())
    amounts = [*held, gathered, summed, gathered + summed + moved]
    return [axis, devices, *(f"{x / MIB:.1f}" for x in amounts)]


def of_limits(name, plan):
    """What the page says of a size near the memory of a device."""
    what, size = name.rsplit(": ", 1)
    compiled = all("compiler_says" not in x for x in plan["programs"])
    verdict = "fits" if plan["fits"] else "does not fit"
    compiler = "compiled" if compiled else "out of memory"
    largest = f"{max(peaks(plan).values()):.2f}"
    return [what, size, largest, verdict, compiler, yes(plan["fits"] == compiled)]


TABLES = {
    "results": ("| command | fits |", of_results),
    "scaling": ("| what grows | devices |", of_scaling),
    "limits": ("| what grows | size |", of_limits),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_says_what_the_committed_plans_say(name):
    header, row_of = TABLES[name]
    expected = [row_of(*item) for item in kept(name).items()]
    assert sorted(rows_below(header)) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("results", "reference scorer 3.11", "reference scorer 3.12"),
        ("results", "--batch-size 64` | yes |", "--batch-size 64` | **no** |"),
        ("scaling", "| 264.0 |", "| 264.1 |"),
        ("limits", "| 16.02 | does not fit |", "| 16.02 | fits |"),
    ],
)
def test_a_wrong_cell_is_seen(name, right, wrong):
    header, row_of = TABLES[name]
    assert right in PAGE
    rows = rows_below(header, PAGE.replace(right, wrong, 1))
    assert sorted(rows) != sorted(row_of(*item) for item in kept(name).items())


def test_only_that_page_has_tables_of_plans():
    """A second one would need a test of its own."""
    root = BENCHMARKS.parents[1]
    pages = [*(root / "tpu_setup").rglob("*.md"), *(root / "experiments").rglob("*.md")]
    headers = [header for header, _ in TABLES.values()]
    found = {
        page for page in pages if any(x in page.read_text("utf-8") for x in headers)
    }
    assert found == {BENCHMARKS / "README.md"}
