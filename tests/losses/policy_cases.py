"""The losses of sampled responses, for the contract suite."""

import functools

from jaxalign import losses
from tests.losses.case import Case, by_keyword, logps, mask_with_gaps, normal


def rollout(rng, b, t):
    """Log-probabilities now and when sampled, advantages, mask."""
    old = logps(rng, b, t)
    return (
        old + 0.3 * normal(rng, b, t),
        old,
        normal(rng, b, t),
        mask_with_gaps(rng, b, t),
    )


def weighted_rollout(rng, b, t):
    return *rollout(rng, b, t), abs(normal(rng, b, t))


def rollout_with_reference(rng, b, t):
    new, old, *rest = weighted_rollout(rng, b, t)
    return new, old, *rest, old + 0.3 * normal(rng, b, t)


def rollout_with_values(rng, b, t):
    new, old, advantages, mask = rollout(rng, b, t)
    values, old_values = normal(rng, b, t), normal(rng, b, t)
    returns, entropy = normal(rng, b, t), abs(normal(rng, b, t))
    return new, old, advantages, values, old_values, returns, mask, entropy


def values(rng, b, t):
    return *(normal(rng, b, t) for _ in range(3)), mask_with_gaps(rng, b, t)


def scored(rng, b, t):
    return logps(rng, b, t), normal(rng, b), mask_with_gaps(rng, b, t)


def with_reference(rng, b, t):
    return logps(rng, b, t), logps(rng, b, t), mask_with_gaps(rng, b, t)


def masked_logps(rng, b, t):
    return logps(rng, b, t), mask_with_gaps(rng, b, t)


def marked(rng, b, t):
    return logps(rng, b, t), rng.random(b) < 0.7, mask_with_gaps(rng, b, t)


def combined(logps, rewards, mask):
    """A mean over responses, and one over tokens."""
    terms = {
        "reinforce": losses.reinforce_loss(logps, rewards, mask),
        "ptx": losses.ptx_term(logps, mask),
    }
    return losses.combine(terms, {"reinforce": 0.5, "ptx": 0.1})


CLIPS = {"clip": (0.05, 0.3), "clip_high": (0.05, 0.3)}
KL = {"beta": (0.1, 0.5)}


def clipped(loss, **options):
    """With weights and a KL term."""
    call = by_keyword(loss, "weights", "ref_logps")
    fixed = {"beta": 0.2} | options
    return lambda *arrays, **given: call(*arrays, **(fixed | given))


FROZEN = (1, 2, 4, 5)

CASES = {
    "reinforce": Case(losses.reinforce_loss, scored, (1,)),
    "policy_gradient": Case(
        by_keyword(losses.policy_gradient_loss, "weights"), weighted_rollout, (1, 2, 4)
    ),
    "kl_score": Case(losses.kl_score_loss, with_reference, (1,)),
    "entropy_bonus": Case(
        functools.partial(losses.entropy_bonus, coef=0.5),
        masked_logps,
        (),
        {"coef": (0.1, 0.5)},
    ),
    "ptx": Case(losses.ptx_term, masked_logps, (), {"coef": (1.0, 2.0)}),
    "positive_nll": Case(losses.positive_nll_loss, marked, (), {"coef": (1.0, 2.0)}),
    "combined": Case(combined, scored, (1,)),
    "ppo_policy": Case(
        by_keyword(losses.ppo_policy_loss, "weights"),
        weighted_rollout,
        (1, 2, 4),
        CLIPS,
    ),
    "dual_clip": Case(
        by_keyword(losses.dual_clip_policy_loss, "weights"),
        weighted_rollout,
        (1, 2, 4),
        CLIPS | {"dual_clip": (1.1, 1.3)},
    ),
    "ppo_value": Case(losses.ppo_value_loss, values, (1, 2), {"clip": (0.1, 0.5)}),
    "ppo": Case(
        functools.partial(by_keyword(losses.ppo_loss, "entropy"), entropy_coef=0.1),
        rollout_with_values,
        (1, 2, 4, 5),
        CLIPS
        | {
            "value_clip": (0.1, 0.5),
            "value_coef": (0.1, 0.5),
            "entropy_coef": (0.1, 0.5),
        },
    ),
    "grpo": Case(clipped(losses.grpo_loss), rollout_with_reference, FROZEN, CLIPS | KL),
    "dr_grpo": Case(
        clipped(losses.dr_grpo_loss, max_length=9),
        rollout_with_reference,
        FROZEN,
        CLIPS | KL | {"max_length": (4.0, 8.0)},
    ),
    "dapo": Case(clipped(losses.dapo_loss), rollout_with_reference, FROZEN, CLIPS | KL),
    "gspo": Case(clipped(losses.gspo_loss), rollout_with_reference, FROZEN, CLIPS | KL),
    "gspo_token": Case(
        clipped(losses.gspo_token_loss), rollout_with_reference, FROZEN, CLIPS | KL
    ),
    "gmpo": Case(
        clipped(losses.gmpo_loss),
        rollout_with_reference,
        FROZEN,
        KL | {"log_clip": (0.05, 0.3), "log_clip_high": (0.05, 0.3)},
    ),
    "cispo": Case(
        clipped(losses.cispo_loss), rollout_with_reference, FROZEN, CLIPS | KL
    ),
    "sapo": Case(
        clipped(losses.sapo_loss),
        rollout_with_reference,
        FROZEN,
        KL | {"temperature": (0.5, 1.5), "negative_temperature": (0.5, 1.5)},
    ),
}
