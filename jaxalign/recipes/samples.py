"""Answers of the model before and after training, to look at."""

from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxalign.data.text.example import Example
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.models import (
    apply_cached,
    decoding_params,
    init_cache,
    unembedding,
)
from jaxalign.models.transformer import Transformer
from jaxalign.rollout import Decoder, generate
from jaxalign.training.own_files import write_json_lines


def decoder_of(model: Transformer) -> Decoder:
    """The transformer as the sampler takes it; make it once."""
    config = model.config

    def head(params):
        kernel, softcap, vocab_size = unembedding(model, params)
        return kernel, softcap, vocab_size

    return Decoder(
        init_cache=lambda rows, slots: init_cache(config, rows, slots, model.dtype),
        apply=lambda params, *rest: apply_cached(model, params, *rest),
        head=head,
        max_length=config.max_positions,
        prepare=lambda params: decoding_params(model, params),
    )


class Samples:
    """The same prompts, answered greedily whenever it is asked."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        examples: list[Example],
        *,
        max_new_tokens: int,
        folder: Path,
        console: Console,
    ):
        """Takes the prompts of `examples`; answers go to `folder` and the console."""
        self._decoder, self._tokenizer = decoder_of(model), tokenizer
        first = [x.sequences[0] for x in examples]
        self._prompts = [x.ids[: x.prompt_length].tolist() for x in first]
        self._max_new_tokens, self._folder = max_new_tokens, folder
        self._console = console

    def show(self, params: Any, step: int) -> None:
        """Answers each prompt, prints the answers and keeps them in a file."""
        if not self._prompts:
            return
        answers = generate(
            self._decoder,
            params,
            self._prompts,
            jax.random.key(0),
            max_new_tokens=self._max_new_tokens,
            stop_ids=self._tokenizer.stop_ids,
            temperature=0.0,
        )
        lines = []
        for prompt, ids, stopped in zip(
            self._prompts, answers.ids(), answers.stopped.tolist(), strict=True
        ):
            answer = self._tokenizer.decode(ids, skip_special=True)
            row = {"prompt": self._tokenizer.decode(prompt), "completion": answer}
            lines.append(row | {"stopped": stopped})
            self._console.print(f"[step {step}]", style="bold", markup=False)
            self._console.print(row["prompt"], style="dim", markup=False, end="")
            self._console.print(answer, style="green", markup=False)
        write_json_lines(self._folder / f"step_{step:06}.jsonl", lines)
