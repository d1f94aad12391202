"""Arguments and results of decoding: settings, limits, rows, and chunks of tokens."""

from typing import Any, NamedTuple


class Settings(NamedTuple):
    """What decoding is compiled for, besides shapes.

    Attributes:
      steps: Most tokens of a row in one call of `decode`.
      greedy: Take the likeliest token.
      top_k: Sample among this many only, or None.
      nucleus: Whether `top_p` is read.
    """

    steps: int
    greedy: bool
    top_k: int | None
    nucleus: bool


class Limits(NamedTuple):
    """What may change from call to call without compiling anew.

    Attributes:
      temperature: Scalar float32; not read when greedy.
      top_p: Scalar float32; not read without `nucleus`.
      min_new_tokens: Scalar int32: no stop token comes before this many.
      max_new_tokens: Scalar int32: a row with this many is over.
      stop_ids: `[S]` int32; ids of `vocab_size` and more are no token.
      min_p: Scalar float32, as for `allowed_logits`, or None.
      repetition_penalty: Scalar float32, as for `penalised`, or None.
      never: `[vocab_size]` bool, tokens that are never sampled, or None.
    """

    temperature: Any
    top_p: Any
    min_new_tokens: Any
    max_new_tokens: Any
    stop_ids: Any
    min_p: Any = None
    repetition_penalty: Any = None
    never: Any = None


class SlotRows(NamedTuple):
    """What is in the slots, all `[B]`.

    Attributes:
      last: int32, the newest token: the next one to be read.
      position: int32, its position.
      prompt_length: int32.
      prompt_index: int32, the prompt's number, for its keys.
      sample_index: int32, which sample of that prompt.
      running: bool, False in slots that are free.
    """

    last: Any
    position: Any
    prompt_length: Any
    prompt_index: Any
    sample_index: Any
    running: Any


class Chunk(NamedTuple):
    """What `decode` made.

    Attributes:
      last: `[B]` as in `SlotRows`, afterwards.
      position: `[B]` the same; what it grew by is the number of new tokens.
      running: `[B]` the same.
      tokens: `[B, steps]` int32, the new tokens from the left; 0 behind them.
      logps: `[B, steps]` float32, their log-probabilities; 0 behind them.
    """

    last: Any
    position: Any
    running: Any
    tokens: Any
    logps: Any
