"""Flags and YAML keys are one thing; mistakes are named with file and line."""

import dataclasses
import json
import subprocess
import sys
from typing import Any, Literal

import pytest

from jaxalign.errors import UserError
from jaxalign.recipes.flags.command_line import field_names, parse_command
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.other_names import ALIASES, REFUSED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    learning_rate: float = 1e-5
    name: Literal["a", "b"] = "a"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A test config."""

    data: str
    """Rows."""
    batch_size: int = 4
    packing: bool = True
    max_steps: int | None = None
    remat: Literal["none", "full"] = "full"
    eval_data: str | None = "x"
    keep_last: int = 2
    report_to: tuple[Literal["x", "y"], ...] = ()
    stop: tuple[str, ...] = ()
    optimizer: Inner = Inner()


def run(*argv):
    return parse_command(Config, [*map(str, argv)], prog="test")


def yaml(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return file


def test_flags_alone():
    got = run("--data", "x", "--optimizer.learning-rate", "3e-4", "--no-packing")
    expected = Config(data="x", packing=False, optimizer=Inner(learning_rate=3e-4))
    assert got == expected


@pytest.mark.parametrize(
    "argv",
    [
        ("--data", "d", "--report-to", "x", "y", "--batch-size", "8"),
        ("--report-to", "x", "--data", "d", "--report_to=y", "--batch-size", "8"),
    ],
)
def test_a_flag_of_several_values_may_be_repeated(argv):
    assert run(*argv) == Config(data="d", batch_size=8, report_to=("x", "y"))


def test_yaml_then_flags(tmp_path):
    file = yaml(
        tmp_path,
        "data: rows.jsonl\nbatch-size: 8\npacking: false\nmax_steps: null\n"
        "report_to: [x, y]\noptimizer:\n  learning_rate: 1e-3\n  name: b\n",
    )
    got = run("--config", file, "--batch-size", "2", "--optimizer.name", "a")
    assert got == Config(
        data="rows.jsonl",
        batch_size=2,
        packing=False,
        report_to=("x", "y"),
        optimizer=Inner(learning_rate=1e-3),
    )


def test_a_value_that_names_a_setting_hides_nothing_of_the_file(tmp_path):
    """As in `--allow-change optimizer.learning_rate`, after a change in the file."""
    file = yaml(tmp_path, "data: x\noptimizer:\n  learning_rate: 3e-4\n")
    got = run("--config", file, "--stop", "optimizer.learning_rate", "data")
    stop, inner = ("optimizer.learning_rate", "data"), Inner(learning_rate=3e-4)
    assert got == Config(data="x", optimizer=inner, stop=stop)


def test_json_of_the_config_gives_it_back(tmp_path):
    import json

    config = Config(data="x", packing=False, report_to=("y",), max_steps=3)
    file = yaml(tmp_path, json.dumps(dataclasses.asdict(config)))
    assert run("--config", file) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: x\nbatch_sizee: 8\n",
            "c.yaml:2: unknown key `batch_sizee`. .*`batch_s",
        ),
        (
            "data: x\noptimizer:\n  learning_rat: 1\n",
            "c.yaml:3: unknown key `learning_rat` under `optimizer`. .*`learning_rate`",
        ),
        ("data: x\ndata: y\n", "c.yaml:2: `data` stands there a second time.*line 1"),
        ("data: x\nfp16: true\n", "c.yaml:2: .*--dtype bfloat16"),
        ("data: x\npacking: flase\n", "c.yaml:2: `packing` is flase; give true or"),
        ("data: x\npacking: 1\n", "c.yaml:2: `packing` is 1; give true or false"),
        ("data: x\npacking:\n", "c.yaml:2: `packing` is None; give true or false"),
        ("- 1\n", "c.yaml:1: expected"),
        ("data: x\npacking: []\n", "c.yaml:2: `packing` is .*give true or false"),
        ("a: [\n", "not YAML"),
    ],
)
def test_mistakes_in_yaml_name_their_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        run("--config", yaml(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("remat: none\n", {"remat": "none"}),
        ("max_steps: none\neval_data: None\n", {"eval_data": None}),
        ("max_steps: null\neval_data: ~\n", {"eval_data": None}),
        ("eval_data: 'null'\n", {"eval_data": "null"}),
        ("eval_data: ''\n", {"eval_data": ""}),
        ("stop: [none, 'null', '~']\n", {"stop": ("none", "null", "~")}),
        ("stop:\nreport_to: null\n", {}),
        ("stop: ''\npacking: No\n", {"stop": ("",), "packing": False}),
    ],
)
def test_null_is_a_value_of_yaml_and_no_word(tmp_path, text, changes):
    """`remat: none` is one of its settings, and a text in quotes may be `null`."""
    got = run("--config", yaml(tmp_path, text), "--data", "x")
    assert got == dataclasses.replace(Config(data="x"), **changes)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--seed", -1, "seed must be 0 or more, and less than 2"),
        ("--seed", 2**63, "seed must be 0 or more, and less than 2"),
        ("--max-dropped", 5, "max_dropped must be in [0, 1], got 5.0"),
        ("--max-dropped", "nan", "max_dropped must be in [0, 1], got nan"),
        (
            "--num-train-epochs",
            "inf",
            "num_train_epochs must be positive, and 1e+06",
        ),
        ("--num-train-epochs", "1e300", "1e+06 at most, got 1e+300"),
        ("--num-train-epochs", "nan", "num_train_epochs must be positive"),
        ("--max-steps", "2147483648", "max_steps must be 2147483647 at most"),
        ("--samples", -1, "samples must be 0 or more, got -1"),
        ("--row-length", 0, "row_length must be 1 or more, got 0"),
        ("--max-prompt-length", 0, "max_prompt_length must be 1 or more, got 0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(flag, value, message, capsys):
    from jaxalign.recipes.sft import Config

    paths = ["--model", "m", "--data", "d", "--output-dir", "o"]
    with pytest.raises(SystemExit) as end:
        parse_command(Config, [*paths, flag, str(value)], prog="sft")
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_pmap_has_no_mesh():
    from jaxalign.recipes.flags.config import MeshConfig, TrainingConfig

    paths: Any = {"model": "m", "data": "d", "output_dir": "o", "parallel": "pmap"}
    with pytest.raises(UserError, match="^mesh.data 2, mesh.fsdp 4: parallel pmap has"):
        TrainingConfig(**paths, mesh=MeshConfig(data=2, fsdp=4))
    same = MeshConfig(data=1, fsdp=-1, sequence=1, tensor=1)
    assert TrainingConfig(**paths, mesh=same)


def test_a_home_that_nobody_has_is_a_path_that_is_not_there():
    from jaxalign.models import resolve_model
    from jaxalign.recipes.generate import Config

    argv = ["--prompt", "x", "--model", "~no-such-user/model"]
    config = parse_command(Config, argv, prog="generate")
    with pytest.raises(UserError, match="no folder ~no-such-user/model"):
        resolve_model(config.model)


def test_names_of_other_trainers(capsys):
    assert run("--data", "x", "--save-total-limit", "7").keep_last == 7
    assert run("--data", "x", "--learning-rate=1").optimizer.learning_rate == 1
    assert "`keep_last`" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"4 x 8 x 2 = 64"):
        run("--data", "x", "--per-device-train-batch-size", "4")


def test_what_other_trainers_call_it_is_a_setting_of_training_or_none():
    names = field_names(WritingConfig).keys()
    wrong = {k: v for k, v in ALIASES.items() if k in names or v not in names}
    assert not wrong
    assert not REFUSED.keys() & names


def test_names_of_losses_and_data_of_trl_are_told_what_to_write():
    with pytest.raises(UserError, match="`sigmoid` is `dpo_loss`"):
        run("--data", "x", "--loss_type", "sigmoid")
    with pytest.raises(UserError, match="hf:OWNER/NAME:SPLIT"):
        run("--dataset-name=a/b")


def test_an_unknown_flag_ends_with_code_2(capsys):
    with pytest.raises(SystemExit) as end:
        run("--data", "x", "--batch-siz", "4")
    assert end.value.code == 2
    assert "--batch-size" in capsys.readouterr().err


def test_print_config_says_where_each_value_came_from(tmp_path, capsys):
    file = yaml(tmp_path, "data: rows\n")
    with pytest.raises(SystemExit) as end:
        run("--config", file, "--batch-size", "9", "--print-config")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert f"data: 'rows'  # {file}:1" in printed
    assert "batch_size: 9  # flag" in printed
    assert "optimizer.name: 'a'  # default" in printed


@pytest.mark.parametrize("closed", [1, 2])
def test_an_output_that_is_closed_goes_nowhere(closed):
    """And no file that is opened later gets its number, and what is printed there."""
    code = (
        "import os, sys\n"
        "from jaxalign.__main__ import main\n"
        "try: main(['dpoo'])\n"
        "except SystemExit as end: code = end.code\n"
        "print(os.open(os.devnull, os.O_RDONLY) > 2, code, file=sys.__OTHER__)"
    ).replace("__OTHER__", "stderr" if closed == 1 else "stdout")
    shell = f'exec "$0" -c "$1" {closed}>&-'
    argv = ["sh", "-c", shell, sys.executable, code]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert (done.stdout + done.stderr).splitlines()[-1] == "True 2"


def test_field_names_are_dotted():
    assert field_names(Config)["optimizer.learning_rate"] is float


@pytest.mark.parametrize("command", [[], ["generate"], ["evaluate"]])
def test_help_does_not_import_jax(command):
    code = (
        f"import sys, runpy; sys.argv = {['jaxalign', *command, '--help']}\n"
        "try: runpy.run_module('jaxalign', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    ("argv", "message"), [(["dpoo"], "Did you mean `dpo`"), (["xyz"], "--help")]
)
def test_unknown_command(argv, message, capsys):
    from jaxalign.__main__ import main

    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "stop"),
    [
        (["--stop", "---"], ("---",)),
        (["--stop", "-->", "--stop=a b", "--limit", "3"], ("-->", "a b")),
        (["--stop=--x", "--limit", "3"], ("--x",)),
        (["--stop", "a", "- b"], ("a", "- b")),
    ],
)
def test_values_may_begin_with_dashes(argv, stop, tmp_path):
    from jaxalign.recipes.generate import Config

    config = parse_command(Config, ["--model", "m", "--prompt", "p", *argv], prog="x")
    assert config.stop == stop
    file = tmp_path / "x.yaml"
    file.write_text(json.dumps({"model": "m", "prompt": "p", "stop": stop}))
    assert parse_command(Config, ["--config", str(file)], prog="x").stop == stop


def test_two_values_of_which_one_looks_like_a_flag(tmp_path):
    from jaxalign.recipes.generate import Config

    argv = ["--model", "m", "--prompt", "p", "--stop=--x", "--stop", "y"]
    with pytest.raises(UserError, match="--stop: '--x' looks like a flag"):
        parse_command(Config, argv, prog="x")
