"""`jaxalign generate`: let a model answer prompts."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxalign.errors import UserError
from jaxalign.recipes.paths import Found, Place, RowsAt, TemplateAt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Answer one prompt, or each row of a file, with a model folder."""

    model: Found
    """Folder of a Hugging Face model, or its name on the hub."""
    prompt: str | None = None
    """What to answer."""
    data: RowsAt | None = None
    """In place of `prompt`: rows with a `prompt`, in any format that has one."""
    output: Place | None = None
    """A JSONL file for prompts and answers; they are printed in any case."""
    plain: bool = False
    """Go on from the text as it is, in place of rendering it as a chat."""
    chat_template: TemplateAt | None = None
    """A `.jinja` file or a built-in template's name; the checkpoint's by default."""
    format: str | None = None
    """The rows' format or converter; found from the columns by default."""
    columns: str | None = None
    """Renamed columns: `prompt=question`."""
    limit: int | None = None
    """Rows to answer; all by default."""
    max_new_tokens: int = 128
    """Longest answer, in tokens."""
    temperature: float | None = None
    """0 takes the likeliest token; by default what the checkpoint says, else 0."""
    top_k: int | None = None
    """Sample among this many tokens only; by default what the checkpoint says."""
    top_p: float | None = None
    """Sample within this share of probability; by default what the checkpoint says."""
    num_samples: int = 1
    """Answers to each prompt."""
    batch_size: int = 16
    """Answers computed at a time."""
    seed: int = 0
    """Of the samples."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        if (self.prompt is None) == (self.data is None):
            raise UserError("give either --prompt TEXT or --data FILE")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit must be 1 or more, got {self.limit}")


def main(config: Config) -> int:
    """Prints each prompt with its answers."""
    import jax
    from rich.console import Console

    from jaxalign.data.text.encode import Encoder
    from jaxalign.data.text.tokenizer import load_tokenizer
    from jaxalign.recipes.policy import open_policy
    from jaxalign.recipes.samples import decoder_of
    from jaxalign.rollout import generate

    policy = open_policy(
        config.model,
        dtype=config.dtype,
        remat="none",
        attention="blocked",
        parallel="mesh",
        mesh_sizes={"fsdp": -1},
    )
    tokenizer = load_tokenizer(policy.folder, chat_template=config.chat_template)
    encoder = Encoder(tokenizer, policy.config.vocab_size)
    plain = config.plain or tokenizer.template is None
    prompts = [encoder.prompt(record).tolist() for record in _records(config, plain)]
    settings = sampling_settings(config, policy.folder)
    console = Console()
    console.print(f"{settings}", style="dim", highlight=False)
    answers = generate(
        decoder_of(policy.model),
        policy.load(),
        prompts,
        jax.random.key(config.seed),
        max_new_tokens=config.max_new_tokens,
        stop_ids=tokenizer.stop_ids,
        num_samples=config.num_samples,
        batch_size=min(config.batch_size, len(prompts) * config.num_samples),
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
    )
    rows = []
    for i, ids in enumerate(answers.ids()):
        prompt = tokenizer.decode(prompts[i // config.num_samples])
        answer = tokenizer.decode(ids, skip_special=True)
        stopped = bool(answers.stopped[i])
        rows.append({"prompt": prompt, "completion": answer, "stopped": stopped})
        console.print(prompt, style="dim", markup=False, end="")
        console.print(answer, style="green", markup=False)
    if config.output:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        Path(config.output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _records(config: Config, plain: bool) -> Iterable[Any]:
    from jaxalign.data.records.reading import open_rows, read_records
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
        dress="plain" if config.plain else None,
    )
    return read_records(source, form, limit=config.limit)


class Sampling(NamedTuple):
    """How tokens are drawn; see `jaxalign.rollout.generate`."""

    temperature: float
    top_k: int | None
    top_p: float


def sampling_settings(config: Config, folder: Path) -> Sampling:
    """Temperature, top-k and top-p: flags first, then `generation_config.json`."""
    file = folder / "generation_config.json"
    own = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    sampled = own.get("do_sample", False)
    temperature, top_k, top_p = config.temperature, config.top_k, config.top_p
    if temperature is None:
        temperature = float(own.get("temperature") or 1.0) if sampled else 0.0
    if top_k is None and sampled:
        top_k = own.get("top_k") or None
    if top_p is None:
        top_p = float(own.get("top_p") or 1.0) if sampled else 1.0
    return Sampling(temperature, top_k, top_p)
