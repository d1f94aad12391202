"""Which completions are learnt from, with which noise, rows and steps: parts of a run.

What has to be computed elsewhere (the sampler, the step) stands here as a function that
writes down what it is given.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign import rl
from jaxalign.batch import Batch
from jaxalign.data.packing.completions import CompletionRows
from jaxalign.objectives import MixedBatch, completion_mask
from jaxalign.rewards import Completion, Reward, score
from jaxalign.rl import Devices, Rollout, group_to_go_credit
from jaxalign.rl.advantages import compute_advantages
from jaxalign.rl.iteration import Iteration
from jaxalign.rl.state import RLState
from jaxalign.rl.update import LaidOut, Updates
from jaxalign.rollout import Completions
from jaxalign.training import AskedToStop, StopRequest
from tests.rl.test_faults import CONTROL, PROMPTS, algorithm_with
from tests.rows import Prompted, packed_batch

G, K, N = 4, 4, 3


def make_rollout(kept=(True,) * G, rewards=None) -> Rollout:
    """Four prompts with four completions each, of 1 to 3 tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, N + 1, G * K)
    mask = np.arange(N) < lengths[:, None]
    tokens = np.where(mask, rng.integers(1, 9, mask.shape), 0).astype(np.int32)
    logps = np.where(mask, -1.0, 0.0).astype(np.float32)
    no = np.zeros(len(lengths), bool)
    done = Completions(tokens, lengths.astype(np.int32), logps, lengths < N, no)
    texts = [Completion("?", "!", ids=x, index=b // K) for b, x in enumerate(tokens)]
    given = rng.normal(size=G * K) if rewards is None else rewards
    scores = score([lambda completions: list(given)], texts)
    return Rollout(PROMPTS, done, texts, scores, np.array(kept))


def make_updates(seen, *, row_length=None, **changes) -> Updates:
    """Steps that put `(name, batch)` into `seen` and change nothing."""

    def step(name):
        def run(state, batch):
            seen.append((name, batch))
            return state, {}

        return run

    rows = CompletionRows.plan(
        longest_prompt=3,
        longest_completion=N,
        per_prompt=K,
        completions=G * K,
        row_length=row_length,
    )
    options: Any = {"score": None, "step": step("step"), "warm_up": step("warm up")}
    return Updates(lambda prompts: rows, Devices(), **(options | changes))


def learn(updates, rollout: Rollout, iteration=0):
    """One call of `updates` on all completions that are kept."""
    mask = rollout.completions.mask
    columns = {"old_logps": rollout.completions.logps, "advantages": 1.0 * mask}
    updates(
        None,
        iteration,
        jax.random.key(iteration),
        updates.lay_out(rollout),
        {k: v.astype(np.float32) for k, v in columns.items()},
    )


def other_rows(number) -> Batch:
    """A batch of the other stream in which `number` can be read."""
    row = [Prompted([1], [[2] * (1 + number % 3)])]
    batch = packed_batch([row], 6, 5)
    tokens = batch.tokens._replace(inputs=np.full((1, 6), number))
    return batch._replace(tokens=tokens)


def test_the_other_stream_moves_on_by_a_batch_with_every_update_but_warm_ups():
    seen: list[Any] = []
    updates = make_updates(
        seen,
        passes=2,
        minibatches=2,
        warm_up_iterations=2,
        mix=other_rows,
    )
    for iteration in range(4):
        learn(updates, make_rollout(), iteration)
    assert [name for name, _ in seen] == ["warm up"] * 8 + ["step"] * 8
    assert not any(isinstance(x, MixedBatch) for _, x in seen[:8])
    numbers = [int(x.mix.tokens.inputs[0, 0]) for _, x in seen[8:]]
    assert numbers == list(range(8, 16))


@pytest.mark.parametrize("row_length", [None, 9])
def test_groups_that_are_not_kept_are_not_learnt_from(row_length):
    """Also where the completions of a prompt do not fit into one row."""
    updates = make_updates([], row_length=row_length, passes=1, minibatches=1)
    laid = updates.lay_out(make_rollout(kept=(True, False, False, True)))
    together = laid.rows.together
    assert together == (K if row_length is None else 2)
    found = [x.index * together + i for x in laid.layouts for i in range(together)]
    assert found == [*range(K), *range(3 * K, 4 * K)]


def test_a_completion_that_no_reward_applies_to_has_no_token_in_an_update():
    seen: list[Any] = []
    updates = make_updates(seen, row_length=9, passes=1, minibatches=1)
    rollout = make_rollout(rewards=[None if b in (2, 7) else 1.0 for b in range(16)])
    learn(updates, rollout)
    ((_, batch),) = seen
    expected = np.delete(rollout.completions.lengths, [2, 7]).sum()
    assert completion_mask(batch).sum() == expected
    assert (batch.length > 0).sum() == 14


def warm_up_of(optimizer) -> optax.GradientTransformation:
    """The optimizer of a warm-up, as `make_iteration` sets it up."""
    made: list[Any] = []

    def train(objective, optimizer, microbatch_size):
        made.append(optimizer)
        return lambda state, batch: len(made)

    nothing: Any = None
    iteration = rl.make_iteration(
        lambda params, ids: params[ids],
        algorithm=rl.ppo(warm_up=1),
        reward=lambda completions: nothing,
        optimizer=optimizer,
        sampling=rl.Sampling(4),
        critic=lambda params, tokens: nothing,
        ref_params=(),
        devices=Devices(train=train),
    )
    assert iteration.updates.warm_up_iterations == 1
    (still,) = (x for x in made if x is not optimizer)
    return still


def test_a_warm_up_moves_the_critic_and_nothing_else_not_even_by_decay():
    start = {
        "policy": {"w": jnp.array([1.0, -2.0])},
        "critic": {"w": jnp.array([3.0])},
    }
    gradient = {"policy": {"w": jnp.zeros(2)}, "critic": {"w": jnp.array([0.5])}}
    optimizer = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1, 0.9))
    updates, _ = optimizer.update(gradient, optimizer.init(start), start)
    plain: Any = updates
    assert np.all(plain["policy"]["w"] != 0)
    still = warm_up_of(optimizer)
    got, state = still.update(gradient, still.init(start), start)
    moves: Any = got
    assert not np.any(moves["policy"]["w"])
    np.testing.assert_array_equal(moves["critic"]["w"], plain["critic"]["w"])
    assert jax.tree.structure(state) == jax.tree.structure(optimizer.init(start))


