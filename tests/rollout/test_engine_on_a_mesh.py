"""Sampling with parameters spread over eight devices, and as one device does it."""

import jax
import numpy as np
import pytest

from jaxalign.models import PARTITION_RULES
from jaxalign.parallel import make_mesh, shardings
from jaxalign.rollout import generate
from tests.rollout.models_under_test import DECODER, params
from tests.rollout.test_generate import KEY, PROMPTS

OPTIONS = {"max_new_tokens": 9, "stop_ids": [3, 8], "num_samples": 3, "batch_size": 4}


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [{"fsdp": 4, "tensor": 2}, {"data": 8}, {"fsdp": 8}, {"data": 2, "fsdp": 4}],
    ids=str,
)
def test_answers_do_not_depend_on_where_parameters_lie(sizes):
    places = shardings(PARTITION_RULES, make_mesh(sizes), params())
    spread = jax.device_put(params(), places)
    if sizes != {"data": 8}:
        leaves = jax.tree.leaves(spread)
        assert not all(x.sharding.is_fully_replicated for x in leaves)
    got = generate(DECODER, spread, PROMPTS, KEY, **OPTIONS)
    expected = generate(DECODER, params(), PROMPTS, KEY, **OPTIONS)
    assert got.ids() == expected.ids()
    np.testing.assert_array_equal(got.stopped, expected.stopped)
    np.testing.assert_allclose(got.logps, expected.logps, atol=1e-4)
