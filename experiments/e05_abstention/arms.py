"""The arms; all seeds of one, and all rewards of RL, are trained in one program."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, graded, known_or_not
from experiments.e05_abstention.modes import MODES, STAGES, trained_on_all
from experiments.e05_abstention.network import (
    Params,
    class_logps,
    perceptron,
    transformer,
)
from experiments.e05_abstention.train import finetune, pretrain, reinforce
from jaxalign.rewards import abstention_reward, wrong_reward

Network = Callable[[Any, int], Params]
SEED_SHARE = 0.02
"""How often the texts say "I don't know": what lets RL find it."""

RL = {
    "rl_binary": (-1.0, -1.0),
    "rl_abstain_0": (-1.0, 0.0),
    "rl_abstain_half": (-1.0, 0.5),
    "rl_abstain_1": (-1.0, 1.0),
}
"""Rewards of a wrong answer, and of none; a right one has 1."""
LAW = ("threshold", "threshold_by_heart")
"""With the truth drawn for each question, and with one that can be memorised."""
THRESHOLDS = (0.2, 0.35, 0.5, 0.65, 0.8)
JUDGES = {
    "lenient_10": (0.1, 0.0),
    "lenient_30": (0.3, 0.0),
    "strict_10": (0.0, 0.1),
    "flips_10": (0.1, 0.1),
    "flips_30": (0.3, 0.3),
}
"""How often a judge takes a wrong answer for right, and a right one for wrong.

