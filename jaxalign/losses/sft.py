"""Maximum likelihood on the tokens of a demonstration."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.ops import Mean, check_arrays, masked
from jaxalign.ops.checks import check_range


def sft_loss(
    logps: jax.Array,
    mask: jax.Array,
    *,
    label_smoothing: float = 0.0,
    mean_logps: jax.Array | None = None,
    z_loss: float = 0.0,
    logz: jax.Array | None = None,
) -> LossOutput:
    """Supervised fine-tuning: the mean negative log-likelihood of trained tokens.

    A token costs −(1 − ε) log π(y) − ε/V Σᵥ log π(v) + ζ log² Z. Label smoothing ε
    is Eq. 7 of Szegedy et al., https://arxiv.org/abs/1512.00567; ζ holds the log
    partition function near 0 as in Sec. 5 of PaLM, https://arxiv.org/abs/2204.02311,
    where ζ = 1e-4. The mean is over all unmasked tokens of the global batch.

    In TRL: `SFTTrainer`, whose `label_smoothing_factor` is ε; it has no ζ.

    Args:
      logps: Log-probability of each token, `[..., T]`, float.
      mask: True on the tokens to learn, `[..., T]`, bool. Other entries may hold
        anything, inf and NaN included.
      label_smoothing: Share of each target's weight that is spread over the
        vocabulary, ε in [0, 1).
      mean_logps: Log-probability averaged over the vocabulary, `[..., T]`, float.
      z_loss: Weight of the squared log partition function, ζ ≥ 0.
      logz: Log of the partition function, `[..., T]`, float.

    Returns:
      The mean over tokens; no metrics.

    Raises:
      ValueError: If a hyperparameter other than 0 lacks the array that it needs
        (`mean_logps`, `logz`), or is a Python number out of its range.

    >>> logps = jnp.array([[-1.0, -3.0, -9.0]])
    >>> print(sft_loss(logps, jnp.array([[True, True, False]])).loss.value)
    2.0
    """
    check_range("label_smoothing", label_smoothing, 0, 1)
    check_range("z_loss", z_loss, 0, float("inf"))
    check_arrays(
        logps=(logps, "float[+, T]"),
        mean_logps=(mean_logps, "float[+, T]"),
        logz=(logz, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    losses = -masked(logps, mask)
    if mean_logps is not None:
        uniform = -masked(mean_logps, mask)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    elif not _is_zero(label_smoothing):
        raise ValueError(f"label_smoothing={label_smoothing} needs mean_logps")
    if logz is not None:
        losses = losses + z_loss * jnp.square(masked(logz, mask))
    elif not _is_zero(z_loss):
        raise ValueError(f"z_loss={z_loss} needs logz")
    return LossOutput(Mean.of(losses, where=mask), {})


def _is_zero(x) -> bool:
    return isinstance(x, (int, float)) and x == 0
