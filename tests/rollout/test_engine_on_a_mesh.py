"""Sampling spread over eight devices, and as one device does it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jaxalign.models import (
    PARTITION_RULES,
    apply_cached,
    cast_params,
    decoding_params,
    init_cache,
    unembedding,
)
from jaxalign.ops import Layout
from jaxalign.parallel import ACTIVATIONS, make_mesh, shardings
from jaxalign.parallel.hlo import HloProgram
from jaxalign.rollout import Decoder, generate, steps
from tests.tiny import make_model, make_params

KEY = jax.random.key(3)
PROMPTS = [[5, 3, 1], [7], [2, 2, 9, 4, 6], [11, 1], [1, 2, 3, 4, 5, 6, 7]]
OPTIONS = {"max_new_tokens": 9, "stop_ids": [3, 8], "num_samples": 3, "batch_size": 8}
ALL = {"data": 2, "fsdp": 2, "tensor": 2}


def decoder_on(model, sizes=None, *, stacked=False) -> Decoder:
    layout = None if sizes is None else Layout.of(make_mesh(sizes), ACTIVATIONS)
    prepare = cast_params if stacked else decoding_params
    return Decoder(
        init_cache=functools.partial(init_cache, model.config, stacked=stacked),
        apply=functools.partial(apply_cached, model),
        head=functools.partial(unembedding, model),
        max_length=model.config.max_positions,
        prepare=functools.partial(prepare, model),
        layout=layout,
    )


def spread(params, sizes):
    return jax.device_put(params, shardings(PARTITION_RULES, make_mesh(sizes), params))


@functools.cache
def on_one_device():
    model = make_model()
    return generate(decoder_on(model), make_params(model), PROMPTS, KEY, **OPTIONS)


@pytest.mark.parametrize(
    ("sizes", "stacked"),
    [
        (ALL, False),
        (ALL, True),
        pytest.param({"fsdp": 4, "tensor": 2}, False, marks=pytest.mark.slow),
        pytest.param({"data": 8}, True, marks=pytest.mark.slow),
        pytest.param({"fsdp": 8}, False, marks=pytest.mark.slow),
        pytest.param({"data": 2, "fsdp": 4}, True, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_is_sampled_does_not_depend_on_the_mesh(sizes, stacked, monkeypatch):
    """And each device holds the keys and values of its own rows and heads."""
    model, shares, expected = make_model(), [], on_one_device()
    decode = steps.decode

    def watched(*arguments):
        out = decode(*arguments)
        leaves = jax.tree.leaves(out[0])
        here = sum(x.addressable_shards[0].data.size for x in leaves)
        shares.append(here / sum(x.size for x in leaves))
        return out

    monkeypatch.setattr(steps, "decode", watched)
    decoder = decoder_on(model, sizes, stacked=stacked)
    got = generate(decoder, spread(make_params(model), sizes), PROMPTS, KEY, **OPTIONS)
    assert got.ids() == expected.ids()
    np.testing.assert_array_equal(got.stopped, expected.stopped)
    np.testing.assert_allclose(got.logps, expected.logps, atol=1e-4)
    assert set(shares) == {1 / 8}


def lowered_decode(model, decoder, params, rows=8, slots=16):
    prepared = steps.prepare(decoder, params)
    cache = steps.empty(decoder, rows, slots)
    numbers = np.zeros(rows, np.int32)
    state = steps.SlotRows._make([*[numbers] * 5, np.ones(rows, bool)])
    one = np.float32(1)
    limits = steps.Limits(one, one, np.int32(0), np.int32(9), np.full(8, 32, np.int32))
    settings = steps.Settings(4, False, None, False)
    return steps.decode.lower(
        decoder, settings, prepared, cache, state, limits, KEY, np.int32(0)
    )


def test_a_step_moves_a_few_rows_and_neither_weights_nor_logits():
    model = make_model(2048, 32, tie_embeddings=False)
    decoder = decoder_on(model, ALL)
    params = spread(make_params(model), ALL)
    text = lowered_decode(model, decoder, params).compile().as_text()
    program = HloProgram(text or "")
    # Of eight rows those of one copy of the parameters, as wide as their logits.
    widest = 4 * 4 * 1024
    assert program.collectives
    assert max(c.nbytes for c in program.collectives) <= widest
    assert not {(8, 2048), (4, 2048), (2, 2048)} & {x.shape for x in program.arrays}
    assert (2, 1024) in {x.shape for x in program.arrays}, "the logits of a device"


def test_a_loop_over_the_layers_is_as_long_for_many_as_for_few():
    def instructions(layers, *, stacked):
        model = deeper(layers)
        decoder = decoder_on(model, stacked=stacked)
        text = lowered_decode(model, decoder, make_params(model)).as_text()
        return len(text.splitlines())

    few, many = (instructions(n, stacked=True) for n in (2, 8))
    assert many < 1.05 * few
    assert instructions(8, stacked=False) > 2 * instructions(2, stacked=False)


def deeper(layers):
    model = make_model()
    config = model.config
    config = dataclasses.replace(
        config,
        num_layers=layers,
        windows=config.windows[:1] * layers,
        ropes=config.ropes[:1] * layers,
    )
    return model.clone(config=config)
