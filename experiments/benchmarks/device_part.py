"""The part of the tests whose numbers a device could get wrong, run on that device.

    python -m experiments.benchmarks.device_part --platform gpu

Losses, token statistics, attention, models and decoding against their oracles. One
device is enough: what needs several, what asks a compiler for TPUs and what only reads
files is not in the list. With `--platform cpu` it runs on one CPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

FILES = [
    "tests/ops/test_advantages.py",
    "tests/ops/test_chunked.py",
    "tests/ops/test_chunked_kl.py",
    "tests/ops/test_decode_matmul.py",
    "tests/ops/test_estimators.py",
    "tests/ops/test_fused.py",
    "tests/ops/test_logps.py",
    "tests/ops/test_reduce.py",
    "tests/ops/test_returns.py",
    "tests/losses/test_dpo.py",
    "tests/losses/test_kto.py",
    "tests/losses/test_limits.py",
    "tests/losses/test_policy_oracles.py",
    "tests/losses/test_preference_oracles.py",
    "tests/losses/test_sft.py",
    "tests/models/test_attention.py",
    "tests/models/test_cached_attention.py",
    "tests/models/test_cudnn.py",
    "tests/models/test_golden.py",
    "tests/models/test_rows.py",
    "tests/rollout/test_families.py",
    "tests/rollout/test_generate.py",
    "tests/rollout/test_sampling.py",
    "tests/rollout/test_shaping.py",
    "tests/objectives/test_packed.py",
]
LEFT_OUT = [
    # They read what a CPU's compiler made, and no numbers.
    "tests/models/test_attention.py::"
    "test_memory_grows_with_the_length_and_not_with_its_square",
    "tests/models/test_cached_attention.py::"
    "test_a_long_prompt_never_has_all_of_its_scores",
    "tests/ops/test_chunked_kl.py::test_no_array_of_all_logits_forward_or_backward",
    # A kernel for TPUs, interpreted: it says nothing of another device.
    "tests/models/test_attention.py::"
    "test_the_kernel_for_tpus_gives_what_all_scores_give",
]
"""Tests in those files that are not of the part."""


def run_tests(platform: str) -> dict[str, Any]:
    """Runs the part in a process of its own and counts how its tests ended.

    Args:
      platform: `gpu`, or `cpu` for the one CPU.

    Returns:
      Counts `passed`, `failed` and `skipped`, the names in `failed_tests`, and pytest's
      `exit_code`, which alone says whether all is well.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += [f"--deselect={name}" for name in LEFT_OUT]
        done = subprocess.run(
            [*command, *FILES],
            cwd=ROOT,
            env=os.environ | {"JAXALIGN_TEST_PLATFORM": platform},
            check=False,
        )
        counts = read_report(report.read_text()) if report.exists() else {}
    return {"platform": platform, "exit_code": done.returncode} | counts


def read_report(text: str) -> dict[str, Any]:
    """How the tests of a JUnit report ended.

    >>> read_report('<a><testcase name="x"/><testcase name="y"><error/></testcase></a>')
    {'passed': 1, 'failed': 1, 'skipped': 0, 'failed_tests': ['.y']}
    """
    tests = list(ET.fromstring(text).iter("testcase"))
    failed = [x for x in tests if {"failure", "error"} & {part.tag for part in x}]
    skipped = [x for x in tests if x.find("skipped") is not None]
    return {
        "passed": len(tests) - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
        "failed_tests": [f"{x.get('classname', '')}.{x.get('name')}" for x in failed],
    }


def sentence(found: dict[str, Any]) -> str:
    """What `run_tests` found, in a line."""
    if "passed" not in found:
        return (
            f"tests on {found['platform']}: no report, exit code {found['exit_code']}"
        )
    counts = ", ".join(f"{found[x]} {x}" for x in ("passed", "failed", "skipped"))
    return f"tests on {found['platform']}: {counts}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", choices=["gpu", "cpu"], default="gpu")
    found = run_tests(parser.parse_args().platform)
    print(sentence(found))
    raise SystemExit(found["exit_code"])


if __name__ == "__main__":
    main()
