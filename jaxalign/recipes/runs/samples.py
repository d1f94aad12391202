"""Completions by the model before and after training, to look at."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxalign.data.text.example import Example
from jaxalign.data.text.preview import printable
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.inputs.rows import Rows
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.rollout import Decoder, SamplingProgress, StopTexts, generate
from jaxalign.training import Counted
from jaxalign.training.folder.own_files import write_json_lines


def ends_of(
    tokenizer: Tokenizer, stop: Sequence[str], *, min_new_tokens: int = 0
) -> StopTexts | None:
    """Where completions end besides stop tokens: at the texts of `--stop`, if any."""
    if not stop:
        # With `ends` the sampler would pause more often, and decode each time.
        return None
    return StopTexts(tokenizer.decode, stop, min_new_tokens=min_new_tokens)


@contextlib.contextmanager
def sampling_shown(
    title: str, total: int, *, shown: bool = True
) -> Iterator[Callable[[SamplingProgress], None]]:
    """What `generate` is to tell its progress, for people to see.

    Args:
      title: What is sampled.
      total: How many.
      shown: Whether anything is seen; not beside the bar of a run.
    """
    with Counted(title if shown else None, total) as seen:
        yield lambda at: seen.update(at.finished, at.tokens)


def sample_greedily(
    config: WritingConfig,
    run: Run,
    policy: Policy,
    tokenizer: Tokenizer,
    rows: Rows,
) -> "Samples":
    """Some held-out prompts that the model completes, before and after training."""
    return Samples(
        policy.decoder(tokenizer),
        tokenizer,
        (rows.held_out or rows.train)[: config.samples],
        max_new_tokens=config.max_new_tokens,
        folder=run.folder.path / "completions",
        console=run.console,
    )


class Samples:
    """The same prompts, completed greedily whenever it is asked."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        examples: list[Example],
        *,
        max_new_tokens: int,
        folder: Path,
        console: Console,
    ):
        """Takes the prompts of `examples`; completions go to `folder` and console."""
        self._decoder, self._tokenizer = decoder, tokenizer
        # The completions of a row have one prompt, so that of the first will do.
        first = [x.sequences[0] for x in examples]
        self._prompts = [x.ids[: x.prompt_length].tolist() for x in first]
        self._max_new_tokens, self._folder = max_new_tokens, folder
        self._console = console

    def show(self, params: Any, step: int) -> None:
        """Completes each prompt, prints the completions and keeps them in a file."""
        if not self._prompts:
            return
        # They are to be looked at, and no reason to refuse a run.
        room = self._decoder.max_length - max(map(len, self._prompts))
        completions = generate(
            self._decoder,
            params,
            self._prompts,
            # Greedy, so the key is not read.
            jax.random.key(0),
            max_new_tokens=max(1, min(self._max_new_tokens, room)),
            stop_ids=self._tokenizer.stop_ids,
            temperature=0.0,
        )
        lines = []
        for prompt, ids, stopped in zip(
            self._prompts, completions.ids(), completions.stopped.tolist(), strict=True
        ):
            text = self._tokenizer.decode(ids, skip_special=True)
            # The prompt keeps its special tokens: it is shown as the model reads it.
            row = {"prompt": self._tokenizer.decode(prompt), "completion": text}
            lines.append(row | {"stopped": stopped})
            self._console.print(f"[step {step}]", style="bold")
            prompt, text = printable(row["prompt"]), printable(text)
            self._console.print(prompt, style="dim", end="")
            self._console.print(text, style="green")
        write_json_lines(self._folder / f"step_{step:06}.jsonl", lines)
