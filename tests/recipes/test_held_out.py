"""Held-out rows are computed a few at a time, and their means stay what they are."""

import types
from typing import Any

import jax
import numpy as np
import pytest

from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.recipes import sft
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import Rows
from jaxalign.recipes.runs.fit import held_out_means
from jaxalign.recipes.runs.policy import open_policy
from jaxalign.training import StopRequest, make_eval_step


def random_rows(count):
    """Of unequal length, in a batch and a half."""
    rng = np.random.default_rng(0)
    examples = []
    for i, length in enumerate(rng.integers(4, 60, size=count)):
        trained = np.arange(length) >= rng.integers(1, length)
        ids = rng.integers(0, 256, size=length).astype(np.int32)
        examples.append(Example(i, (TokenSequence(ids, trained),)))
    return examples


@pytest.mark.parametrize("settings", [{}, {"parallel": "pmap"}], ids=["mesh", "pmap"])
def test_the_means_do_not_depend_on_the_microbatches(tiny_model, settings, monkeypatch):
    rows, found, told = random_rows(90), [], set()

    def noted(objective, *, microbatch_size, **options):
        told.add(microbatch_size)
        return make_eval_step(objective, microbatch_size=microbatch_size, **options)

    monkeypatch.setattr("jaxalign.parallel.program.make_eval_step", noted)
    for size in (1, 2, 99):
        config = sft.Config(
            model=str(tiny_model),
            data="",
            output_dir="",
            batch_size=60,
            microbatch_size=size,
            packing=False,
            **settings,
        )
        policy = open_policy(config.model, **config.layout)
        packed = pack_rows(config, Rows(rows, rows, {}), devices=policy.row_devices)
        run: Any = types.SimpleNamespace(
            config=config, key=jax.random.key(0), stop=StopRequest()
        )
        evaluate = held_out_means(
            run, policy, sft.make_sft_objective(config, policy), packed
        )
        assert evaluate is not None
        params = policy.program.replicate(policy.load())
        found.append(evaluate(types.SimpleNamespace(params=params, carry=())))
    # As the step sees them: of all devices, or of one.
    each = 1 if settings else policy.row_devices
    assert told == {each, 2 * each, 99 * each}
    for means in found[1:]:
        assert means.keys() == found[0].keys()
        for name in means:
            np.testing.assert_allclose(means[name], found[0][name], rtol=1e-5)