class Noted:
    """The collaborators of an iteration; what they were given is kept."""

    devices = Devices()

    def __init__(self, rollout: Rollout):
        self.rollout, self.keys = rollout, []
        self.columns: Any = None

    def sample(self, policy, iteration, prompts, key, clock):
        self.keys.append(jax.random.key_data(key).tolist())
        return self.rollout, [self.rollout]

    def lay_out(self, rollout):
        nothing: Any = None
        return LaidOut(nothing, [], rollout.completions.mask, rollout.used)

    def scores(self, models, laid):
        zeros = np.zeros(laid.mask.shape, np.float32)
        return types.SimpleNamespace(logps=zeros, ref_logps=zeros, values=None)

    def __call__(self, state, iteration, key, laid, columns):
        self.columns, self.mask, self.used = columns, laid.mask, laid.used
        return state, {}

    def observe(self, experience):
        pass


def iterate(noted: Noted, step: int, stop: StopRequest | None = None):
    parts: Any = {"sampler": noted.sample, "updates": noted, "optimizer": None}
    algorithm = algorithm_with(group_to_go_credit, reference=True)
    iteration = Iteration(
        algorithm,
        compute=lambda *arrays: compute_advantages(algorithm, *arrays),
        observe=noted.observe,
        at_once=(stop or StopRequest()).at_once,
        **parts,
    )
    inner: Any = types.SimpleNamespace(params=None, key=jax.random.key(7))
    control = CONTROL._replace(silent=jnp.int32(4))
    return iteration(RLState(jnp.int32(step), inner, control), PROMPTS)


