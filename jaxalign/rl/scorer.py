"""Who scores sampled completions: policy, reference and critic in one program."""

from typing import NamedTuple

import jax

from jaxalign.batch import Tokens
from jaxalign.objectives import Critic, Model, token_statistics


class TokenScores(NamedTuple):
    """What models say of each target, all `[R, M]`.

    Attributes:
      logps: Log-probability under the policy, at the sampling temperature.
      ref_logps: The same under the reference, or None.
      values: Of the critic, or None.
    """

    logps: jax.Array
    ref_logps: jax.Array | None
    values: jax.Array | None


def rollout_scorer(
    model: Model,
    critic: Critic | None = None,
    *,
    reference: bool = True,
    temperature: float = 1.0,
    chunk_size: int = 512,
):
    """Scores sampled completions with all models in one program.

    Policy and reference are read at the temperature of the sampler: at another one
    ratio and KL would not be those of the distribution that was sampled from.

    Args:
      model: Of the policy and of the reference.
      critic: `(params, Tokens) -> [R, M]`, or None.
      reference: Whether there is one.
      temperature: Of the sampler.
      chunk_size: Positions whose logits are held at a time.

    Returns:
      `(params, Tokens) -> TokenScores`; `params` is a dict with `policy`, and as far as
      they are there `reference` and `critic`.
    """
    stats = token_statistics(model, temperature=temperature, chunk_size=chunk_size)

    def score(params, tokens: Tokens) -> TokenScores:
        return TokenScores(
            stats(params["policy"], tokens).logps,
            stats(params["reference"], tokens).logps if reference else None,
            critic(params["critic"], tokens) if critic is not None else None,
        )

    return score
