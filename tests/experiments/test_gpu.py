"""The script for one GPU: what fails is told, TRL is timed where it is, or not there.

pytest runs files of these tests; a small program stands for an interpreter with TRL.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.benchmarks import beside_trl, device_part, gpu

ROOT = pathlib.Path(gpu.__file__).parents[2]
MIXED = """
import os
import pytest

def test_right():
    assert os.environ["JAXALIGN_TEST_PLATFORM"] == "cpu"

def test_wrong():
    assert 1.0 == 1.1

def test_left_out():
    pytest.skip("why")
"""
WITH_TRL = """#!{python}
import json, sys
if sys.argv[1] == "-c":
    sys.exit(0)
if sys.argv[-1] == "{too_many}":
    sys.exit("CUDA out of memory")
print(json.dumps({{"tokens_per_s": 10.0 * int(sys.argv[-1]), "told": sys.argv[1:]}}))
"""


def run(tmp_path, *flags):
    """What the script writes for the tiny shape on a CPU."""
    out = tmp_path / "gpu.json"
    always = ["--platform", "cpu", "--shape", "tiny", "--out", str(out)]
    gpu.main([*always, *flags])
    return json.loads(out.read_text())


@pytest.fixture
def part(tmp_path, monkeypatch):
    """A device part whose tests are the given text."""

    def write(text):
        file = tmp_path / "test_part.py"
        file.write_text(text)
        monkeypatch.setattr(device_part, "FILES", [str(file)])
        monkeypatch.setattr(device_part, "LEFT_OUT", [])

    return write


def interpreter(tmp_path, text):
    file = tmp_path / "python_with_trl"
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


def test_a_failed_test_ends_the_script_with_an_exit_code(part, tmp_path, capfd):
    part(MIXED)
    with pytest.raises(SystemExit) as end:
        run(tmp_path, "--parts", "tests")
    assert "1 passed, 1 failed, 1 skipped" in str(end.value.code)
    assert "test_wrong" in str(end.value.code)
    assert "tests on cpu: 1 passed, 1 failed, 1 skipped\n" in capfd.readouterr().out
    tests = json.loads((tmp_path / "gpu.json").read_text())["tests"]
    (failed,) = tests.pop("failed_tests")
    assert failed.endswith("test_wrong")
    counts = {"passed": 1, "failed": 1, "skipped": 1}
    assert tests == {"platform": "cpu", "exit_code": 1} | counts


def test_tests_that_pass_end_it_well(part, tmp_path):
    part("def test_right():\n    pass\n")
    found = run(tmp_path, "--parts", "tests")
    assert (found["tests"]["passed"], found["tests"]["exit_code"]) == (1, 0)
    assert found["device"] == "cpu"


@pytest.mark.parametrize("text", ["", "import nothing_of_this_name\n"])
def test_a_part_without_tests_is_not_well(text, part, tmp_path):
    part(text)
    with pytest.raises(SystemExit, match="tests on cpu"):
        run(tmp_path, "--parts", "tests")


def test_the_part_is_of_tests_that_exist():
    assert len(set(device_part.FILES)) == len(device_part.FILES) > 10
    assert all((ROOT / file).is_file() for file in device_part.FILES)
    for name in device_part.LEFT_OUT:
        file, test = name.split("::")
        assert file in device_part.FILES
        assert f"def {test}(" in (ROOT / file).read_text("utf-8")


def test_a_loss_that_is_off_or_not_a_number_is_a_fault():
    loss = {"count": 1, "furthest_off": "dpo"}
    assert not gpu.faults({"losses": loss | {"difference": 1e-4}})
    for wrong in (2e-3, float("nan")):
        (said,) = gpu.faults({"losses": loss | {"difference": wrong}})
        assert said.startswith("dpo is off by")


@pytest.mark.parametrize("there", [True, False])
def test_absent_trl_is_told_in_a_line(there, tmp_path, capsys):
    """Not installed there, or no such interpreter."""
    python = str(tmp_path / "nowhere")
    if there:
        python = interpreter(tmp_path, "#!/bin/sh\nexit 1\n")
    found = run(tmp_path, "--parts", "trl", "--trl", python)
    assert found["trl"] == {"absent": f"not measured: {python} has no trl"}
    assert f"TRL not measured: {python} has no trl" in capsys.readouterr().out


@pytest.mark.parametrize(("too_many", "fastest"), [(0, 2), (2, 1)])
def test_trl_is_measured_with_the_fastest_microbatch(too_many, fastest, tmp_path):
    """Two pairs at a time, or one where two are too many."""
    text = WITH_TRL.format(python=sys.executable, too_many=too_many)
    python = interpreter(tmp_path, text)
    found = run(tmp_path, "--parts", "trl", "--trl", python)["trl"]
    assert list(found) == ["sft", "dpo_128"]
    for task, line in found.items():
        assert (line["per_device"], line["tokens_per_s"]) == (fastest, 10.0 * fastest)
        assert ["--task", task] == line["told"][2:4]


def test_trl_that_fails_is_told_and_is_no_fault_of_ours(tmp_path):
    text = WITH_TRL.format(python=sys.executable, too_many="1")
    python = interpreter(tmp_path, text.replace("10.0 *", "1 /  0 *"))
    found = run(tmp_path, "--parts", "trl", "--trl", python)["trl"]
    assert "ZeroDivisionError" in found["sft"]["error"]
    assert gpu.ratios([{"task": "sft", "tokens_per_s": 1.0}], found) == {}


@pytest.mark.parametrize(
    ("platform", "settings"),
    [("cpu", ("float32", False, True)), ("gpu", ("bfloat16", True, False))],
)
def test_trl_is_told_what_ours_is_told(platform, settings, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TQDM_DISABLE"):  # as the script sets them
        monkeypatch.setenv(name, "1")
    from experiments.benchmarks import trl_peer

    ours = gpu.parse(["--platform", platform, "--shape", "tiny"])
    _, _, script, *words = beside_trl.command_of("dpo_128", 2, ours)
    assert script == "experiments.benchmarks.trl_peer"
    args = trl_peer.parse(words)
    told = (args.task, args.shape, args.steps, args.per_device, args.checkpointing)
    assert told == ("dpo_128", "tiny", ours.steps, 2, False)
    assert (args.platform, args.dtype) == (platform, settings[0])
    options = {"checkpointing": False, "platform": args.platform, "dtype": args.dtype}
    found = trl_peer.quiet_settings("folder", **options)
    assert (found["bf16"], found["use_cpu"]) == settings[1:]


SAYS = """
import os
import tests.conftest
import jax

cpu_flags = "xla_cpu" in os.environ.get("XLA_FLAGS", "")
precision = jax.config.jax_default_matmul_precision
print(jax.config.jax_platforms, jax.config.jax_num_cpu_devices, precision, cpu_flags)
"""


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("", "cpu 8 None True"),
        ("cpu", "cpu 1 None True"),
        ("gpu", "cuda,cpu -1 highest False"),
        ("tpu", "'tpu': it is gpu or cpu"),
    ],
)
def test_the_tests_choose_their_devices_by_a_variable(platform, said):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", SAYS],
        cwd=ROOT,
        env=environment | {"JAXALIGN_TEST_PLATFORM": platform},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith(said)
