"""E3: what is committed holds what it claims; a short run of it, slowly."""

import csv

import jax
import pytest

from experiments.e03_estimators.arms import ARMS
from experiments.e03_estimators.run import EXPERIMENT, OF_TRANSFORMER
from experiments.runner import main

RESULTS = EXPERIMENT.folder / "results.csv"


def test_every_arm_is_in_the_committed_results():
    with RESULTS.open() as f:
        runs = [(row["arm"], row["beta"], row["key"]) for row in csv.DictReader(f)]
    for arm in (*ARMS, *(f"transformer_{x}" for x in OF_TRANSFORMER)):
        for beta in ("0.5", "1"):
            for key in ("0", "1", "2"):
                assert (arm, beta, key) in runs
    assert ("transformer_exact_gradient", "0.5", "0") in runs


@pytest.mark.slow
def test_quick_run(tmp_path):
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        assert main(EXPERIMENT, ["--out", str(tmp_path), "--quick"]) == 0
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 90
