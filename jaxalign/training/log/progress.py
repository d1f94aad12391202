"""What people see of a run: a bar that moves, or plain lines in a log."""

from collections.abc import Mapping
from typing import TextIO

from jaxalign.training.log.line import Line, duration


class Progress:
    """Step, loss, the method's main number, learning rate, speed and time left."""

    def __init__(
        self,
        num_steps: int,
        *,
        main_metric: str | None = None,
        stream: TextIO | None = None,
    ):
        """Draws on `stream`; a moving bar only on a terminal without CI or NO_COLOR.

        Args:
          num_steps: Where the run ends.
          main_metric: Name of the number that tells how the method does, such as
            `rewards/accuracies`.
          stream: Standard error by default.
        """
        self._num_steps, self._main = num_steps, main_metric
        self._line = Line("compiling", num_steps, stream)

    def __enter__(self) -> "Progress":
        """Begins to draw."""
        self._line.start()
        return self

    def __exit__(self, *exception) -> None:
        """Leaves the last line standing."""
        self._line.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the line of a step that was logged."""
        parts = [f"step {step}/{self._num_steps}"]
        names = ["loss"] + ([self._main] if self._main else [])
        parts += [f"{name} {values[name]:.4f}" for name in names if name in values]
        if "learning_rate" in values:
            parts.append(f"lr {values['learning_rate']:.2e}")
        if values.get("perf/tokens_per_second"):
            parts.append(f"{values['perf/tokens_per_second']:,.0f} tokens/s")
        if "step_time" in values:
            left = values["step_time"] * (self._num_steps - step)
            parts.append(f"{duration(left)} left")
        self._line.show(step, "  ".join(parts))

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Prints a line that stays, with the held-out numbers."""
        shown = ["eval_loss"] + ([f"eval_{self._main}"] if self._main else [])
        parts = [f"{name} {values[name]:.4f}" for name in shown if name in values]
        self.say("  ".join([f"step {step}/{self._num_steps}", *parts]))

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._line.say(text)
