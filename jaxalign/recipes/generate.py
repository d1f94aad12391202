"""`jaxalign generate`: completions of prompts by a model folder."""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from jaxalign.errors import UserError
from jaxalign.os_errors import naming
from jaxalign.recipes.flags.compute_type import ComputeType
from jaxalign.recipes.flags.paths import Found, Place, RowsAt, TemplateAt
from jaxalign.recipes.flags.seed_flag import check_seed
from jaxalign.recipes.flags.stop_flag import check_stop_texts
from jaxalign.recipes.inputs.generation_settings import (
    FILE,
    SamplingSettings,
    checkpoint_sampling,
    long_bad_words,
    not_obeyed,
    read_settings,
)

_OBEYED = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "min_new_tokens",
    "suppress_tokens", "bad_words_ids", "stop_strings",
)  # fmt: skip
# A paragraph, where the checkpoint does not say; the help text names the number.
_MAX_NEW_TOKENS = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Complete one prompt, or each row of a file, with a model folder."""

    model: Found
    """Folder of a Hugging Face model, or its name on the hub."""
    prompt: str | None = None
    """Prompt to complete."""
    data: RowsAt | None = None
    """In place of `prompt`: rows with a `prompt`, in any format that has one."""
    output: Place | None = None
    """A JSONL file for prompts and completions; they are printed in any case."""
    plain: bool = False
    """Go on from the text as it is, in place of rendering it as a chat."""
    chat_template: TemplateAt | None = None
    """A `.jinja` file or a built-in template's name; the checkpoint's by default."""
    chat_template_kwargs: str | None = None
    """Arguments of the template: `enable_thinking=false,date=2026-01-01`."""
    template_time: str | None = None
    """The time that templates read, as 2026-01-31T12:00:00; by default now."""
    markers_in_text: Literal["text", "refuse", "keep"] = "text"
    """Special tokens that the contents of messages spell: they stay text, or such rows
    are refused, or they become the tokens."""
    format: str | None = None
    """The rows' format or converter; found from the columns by default."""
    columns: str | None = None
    """Renamed columns: `prompt=question`."""
    limit: int | None = None
    """Number of rows to complete; all by default."""
    max_new_tokens: int | None = None
    """Longest completion, in tokens; by default what the checkpoint says, else 128."""
    stop: tuple[str, ...] = ()
    """Texts at which a completion ends, such as `</answer>`; may be given several
    times. By default what the checkpoint says."""
    temperature: float | None = None
    """Temperature of the sampler, 0 for the likeliest token; by default what the
    checkpoint says, else 0."""
    top_k: int | None = None
    """Number of likeliest tokens to sample among, 0 for all; by default what the
    checkpoint says."""
    top_p: float | None = None
    """Share of probability to sample within; by default what the checkpoint says."""
    min_p: float | None = None
    """Least share of the likeliest token's probability that a token must have, before
    top-k and top-p; by default what the checkpoint says."""
    repetition_penalty: float | None = None
    """Penalty that divides positive logits of tokens that came already, and multiplies
    negative ones; by default what the checkpoint says."""
    num_samples: int = 1
    """Number of completions of each prompt."""
    batch_size: int = 16
    """Number of completions computed at a time."""
    seed: int = 0
    """Seed of the samples."""
    dtype: ComputeType = "auto"
    """Type of the matrix products; `auto` is bfloat16 on accelerators."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        if (self.prompt is None) == (self.data is None):
            raise UserError("give either --prompt TEXT or --data FILE")
        for name in ("limit", "max_new_tokens", "num_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.top_k is not None and self.top_k < -1:
            raise UserError(f"top_k must be 1 or more, or 0 for all, got {self.top_k}")
        check_seed(self.seed)
        check_stop_texts(self.stop)


def main(config: Config) -> int:
    """Prints each prompt with its completions."""
    import jax
    import numpy as np

    from jaxalign.data.text.clock import fix_clock
    from jaxalign.data.text.encode import Encoder
    from jaxalign.data.text.preview import printable
    from jaxalign.data.text.tokenizer import load_tokenizer
    from jaxalign.recipes.inputs.display import open_console, tell_clock, tell_notes
    from jaxalign.recipes.inputs.rows import template_arguments
    from jaxalign.recipes.runs.policy import open_policy
    from jaxalign.recipes.runs.samples import ends_of, sampling_shown
    from jaxalign.rollout import generate
    from jaxalign.rollout.prompts import check_prompts, check_settings

    if config.output:
        _make_room(config.output, config.data)
    fix_clock(config.template_time)
    policy = open_policy(
        config.model,
        dtype=config.dtype,
        remat="none",
        attention="blocked",
        parallel="mesh",
        mesh_sizes={"fsdp": -1},
    )
    settings = sampling_settings(config, policy.folder)
    numbers = settings._asdict()
    del numbers["stop"], numbers["never_ids"]
    check_settings(num_samples=config.num_samples, **numbers)
    if settings.temperature == 0:
        _refuse_flags_of_drawing(config)
    tokenizer = load_tokenizer(policy.folder, chat_template=config.chat_template)
    size, room = policy.config.vocab_size, policy.config.max_positions
    encoder = Encoder(
        tokenizer,
        size,
        template_kwargs=template_arguments(config.chat_template_kwargs),
        markers=config.markers_in_text,
    )
    # Without a template it is a base model, which goes on from text.
    plain = config.plain or tokenizer.template is None
    # Encoded before weights are loaded, so that a bad row is told in seconds.
    prompts = [encoder.prompt(record).tolist() for record in _records(config, plain)]
    longest = max(map(len, prompts), default=0)
    # Only the default gives way to the context; a number of the user's is refused.
    if config.max_new_tokens is None:
        settings = _within(settings, room - longest)
    check_prompts(prompts, size, room, settings.max_new_tokens)
    console = open_console()
    _tell(settings, policy.folder, console)
    if not plain:
        tell_clock(tokenizer, console)
    tell_notes(encoder, console)
    ends = ends_of(tokenizer, settings.stop, min_new_tokens=settings.min_new_tokens)
    total = len(prompts) * config.num_samples
    with sampling_shown("completions", total) as progress:
        done = generate(
            policy.decoder(tokenizer),
            policy.load(),
            prompts,
            jax.random.key(config.seed),
            stop_ids=tokenizer.stop_ids,
            num_samples=config.num_samples,
            batch_size=min(config.batch_size, total),
            ends=ends,
            progress=progress,
            # The stop texts are in `ends`.
            **{k: v for k, v in settings._asdict().items() if k != "stop"},
        )
    ids = done.ids()
    texts = [tokenizer.decode(x, skip_special=True) for x in ids]
    if ends is not None:
        # The last token may say more than the stop text that it completes.
        for i in np.flatnonzero(done.by_text):
            before = tokenizer.decode(ids[i][:-1], skip_special=True)
            texts[i] = ends.cut(texts[i], before)
    rows = []
    for i, text in enumerate(texts):
        prompt = tokenizer.decode(prompts[i // config.num_samples])
        stopped = bool(done.stopped[i])
        rows.append({"prompt": prompt, "completion": text, "stopped": stopped})
        console.print(printable(prompt), style="dim", end="")
        console.print(printable(text), style="green")
    if config.output:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        text = "\n".join(lines) + "\n"
        with naming(config.output):  # maybe a pipe: it is written as it is
            Path(config.output).write_bytes(text.encode("utf-8", "backslashreplace"))
    return 0


def _refuse_flags_of_drawing(config: Config) -> None:
    """Of flags that say how tokens are drawn, at temperature 0: it would draw none."""
    # Values that switch a filter off are true there, too.
    idle = {
        "top_k": (None, 0, -1),
        "top_p": (None, 1.0),
        "min_p": (None, 0.0),
        "num_samples": (1,),
    }
    given = [k for k, off in idle.items() if getattr(config, k) not in off]
    if given:
        flags = ", ".join("--" + k.replace("_", "-") for k in given)
        raise UserError(
            f"{flags}: at temperature 0 the likeliest token is taken each time, so "
            "every completion of a prompt would be the same. Pass --temperature 1, or "
            "another number above 0, to sample; or leave this out."
        )


def _within(settings: SamplingSettings, room: int) -> SamplingSettings:
    """The same with no more new tokens than the model reads behind the prompts."""
    most = max(1, min(settings.max_new_tokens, room))
    least = min(settings.min_new_tokens, most)
    return settings._replace(max_new_tokens=most, min_new_tokens=least)


def _make_room(output: str, data: str | None) -> None:
    """Finds out before anything is computed whether the file can be written."""
    if data is not None and os.path.realpath(output) == os.path.realpath(data):
        raise UserError(
            f"--output {output} is the file of --data, and its rows would be lost. "
            "Name another file."
        )
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        # To append: what is there stays until there is something to replace it with.
        with Path(output).open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UserError(
            f"--output {output} cannot be written: {error.strerror}. Name a file in a "
            "folder of your own."
        ) from None


def _records(config: Config, plain: bool) -> Iterable[Any]:
    from jaxalign.data.records.read import open_rows, read_records
    from jaxalign.data.records.record import Message, PromptOnly

    if config.prompt is not None:
        text = config.prompt
        return [PromptOnly(text if plain else (Message("user", text),))]
    assert config.data is not None
    source, form = open_rows(
        config.data,
        "prompt",
        columns=config.columns,
        name=config.format,
        conversational=False if config.plain else None,
    )
    return read_records(source, form, limit=config.limit)


def _tell(settings: SamplingSettings, folder: Path, console) -> None:
    """Says how tokens are drawn, and what the checkpoint asks for in vain."""
    console.print(f"sampling: {settings}", style="dim")
    own = read_settings(folder)
    # Bad words of several tokens are not heeded; then the key is told.
    obeyed = [k for k in _OBEYED if k != "bad_words_ids" or not long_bad_words(own)]
    left = not_obeyed(own, obeyed)
    if left:
        console.print(
            f"{FILE} also says {left}, which jaxalign does not do",
            style="yellow",
        )


def sampling_settings(config: Config, folder: Path) -> SamplingSettings:
    """How to draw: flags first, then `generation_config.json`, then the likeliest.

    Raises:
      UserError: The file holds a value that means nothing.
    """
    own = read_settings(folder)
    sampled = own.get("do_sample")
    if sampled not in (None, True, False):
        raise UserError(
            f"{folder / FILE}: `do_sample` is {sampled!r}; true or false is wanted. "
            "Correct the file, or remove the key."
        )
    # A temperature above 0 asks for sampling, whatever the file says.
    drawn = bool(sampled) or (config.temperature or 0.0) > 0
    settings = checkpoint_sampling(
        own, folder / FILE, sampled=drawn, max_new_tokens=_MAX_NEW_TOKENS
    )
    names = ("temperature", "top_p", "min_p", "repetition_penalty", "max_new_tokens")
    flags = {k: v for k in names if (v := getattr(config, k)) is not None}
    if config.top_k is not None:
        flags["top_k"] = config.top_k if config.top_k > 0 else None
    if config.stop:
        flags["stop"] = config.stop
    settings = settings._replace(**flags)
    least = min(settings.min_new_tokens, settings.max_new_tokens)
    return settings._replace(min_new_tokens=least)
