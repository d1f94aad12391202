"""What the compiled training steps hold, read from the compiler's own text.

The optimizations that tests do without are of machine code, behind this text.
"""

import functools
import math
import re
from typing import Any, cast

import jax
import numpy as np
import optax
import pytest

from jaxalign.losses import (
    Objective,
    bco_loss,
    dpo_loss,
    grpo_loss,
    sft_loss,
    tdpo1_loss,
)
from jaxalign.models import backbone_of, init_params
from jaxalign.objectives import (
    MixedBatch,
    bind,
    bind_token_loss,
    distillation_objective,
    mixed_objective,
    online,
    online_objective,
    regularised,
)
from jaxalign.training import TrainState, make_train_step
from tests.rows import Prompted, packed_batch
from tests.tiny import make_model

# Primes, so that no other product of sizes can be taken for R * T * V or R * M * V.
ROWS, LENGTH, TARGETS, VOCAB = 2 * 13, 37, 29, 211
OPTIMIZER = optax.sgd(1.0)


def batch_of(task, rows=ROWS):
    both = task in ("dpo", "bco", "tdpo", "online")
    examples = [[Prompted([1, 2], [[3, 4, 5], [6, 7]][: 1 + both])]] * rows
    batch = packed_batch(examples, LENGTH, TARGETS)
    known = batch.per_token["ref_logps"]
    return batch.with_tokens(old_logps=known, advantages=known)


def objective_of(task, model, chunk_size=64, other=None):
    """`other` holds the parameters of a teacher or a reference."""
    backbone, options = backbone_of(model), cast(Any, {"chunk_size": chunk_size})
    if task == "grpo":
        return bind(regularised(grpo_loss), backbone, entropy=True, **options)
    if task == "online":
        return online_objective(online.online_dpo_of_rivals, backbone, **options)
    if task == "sft":
        return bind_token_loss(sft_loss, backbone, **options)
    if task == "distill":
        both = distillation_objective(backbone, backbone, **options)
        return lambda params, batch, key: both((params, other), batch, key)
    if task == "tdpo":
        pair: Any = bind(tdpo1_loss, backbone, **options)
        return lambda params, batch, key: pair((params, other), batch, key)
    loss = {"dpo": dpo_loss, "bco": bco_loss}[task]
    return bind(loss, backbone, **options)


@functools.cache
def compile_step(task, vocab_size=VOCAB, optimize=False, **options):
    # Untied, so that the vocabulary is met nowhere but in the unembedding.
    model = make_model(vocab_size, tie_embeddings=False)
    batch = batch_of(task)

    objective = objective_of(task, model)
    carry = Objective.of(objective).carry

    def start(key):
        return TrainState.create(init_params(model, key), OPTIMIZER, key, carry)

    def step(state, batch, other):
        objective = objective_of(task, model, other=other)
        return make_train_step(objective, OPTIMIZER, **options)(state, batch)

    state = jax.eval_shape(start, jax.random.key(0))
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch, state.params)
    optimized: Any = {
        "xla_backend_optimization_level": 3,
        "xla_llvm_disable_expensive_passes": False,
    }
    return compiled.compile(optimized if optimize else None)


def sizes_in(text: str) -> dict[int, str]:
    """Number of elements of every array that the program names, with its shape."""
    shapes = set(re.findall(r"\b(?:f16|bf16|f32|f64|s32|u32|pred)\[([\d,]+)\]", text))
    return {math.prod(map(int, shape.split(","))): shape for shape in shapes}


