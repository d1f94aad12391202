"""Evaluation is the mean over all held-out tokens, not a mean of batch means."""

import jax
import numpy as np
import optax

from jaxalign.training import StopRequest, make_eval_step, make_evaluate
from tests.training import driver

STATE = driver.initial_state(optax.sgd(1.0))
PARAMS = STATE.params
KEY = jax.random.key(3)


def batches():
    """Batches of 1, 4 and 24 tokens."""
    for n, length in enumerate([1, 1, 6]):
        batch = driver.batch(n)
        rows = [0] if n == 0 else range(driver.ROWS)
        mask = np.zeros((driver.ROWS, driver.LENGTH), bool)
        mask[list(rows), :length] = True
        yield batch | {"mask": mask}


def evaluate_with(stop, seen=None):
    def place(batch):
        if seen is not None:
            seen.append(batch)
        return driver.place(batch)

    step = jax.jit(make_eval_step(driver.bigram_loss))
    return make_evaluate(step, batches, place=place, key=KEY, stop=stop)


def test_every_token_weighs_the_same():
    total = count = 0.0
    for n, batch in enumerate(batches()):
        key = jax.random.fold_in(KEY, n)
        noise = np.asarray(jax.random.normal(key, PARAMS["table"].shape), np.float64)
        table = np.asarray(PARAMS["table"], np.float64) + 0.01 * noise
        for r, t in np.argwhere(batch["mask"]):
            row = table[batch["inputs"][r, t]]
            total -= row[batch["targets"][r, t]] - np.log(np.sum(np.exp(row)))
            count += 1
    values = evaluate_with(StopRequest())(STATE)
    assert values is not None
    np.testing.assert_allclose(values["loss"], total / count, rtol=1e-5)
    assert values == evaluate_with(StopRequest())(STATE)


def test_a_request_to_stop_ends_it_between_batches():
    stop, seen = StopRequest(), []
    evaluate = evaluate_with(stop, seen)
    stop.request()
    assert evaluate(STATE) is None
    assert seen == []