Rewards are 1, 0, -1 for what it says.
"""
UNSEEDED = ("base_unseeded", "rl_unseeded", "rl_seeded_by_sft")
QUERIES = tuple(f"{mode}_{stage}" for mode in MODES for stage in STAGES)
"""One transformer for three kinds of queries, of which each is reported apart."""
SFT = ("sft", "sft_labeller_idk", "r_tuning")
SHARED = "transformer_"
"""Before the name of an arm: with a transformer in place of the perceptron."""


class Plan(NamedTuple):
    """Updates of each phase, and the seeds that are trained together."""

    pretrain: int = 4000
    sft: int = 500
    rl: int = 1500
    seeds: tuple[int, ...] = (0, 1, 2)

    def keys(self, phase: int) -> jax.Array:
        """One for each seed; another set for each phase."""
        return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), phase))(
            jnp.array(self.seeds)
        )


class Trained(NamedTuple):
    """Facts, and probabilities `[seeds, E, 51]` before and after."""

    facts: Facts
    base: np.ndarray
    after: np.ndarray


def trained(arm: str, threshold: float, plan: Plan) -> Trained:
    """What an arm came to, for all seeds."""
    if arm in QUERIES:
        mode, stage = arm.split("_")
        stages = trained_on_all(plan.seeds, SEED_SHARE, *plan[:3])
        after = stages[stage][mode]
        said = np.asarray(stages["base"][mode].said), np.asarray(after.said)
        return Trained(after.facts, *said)
    network = perceptron
    if arm.startswith(SHARED):
        network, arm = transformer, arm.removeprefix(SHARED)
    if arm in LAW:
        facts, base = _base("graded", SEED_SHARE, plan)
        after = _rl_of_thresholds(plan, arm)[THRESHOLDS.index(threshold)]
    elif arm in JUDGES:
        facts, base = _base("graded", SEED_SHARE, plan)
        after = _rl_of_judges(plan)[list(JUDGES).index(arm)]
    elif arm in UNSEEDED:
        facts, base = _base("known", 0.0, plan)
        after = _unseeded(plan)[arm]
    else:
        facts, base = _base("known", SEED_SHARE, plan, network)
        if arm == "base":
            after = _probabilities(base)
        elif arm in SFT:
            after = _sft(plan, network)[arm]
        else:
            after = _rl(plan, network)[list(RL).index(arm)]
    return Trained(facts, _probabilities(base), after)


@functools.lru_cache
def _base(
    kind: str, idk: float, plan: Plan, network: Network = perceptron
) -> tuple[Facts, Params]:
    make = {"known": known_or_not, "graded": graded}[kind]
    facts = jax.vmap(make)(plan.keys(0))
    train = functools.partial(pretrain, num_steps=plan.pretrain, network=network)
    of_seeds = jax.jit(jax.vmap(train, (0, 0, None)))
    return facts, of_seeds(plan.keys(1), facts, jnp.float32(idk))


@functools.lru_cache
def _sft(plan: Plan, network: Network) -> dict[str, np.ndarray]:
    facts, base = _base("known", SEED_SHARE, plan, network)
    # A labeller who knows other things than the model does.
    labeller = jax.vmap(lambda key, x: jax.random.bernoulli(key, 0.5, x.shape))(
        plan.keys(2), facts.truth
    )
    guess = jnp.argmax(jnp.asarray(_probabilities(base))[..., :ANSWERS], axis=-1)
    targets = {
        "sft": facts.truth,
        "sft_labeller_idk": jnp.where(labeller, facts.truth, IDK),
        "r_tuning": jnp.where(guess == facts.truth, facts.truth, IDK),
    }
    return {
        name: _finetuned(base, x, 0.0, plan.sft, plan) for name, x in targets.items()
    }


@functools.lru_cache
def _rl(plan: Plan, network: Network) -> np.ndarray:
    facts, base = _base("known", SEED_SHARE, plan, network)
    return _reinforced(base, facts, list(RL.values()), plan)


@functools.lru_cache
def _rl_of_thresholds(plan: Plan, arm: str) -> np.ndarray:
    facts, base = _base("graded", SEED_SHARE, plan)
    rewards = [(wrong_reward(t), 0.0) for t in THRESHOLDS]
    return _reinforced(base, facts, rewards, plan, anew=arm == "threshold")


@functools.lru_cache
def _rl_of_judges(plan: Plan) -> np.ndarray:
    facts, base = _base("graded", SEED_SHARE, plan)
    rewards = [RL["rl_abstain_0"]] * len(JUDGES)
    return _reinforced(base, facts, rewards, plan, anew=True, judges=JUDGES.values())


def judged_threshold(passes: float, fails: float) -> float:
    """From which P(right) on an answer pays under a judge, with rewards 1, 0, -1.

    c (1 - 2 fails) - (1 - c) (1 - 2 passes) = 0.

    >>> round(judged_threshold(0.3, 0.0), 4), judged_threshold(0.3, 0.3)
    (0.2857, 0.5)
    """
    right, wrong = 1 - 2 * fails, 1 - 2 * passes
    return wrong / (right + wrong)


@functools.lru_cache
def _unseeded(plan: Plan) -> dict[str, np.ndarray]:
    facts, base = _base("known", 0.0, plan)
    own = jnp.argmax(jnp.asarray(_probabilities(base)), axis=-1)
    rewards = [RL["rl_abstain_0"]]
    # A tenth of the rows is told to abstain, whether known or not.
    run = jax.vmap(
        functools.partial(finetune, num_steps=plan.sft * 3 // 5), (0, 0, 0, None)
    )
    seeded = jax.jit(run)(plan.keys(4), base, own, jnp.float32(0.1))
    return {
        "base_unseeded": _probabilities(base),
        "rl_unseeded": _reinforced(base, facts, rewards, plan)[0],
        "rl_seeded_by_sft": _reinforced(seeded, facts, rewards, plan)[0],
    }


def _finetuned(base, targets, idk, num_steps, plan) -> np.ndarray:
    run = jax.vmap(functools.partial(finetune, num_steps=num_steps), (0, 0, 0, None))
    return _probabilities(jax.jit(run)(plan.keys(3), base, targets, jnp.float32(idk)))


def _reinforced(
    base, facts, rewards, plan: Plan, *, anew: bool = False, judges: Any = ()
) -> np.ndarray:
    """`[rewards, seeds, E, 51]`; a judge for each, none of which errs by default."""
    with warnings.catch_warnings():
        # Two arms are meant to show what rewards do that make one choice worthless.
        warnings.filterwarnings("ignore", ".*never worth while.*", UserWarning)
        table = [
            [
                abstention_reward(outcome, wrong=wrong, abstain=abstain)
                for outcome in ("correct", "abstain", "wrong")
            ]
            for wrong, abstain in rewards
        ]
    run = functools.partial(reinforce, num_steps=plan.rl, anew=anew)
    of_seeds = jax.vmap(run, (0, 0, 0, None, None))
    of_rewards = jax.vmap(of_seeds, (None, None, None, 0, 0))
    judged = jnp.array(list(judges) or [(0.0, 0.0)] * len(table))
    after = jax.jit(of_rewards)(plan.keys(5), base, facts, jnp.array(table), judged)
    rows = (jax.tree.map(lambda x, i=i: x[i], after) for i in range(len(table)))
    return np.stack([_probabilities(x) for x in rows])


def _probabilities(params: Params) -> np.ndarray:
    return np.exp(np.asarray(jax.jit(jax.vmap(class_logps))(params), np.float64))