def test_every_iteration_has_noise_of_its_own_and_the_same_when_it_is_repeated():
    """Fault: the same noise at every rollout."""
    noted = Noted(make_rollout())
    for step in (0, 1, 2, 1):
        iterate(noted, step)
    first, second, third, again = noted.keys
    assert second == again
    assert first != second != third != first


def test_asked_to_stop_it_drops_what_was_sampled_and_has_learnt_nothing():
    """Between sampling and the end of scoring; not once updates have begun."""
    noted, stop = Noted(make_rollout()), StopRequest()
    sample = noted.sample

    def asked(*arguments):
        stop.request()
        return sample(*arguments)

    setattr(noted, "sample", asked)  # noqa: B010
    with pytest.raises(AskedToStop):
        iterate(noted, 1, stop)
    assert noted.columns is None
    noted, stop = Noted(make_rollout()), StopRequest()
    setattr(noted, "observe", lambda experience: stop.request())  # noqa: B010
    state, _ = iterate(noted, 1, stop)
    assert int(state.step) == 2


@pytest.mark.parametrize(("value", "silent"), [(None, 5), (1.0, 5), ("each", 0)])
def test_rewards_that_are_equal_or_not_there_are_nothing_to_learn_from(value, silent):
    rewards = np.arange(G * K) if value == "each" else [value] * (G * K)
    state, _ = iterate(Noted(make_rollout(rewards=rewards)), 3)
    assert int(state.control.silent) == silent


def test_whitening_does_not_see_groups_that_are_left_out():
    """Mean 0 and variance 1 over the tokens of the groups that are learnt from."""
    noted = Noted(make_rollout(kept=(True, False, True, False)))
    _, metrics = iterate(noted, 0)
    kept = np.repeat([True, False, True, False], K)
    np.testing.assert_array_equal(noted.used, kept)
    advantages = noted.columns["advantages"]
    assert not advantages[~kept].any()
    seen = advantages[kept][noted.mask[kept]]
    np.testing.assert_allclose(seen.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(seen.var(), 1, rtol=1e-4)
    assert metrics["num_tokens"].value == len(seen)


def lengths_of(numbers) -> Rollout:
    """Completion i has i + 1 tokens, which is its reward."""
    lengths = np.array(numbers) + 1
    texts = [Completion("?", "!", index=i) for i in numbers]
    rewards = [
        Reward("length", lambda xs: [x.index + 1.0 for x in xs]),
        Reward("never", lambda xs: [None] * len(xs)),
    ]
    scores = score(rewards, texts)
    zeros, no = np.zeros((4, 5)), np.zeros(4, bool)
    done = Completions(zeros, lengths, zeros, lengths > 1, no)
    return Rollout([], done, texts, scores, np.ones(4, bool))


def test_prompts_that_fill_up_the_last_batch_of_an_evaluation_do_not_count(monkeypatch):
    asked = []

    def sampler(params, iteration, prompts, key, clock):
        asked.append([x.index for x in prompts])
        return lengths_of(asked[-1]), []

    monkeypatch.setattr("jaxalign.rl.evaluate.alone", lambda x: x)
    updates: Any = types.SimpleNamespace(devices=Devices())
    iteration: Any = types.SimpleNamespace(
        sampler=sampler, updates=updates, policy_of=lambda x: x
    )
    evaluate = rl.make_reward_evaluation(
        iteration, [[1]] * 5, batch_size=4, key=jax.random.key(0)
    )
    assert evaluate is not None
    state: Any = types.SimpleNamespace(params=None, step=0)
    got: Any = evaluate(state)
    assert asked == [[0, 1, 2, 3], [4, 0, 1, 2]]
    assert got["reward"] == got["completions/mean_length"] == 3
    assert got["completions/clipped_ratio"] == pytest.approx(1 / 5)
    # A mean over nothing is no 0.
    assert "rewards/length/mean" in got
    assert "rewards/never/mean" not in got