@pytest.mark.parametrize(
    ("task", "num_microbatches"),
    [
        ("dpo", 2),
        ("grpo", 2),
        ("distill", 2),
        # Their statistics are those of one of the above.
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *(("sft", 1), ("sft", 2), ("dpo", 1), ("tdpo", 2), ("bco", 2)),
                ("online", 2),
            )
        ),
    ],
)
def test_no_array_holds_all_logits(task, num_microbatches):
    """Fault 27: the memory of whole logits at large vocabularies."""
    compiled = compile_step(task, num_microbatches=num_microbatches)
    sizes = sizes_in(compiled.as_text() or "")
    assert VOCAB * 16 in sizes, "the unembedding itself is found"
    rows = ROWS // num_microbatches
    for length in (LENGTH, TARGETS):
        assert rows * length * VOCAB not in sizes
    with_vocab = [n for n in sizes if n % VOCAB == 0]
    assert max(with_vocab) < rows * TARGETS * VOCAB / 2


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sft", "dpo"])
def test_the_text_is_that_of_users(task):
    """But for the lines of this file in it."""
    as_here, as_there = (
        compile_step(task, optimize=optimize, num_microbatches=2)
        for optimize in (False, True)
    )
    texts = [
        re.sub(
            r"line=\d+ end_line=\d+ column=\d+ end_column=\d+", "", x.as_text() or ""
        )
        for x in (as_here, as_there)
    ]
    assert texts[0] == texts[1]
    memory = [str(x.memory_analysis()) for x in (as_here, as_there)]
    assert memory[0] == memory[1]


def test_the_test_sees_whole_logits():
    def whole(hidden, kernel):
        return jax.nn.logsumexp(hidden @ kernel.T, axis=-1).sum()

    shapes = (ROWS, TARGETS, 16), (VOCAB, 16)
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    text = jax.jit(jax.grad(whole)).lower(*arrays).compile().as_text()
    assert ROWS * TARGETS * VOCAB in sizes_in(text or "")


@pytest.mark.parametrize("task", [pytest.param("sft", marks=pytest.mark.slow), "dpo"])
def test_temporary_memory_grows_less_than_the_vocabulary(task):
    memory = [
        compile_step(task, v, num_microbatches=1).memory_analysis()
        for v in (VOCAB, 8 * VOCAB)
    ]
    small, large = (x.temp_size_in_bytes for x in memory if x)
    assert large < 8 * small
    # By two chunks of 64 logits and a gradient of the kernel, not by R * M of them.
    assert large - small < 7 * VOCAB * 4 * ROWS * TARGETS / 2


def test_a_step_compiles_once_for_each_number_of_rows():
    model = make_model()
    traces = []

    def objective(params, batch, key):
        traces.append(batch.tokens.inputs.shape)
        return objective_of("sft", model)(params, batch, key)

    start = jax.jit(functools.partial(init_params, model))
    step = jax.jit(make_train_step(objective, OPTIMIZER))
    state = TrainState.create(start(jax.random.key(0)), OPTIMIZER, jax.random.key(1))
    rng = np.random.default_rng(0)
    for n in range(10):
        rows = (2, 4)[n % 2]
        lengths = rng.integers(1, 20, size=rows)
        examples = [[Prompted([1], [[2] * int(k)])] for k in lengths]
        state, _ = step(state, packed_batch(examples, 24, 20))
    assert sorted(traces) == [(2, 24), (4, 24)]


def test_the_weights_of_a_sum_of_means_are_added_up_without_the_model():
    """A policy loss over answers plus a likelihood over tokens: no product more."""
    model = make_model(VOCAB, tie_embeddings=False)
    both = mixed_objective(*(objective_of(x, model) for x in ("grpo", "sft")), coef=0.3)

    def start(key):
        return TrainState.create(init_params(model, key), OPTIMIZER, key)

    step = jax.jit(make_train_step(both, OPTIMIZER, num_microbatches=2))
    batch = MixedBatch(batch_of("grpo"), batch_of("sft"))
    mixed = step.lower(jax.eval_shape(start, jax.random.key(0)), batch).compile()

    def products(compiled):
        return len(re.findall(r" dot\(", compiled.as_text() or ""))

    apart = [compile_step(x, num_microbatches=2) for x in ("grpo", "sft")]
    assert products(mixed) == sum(map(products, apart)) > 20
