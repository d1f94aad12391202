"""What README.md and the pages of experiments print is what runs, word for word.

A tiny model and a few rows stand where the names say. Lines of README.md run in its
order, in one folder, because later ones use what earlier ones wrote.
"""

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest

from jaxalign.__main__ import main
from tests.recipes.printed import Printed, commands_of

ROOT = pathlib.Path(__file__).parents[2]
# Commands for machines that are not here: tests/experiments/test_real_scale.py.
FAR = ROOT / "experiments" / "real_scale" / "README.md"
FOUND = sorted((ROOT / "experiments").rglob("README.md"))
PAGES = [ROOT / "README.md", *(page for page in FOUND if page != FAR)]
COMMANDS = [x for page in PAGES for x in commands_of(page, ROOT)]
CHAIN = [x for x in COMMANDS if x.page == "README.md" and x.words[0] == "jaxalign"]

# Methods whose road is that of the others; the whole chain of README.md is slow.
LONGER = (
    *("runs/simpo", "runs/pl", "runs/student", "runs/kto", "runs/ppo", "runs/xpo"),
    *("runs/sft", "runs/reward_eval", "runs/eval"),
)

# A process of its own for every command: the slow test of the whole chain.
IN_A_SHELL = ("plan", "env")

SLOW = (
    "make quickstart",
    "make lint",
    "python -m experiments.quickstart.run --out quickstart_out",
    "python -m experiments.quickstart.run --check",
    "python -m experiments.e03_estimators.run --out runs/e03 --check",
    "python -m experiments.e12_threshold.run --out runs/e12 --check",
    "python -m experiments.benchmarks.gpu --platform cpu --shape tiny --out gpu.json",
    "python -m experiments.run e11 --check",
    "python -m tests.parallel.differences",
)

_GRIDS = "minutes; tests run its quick grid twice, and check its committed rows"
_ITSELF = "it is what runs this test"
_SERVER = "it asks a server for packages"
_PEERS = "two other libraries, each in an environment of its own"
_HOURS = "hours with a real checkpoint"
_SMALL = "half an hour; tests of interrupted runs make its small forms"
_GPU = "it measures a GPU"
_TWICE = "tests/experiments/test_run.py runs it twice"
_QUICKLY = "minutes; its smaller grid is run with those of all experiments"
_COMPILER = "an hour of compiling for TPUs, with libtpu"
_TRL, _TUNIX = "--trl TRL_PYTHON", "--tunix TUNIX_PYTHON"
_REAL = "--model SMOLLM2 --data DATA --out DIR"

