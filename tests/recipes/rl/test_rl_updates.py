"""Which answers are learnt from, with which noise, rows and steps: parts of a run.

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

from jaxalign.batch import Batch
from jaxalign.data.packing.completions import AnswerRows
from jaxalign.objectives import MixedBatch, completion_mask
from jaxalign.objectives.credit import group_to_go_credit
from jaxalign.ops import fixed_kl_update
from jaxalign.recipes import ppo
from jaxalign.recipes.rl.evaluate import make_reward_evaluation
from jaxalign.recipes.rl.iteration import Iteration
from jaxalign.recipes.rl.sampling import Answers
from jaxalign.recipes.rl.settle import Rules, make_settle
from jaxalign.recipes.rl.setup import Setup
from jaxalign.recipes.rl.state import RLState
from jaxalign.recipes.rl.updates import Updates
from jaxalign.rewards import Completion, Reward, score
from jaxalign.rollout import Completions
from jaxalign.training import AskedToStop, Clock, StopRequest
from tests.recipes.rl.test_rl_faults import CONTROL, PROMPTS
from tests.rows import Prompted, packed_batch

G, K, N = 4, 4, 3


def make_answers(kept=(True,) * G, rewards=None) -> Answers:
    """Four prompts with four answers each, of 1 to 3 tokens."""
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
    return Answers(PROMPTS, list(range(G)), done, texts, scores, np.array(kept))


def make_updates(seen, *, row_length=None, **changes) -> Updates:
    """Steps that put `(name, batch)` into `seen` and change nothing."""

    def step(name):
        def run(state, batch):
            seen.append((name, batch))
            return state, {}

        return run

    rows = AnswerRows.plan(
        longest_prompt=3,
        longest_answer=N,
        per_prompt=K,
        answers=G * K,
        row_length=row_length,
    )
    program: Any = types.SimpleNamespace(place=lambda x: x, rows=np.asarray)
    options: Any = {"score": None, "step": step("step"), "warm_up": step("warm up")}
    return Updates(rows, program, **(options | changes))


def learn(updates, answers: Answers, iteration=0, used=None):
    """One call of `updates` on all answers that are kept."""
    mask = answers.completions.mask
    columns = {"old_logps": answers.completions.logps, "advantages": 1.0 * mask}
    updates(
        None,
        iteration,
        jax.random.key(iteration),
        updates.layouts(answers),
        {k: v.astype(np.float32) for k, v in columns.items()},
        mask,
        answers.scores.applies if used is None else used,
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
        learn(updates, make_answers(), iteration)
    assert [name for name, _ in seen] == ["warm up"] * 8 + ["step"] * 8
    assert not any(isinstance(x, MixedBatch) for _, x in seen[:8])
    numbers = [int(x.mix.tokens.inputs[0, 0]) for _, x in seen[8:]]
    assert numbers == list(range(8, 16))


@pytest.mark.parametrize("row_length", [None, 9])
def test_groups_that_are_not_kept_are_not_learnt_from(row_length):
    """Also where the answers to a prompt do not fit into one row."""
    updates = make_updates([], row_length=row_length, passes=1, minibatches=1)
    together = updates.rows.together
    assert together == (K if row_length is None else 2)
    layouts = updates.layouts(make_answers(kept=(True, False, False, True)))
    answers = [x.index * together + i for x in layouts for i in range(together)]
    assert answers == [*range(K), *range(3 * K, 4 * K)]


def test_an_answer_that_no_reward_applies_to_has_no_token_in_an_update():
    seen: list[Any] = []
    updates = make_updates(seen, row_length=9, passes=1, minibatches=1)
    answers = make_answers(rewards=[None if b in (2, 7) else 1.0 for b in range(16)])
    learn(updates, answers)
    ((_, batch),) = seen
    expected = np.delete(answers.completions.lengths, [2, 7]).sum()
    assert completion_mask(batch).sum() == expected
    assert (batch.length > 0).sum() == 14


def warm_up_of(optimizer) -> optax.GradientTransformation:
    """The optimizer of a warm-up, as a run sets it up."""
    paths: Any = {"model": "m", "data": "d", "output_dir": "o", "reward": ("stopped",)}
    config = ppo.Config(**paths, critic_warmup=1)
    made: dict[int, Any] = {}

    def train(objective, optimizer, rows_at_a_time):
        made[len(made)] = optimizer
        return lambda state, batch: len(made)

    program = types.SimpleNamespace(train=train, map=lambda f: f)
    policy = types.SimpleNamespace(backbone=None)
    models = types.SimpleNamespace(
        program=program, policy=policy, values=lambda *_: None, has_reference=True
    )
    rows = types.SimpleNamespace(shape=types.SimpleNamespace(tokens=64))
    fields: Any = dict.fromkeys(Setup._fields)
    fields |= {"config": config, "method": ppo.method_of(config)}
    updates = Setup(**fields | {"models": models, "rows": rows}).updates(optimizer)
    assert updates.warm_up_iterations == 1
    (still,) = (x for x in made.values() if x is not optimizer)
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

    def __init__(self, answers: Answers):
        self.answers, self.keys, self.warned = answers, [], {"clipped"}
        self.columns: Any = None

    def sample(self, policy, iteration, numbers, key, clock):
        self.keys.append(jax.random.key_data(key).tolist())
        return self.answers, [self.answers]

    def layouts(self, answers):
        return []

    def scores(self, models, layouts, mask):
        zeros = np.zeros(mask.shape, np.float32)
        return types.SimpleNamespace(logps=zeros, ref_logps=zeros, values=None)

    def __call__(self, state, iteration, key, layouts, columns, mask, used):
        self.columns, self.mask, self.used = columns, mask, used
        return state, {}

    def write(self, *arguments):
        pass


def iterate(noted: Noted, step: int, stop: StopRequest | None = None):
    parts: Any = {"sampler": noted.sample, "updates": noted, "journal": noted}
    rules = Rules(group_to_go_credit, kl_in_reward=True, update_kl=fixed_kl_update)
    iteration = Iteration(
        **parts,
        settle=make_settle(rules),
        policy=lambda x: x,
        models=lambda x: x,
        clock=Clock(),
        stop=stop or StopRequest(),
        extra=lambda n: {},
        patience=9,
        stop_if_dead=False,
        max_clipped=1.0,
    )
    inner: Any = types.SimpleNamespace(params=None, key=jax.random.key(7))
    control = CONTROL._replace(silent=jnp.int32(4))
    batch = {"example_ids": np.arange(G)}
    return iteration(RLState(jnp.int32(step), inner, control), batch)


def test_every_iteration_has_noise_of_its_own_and_the_same_when_it_is_repeated():
    """Fault: the same noise at every rollout."""
    noted = Noted(make_answers())
    for step in (0, 1, 2, 1):
        iterate(noted, step)
    first, second, third, again = noted.keys
    assert second == again
    assert first != second != third != first


def test_asked_to_stop_it_drops_what_was_sampled_and_has_learnt_nothing():
    """Between sampling and the end of scoring; not once updates have begun."""
    noted, stop = Noted(make_answers()), StopRequest()
    sample = noted.sample

    def asked(*arguments):
        stop.request()
        return sample(*arguments)

    setattr(noted, "sample", asked)  # noqa: B010
    with pytest.raises(AskedToStop):
        iterate(noted, 1, stop)
    assert noted.columns is None
    noted, stop = Noted(make_answers()), StopRequest()
    noted.write = lambda *arguments: stop.request()
    state, _ = iterate(noted, 1, stop)
    assert int(state.step) == 2


@pytest.mark.parametrize(("value", "silent"), [(None, 5), (1.0, 5), ("each", 0)])
def test_rewards_that_are_equal_or_not_there_are_nothing_to_learn_from(value, silent):
    rewards = np.arange(G * K) if value == "each" else [value] * (G * K)
    state, _ = iterate(Noted(make_answers(rewards=rewards)), 3)
    assert int(state.control.silent) == silent


def test_whitening_does_not_see_groups_that_are_left_out():
    """Mean 0 and variance 1 over the tokens of the groups that are learnt from."""
    noted = Noted(make_answers(kept=(True, False, True, False)))
    _, metrics = iterate(noted, 0)
    kept = np.repeat([True, False, True, False], K)
    np.testing.assert_array_equal(noted.used, kept)
    advantages = noted.columns["advantages"]
    assert not advantages[~kept].any()
    seen = advantages[kept][noted.mask[kept]]
    np.testing.assert_allclose(seen.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(seen.var(), 1, rtol=1e-4)
    assert metrics["num_tokens"].value == len(seen)


class Lengths:
    """In the place of a sampler: answer i has i + 1 tokens, which is its reward."""

    prompts, num_generations = range(5), 1

    def __call__(self, policy, iteration, numbers, key, clock):
        lengths = np.array(numbers) + 1
        texts = [Completion("?", "!", index=i) for i in numbers]
        rewards = [
            Reward("length", lambda xs: [x.index + 1.0 for x in xs]),
            Reward("never", lambda xs: [None] * len(xs)),
        ]
        scores = score(rewards, texts)
        zeros, no = np.zeros((4, 5)), np.zeros(4, bool)
        done = Completions(zeros, lengths, zeros, lengths > 1, no)
        return Answers([], numbers, done, texts, scores, np.ones(4, bool)), []


def test_prompts_that_fill_up_the_last_batch_of_an_evaluation_do_not_count():
    parts: Any = Lengths(), types.SimpleNamespace(requested=False)
    evaluate = make_reward_evaluation(
        parts[0], lambda x: x, batch_size=4, key=jax.random.key(0), stop=parts[1]
    )
    assert evaluate is not None
    state: Any = types.SimpleNamespace(params=None, step=0)
    got: Any = evaluate(state)
    assert got["reward"] == got["completions/mean_length"] == 3
    assert got["completions/clipped_ratio"] == pytest.approx(1 / 5)
    # A mean over nothing is no 0.
    assert "rewards/length/mean" in got
    assert "rewards/never/mean" not in got
