"""A compiled step whose state stays where it lies."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding

from jaxalign.training.state import TrainState


class CompiledStep:
    """`jax.jit` of a step; compiled once, when its first state comes, and for all.

    Left to itself XLA may give a leaf of the state back split in another way, or
    describe the same way in other words, and the next step would be compiled anew.

    >>> import jax.numpy as jnp
    >>> count = CompiledStep(lambda state, batch: (state + batch.sum(), {}))
    >>> state, metrics = count(jnp.zeros(()), jnp.ones(3))
    >>> float(state)
    3.0
    """

    def __init__(
        self,
        step: Callable[..., tuple[Any, dict]],
        *last: Any,
        metrics: NamedSharding | None = None,
        compiler_options: dict[str, Any] | None = None,
    ):
        """Takes the step as it is.

        Args:
          step: `(state, batch, *last) -> (state, metrics)`.
          last: Arguments that stay the same, such as a reference's parameters: closed
            over, they would be constants of the program.
          metrics: Where these lie; by default where XLA leaves them.
          compiler_options: As `jax.jit` takes them.
        """
        self._step, self._last = step, last
        self._metrics, self._options = metrics, compiler_options
        self._compiled: Any = None

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, dict]:
        """The state is consumed."""
        if self._compiled is None:
            self._compiled = self._jitted(state)
        return self._compiled(state, batch, *self._last)

    def lower(self, state: TrainState, batch: Any) -> jax.stages.Lowered:
        """The same program, for looking at it; shapes with shardings will do."""
        return self._jitted(state).lower(state, batch, *self._last)

    def _jitted(self, state) -> Any:
        def place(x):
            return x.sharding if isinstance(x.sharding, NamedSharding) else None

        return jax.jit(
            self._step,
            donate_argnums=0,
            out_shardings=(jax.tree.map(place, state), self._metrics),
            compiler_options=self._options,
        )