NOT_RUN = {
    "make test": _ITSELF,
    "make test-fast": _ITSELF,
    "make test-slow": _ITSELF,
    "pip install -e .": _SERVER,
    "pip install --no-deps --target DIR trl==1.12.0": _SERVER,
    "python -m experiments.run all --quick --check --out runs/quick": _TWICE,
    "python -m experiments.run e01 --check": _QUICKLY,
    "python -m experiments.run e02 --check": _QUICKLY,
    "python -m experiments.run e04 --check": _QUICKLY,
    "python -m experiments.loss_table": "it writes the page that a test compares",
    f"python experiments/benchmarks/step_throughput.py {_TRL} {_TUNIX} --data DIR "
    "--model DIR --out results.json": _PEERS,
    f"python experiments/benchmarks/generation_throughput.py {_TRL} {_TUNIX} "
    "--out generation.json": _PEERS,
    f"python experiments/benchmarks/rl_throughput.py {_TRL} --old-trl DIR {_TUNIX} "
    "--out rl.json": _PEERS,
    "python -m experiments.benchmarks.gpu --out gpu.json": _GPU,
    **{
        f"python -m experiments.benchmarks.plans.{name}": _COMPILER
        for name in (
            "run --out plans/results.json",
            "scaling --out plans/scaling.json",
            "limits --out plans/limits.json",
        )
    },
    **{
        f"python -m experiments.{name}.run --out runs/{name[:3]} --check": _GRIDS
        for name in (
            "e05_abstention",
            "e06_overoptimisation",
            "e07_forgetting",
            "e08_judge",
            "e09_hybrid",
            "e10_reward_models",
            "e13_off_policy",
        )
    },
    "python -m experiments.reliability.moments --model DIR --out DIR": _SMALL,
    "python -m experiments.reliability.killed --model DIR --out DIR": _SMALL,
    f"python -m experiments.real_model.abstention {_REAL} --iterations 120": _HOURS,
    f"python -m experiments.real_model.preference {_REAL}": _HOURS,
    f"python -m experiments.real_model.sentiment {_REAL} --iterations 50": _HOURS,
    f"python -m experiments.real_model.format_only {_REAL} --iterations 40": _HOURS,
    **{
        f"python -m experiments.real_model.{name} {_REAL} --iterations 80": _HOURS
        for name in ("frontier", "threshold", "confidence")
    },
    "python -m experiments.benchmarks.ours --task dpo_64 --shape B --steps 4": "memory "
    "of a model of 135 M parameters",
    f"python -m experiments.real_model.dpo_frontier {_REAL} --iterations 50": _HOURS,
    f"python -m experiments.real_model.dpo_frontier {_REAL} --scale gpu": _HOURS,
    f"python -m experiments.real_model.dpo_hh {_REAL}": _HOURS,
    f"python -m experiments.real_model.dpo_hh {_REAL} --scale gpu": _HOURS,
}

QUICK = ("python -m experiments.benchmarks.table results.json",)

ROWS = {
    "rows.jsonl": {"completion": "It is {}."},
    "pairs.jsonl": {"chosen": "It is {}.", "rejected": "No."},
    "ranked.jsonl": {"completions": ["It is {}.", "Is it?", "No."], "ranks": [1, 2, 3]},
    "answers.jsonl": {"completion": "It is {}.", "label": True},
    "prompts.jsonl": {"answer": "{}"},
}
SCORE = "def score(completions):\n    return [len(x.completion) for x in completions]\n"
MEASURED = {"task": "sft", "shape": "A", "lib": "trl", "peak_rss_mb": 90.0}


@pytest.fixture(scope="module")
def desk(tiny_model, tmp_path_factory):
    """A checkout in which the names that are printed stand for small things."""
    folder = tmp_path_factory.mktemp("desk")
    for entry in ("README.md", "Makefile", "jaxalign", "tests", "experiments"):
        (folder / entry).symlink_to(ROOT / entry)
    for entry in ("pyproject.toml", "constraints.txt"):  # older than `.installed`
        shutil.copy2(ROOT / entry, folder)
    for name in ("DIR", "BIG"):
        (folder / name).symlink_to(tiny_model)
    for name, columns in ROWS.items():
        text = json.dumps({"prompt": "Say {}.", **columns})
        rows = [text.replace("{}", str(i)) + "\n" for i in range(4)]
        (folder / name).write_text("".join(rows))
    (folder / "score.py").write_text(SCORE)
    (folder / "results.json").write_text(json.dumps([MEASURED | {"tokens_per_s": 2}]))
    return folder


