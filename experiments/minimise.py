"""The minimum of a smooth function of a few numbers."""

from collections.abc import Callable
from typing import Any

import jax
import optax


def lbfgs(
    loss: Callable[[jax.Array], jax.Array], start: jax.Array, iterations: int = 100
) -> jax.Array:
    """Where the loss is least, near `start`, after so many steps with line search.

    Of one length whatever the loss, so that it may be mapped by `jax.vmap`.
    """
    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        x, state = carry
        value, grad = value_and_grad(x, state=state)
        updates, state = optimizer.update(
            grad, state, x, value=value, grad=grad, value_fn=loss
        )
        updated: Any = optax.apply_updates(x, updates)
        return (updated, state), None

    (x, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=iterations)
    return x