def in_a_shell(command: Printed, folder: pathlib.Path):
    """Runs the text as it is printed; `make` finds its environment ready."""
    bin = pathlib.Path(sys.executable).parent
    ready = folder / "ready"
    if not ready.exists():
        (ready / "bin").mkdir(parents=True)
        python = ready / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (ready / ".installed").touch()
    changed = {
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "VENV": str(ready),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return subprocess.run(
        ["sh", "-c", command.text],
        cwd=folder,
        env=os.environ | changed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def must_run(command: Printed, folder: pathlib.Path) -> None:
    ended = in_a_shell(command, folder)
    if command.program[1] == "plan" and "pip install libtpu" in ended.stdout:
        assert ended.returncode == 2, ended.stdout
        return  # without the compiler for TPUs it says what is missing
    assert ended.returncode == 0, f"{command.text}\n{ended.stdout}"
    must_have_written(command, folder)


def must_run_here(command: Printed, folder: pathlib.Path, monkeypatch) -> None:
    """In this process, which has imported everything."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        main([*command.words[1:]])
    assert end.value.code == 0, command.text
    must_have_written(command, folder)


def must_have_written(command: Printed, folder: pathlib.Path) -> None:
    for flag in ("--output-dir", "--output", "--out"):
        if flag in command.words:
            written = folder / command.words[command.words.index(flag) + 1]
            some = written.is_file() or any(written.iterdir())
            assert some, f"{command.text}\nwrote nothing"


def is_longer(command: Printed) -> bool:
    return any(x in LONGER for x in command.words)


def test_every_command_is_run_or_said_not_to_be():
    found = {str(x) for x in COMMANDS}
    assert len(CHAIN) > 15
    listed = {*SLOW, *NOT_RUN, *QUICK}
    assert found == {str(x) for x in CHAIN} | listed
    assert all(sum(x in command.words for command in CHAIN) == 1 for x in LONGER)


def test_lines_of_the_readme_run_one_after_the_other(desk, monkeypatch):
    for command in CHAIN:
        if command.words[1] in IN_A_SHELL:
            must_run(command, desk)
        elif not is_longer(command):
            must_run_here(command, desk, monkeypatch)


@pytest.mark.slow
def test_all_lines_of_the_readme_run_in_a_shell(desk):
    shutil.rmtree(desk / "runs", ignore_errors=True)
    shutil.rmtree(desk / "models", ignore_errors=True)
    for command in CHAIN:
        must_run(command, desk)


def chosen(names):
    found = {str(x): x for x in COMMANDS}
    return [pytest.param(found.get(x), id=x) for x in names]


@pytest.mark.parametrize("command", chosen(QUICK))
def test_a_quick_command_runs(desk, command):
    must_run(command, desk)


@pytest.mark.slow
@pytest.mark.parametrize("command", chosen(SLOW))
def test_a_slow_command_runs(desk, command):
    must_run(command, desk)


@pytest.mark.parametrize("command", chosen([*SLOW, *NOT_RUN]))
def test_what_is_not_run_by_default_exists_with_its_flags(command, monkeypatch, capsys):
    """`make` has the target; the help of the others has every flag."""
    first, second, *_ = command.program
    monkeypatch.chdir(ROOT)
    if first in ("make", "pip"):
        asked = [*command.program, "-n" if first == "make" else "--help"]
        if first == "pip":
            asked = [sys.executable, "-m", *asked]
        run = subprocess.run(asked, capture_output=True, text=True, check=True)
        help = run.stdout
    else:
        monkeypatch.setattr(sys, "argv", [second, "--help"])
        place = command.program[2] if second == "-m" else second
        run = runpy.run_module if second == "-m" else runpy.run_path
        monkeypatch.syspath_prepend(str((ROOT / place).parent))  # as for a file
        monkeypatch.delitem(sys.modules, place, raising=False)  # as in a new process
        with pytest.raises(SystemExit) as end:
            run(place, run_name="__main__")
        assert end.value.code == 0
        help = capsys.readouterr().out
    assert all(flag in help for flag in command.flags), help


PAGE = """Text with `make all` and `plain words`.

```sh
HERE=1 tool run --flag "two words" \\
  --more  # why
# nothing
```

    indented --flag

```python
not = "a command"
```

```console
$ asked
told
```
"""


def test_commands_are_found_wherever_they_are_printed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = commands_of(page, tmp_path)
    assert [x.words for x in found] == [
        ("make", "all"),
        ("tool", "run", "--flag", "two words", "--more"),
        ("indented", "--flag"),
        ("asked",),
    ]
    assert found[1].flags == ("--flag", "--more")
    assert found[1].program == ("tool", "run")
