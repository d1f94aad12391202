"""`jaxalign evaluate`: how good a model is, with intervals."""

import dataclasses
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.recipes.paths import Found, Place, RewardAt, RowsAt, TemplateAt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Measure a model on held-out rows: all that the rows and flags allow.

    Demonstrations give perplexity, preference pairs also accuracy. With --reward,
    --reward-model or --judge the model answers the prompts, and its answers are scored.
    With --ref it is compared with another checkpoint: implicit rewards, KL, win rates.
    A reward model as --model is measured on preference pairs.
    """

    model: Found
    """Folder of a Hugging Face model, or its name on the hub."""
    data: RowsAt
    """Held-out rows: pairs, demonstrations or prompts, in any format."""
    output_dir: Place
    """Folder for `results.json`, `results.png` and `completions.jsonl`."""
    ref: Found | None = None
    """Another checkpoint of the same tokenizer, to compare with."""
    reward: tuple[RewardAt, ...] = ()
    """What scores answers: `exact_match`, `abstention(wrong=-3)=0.5`, `file.py:fn`."""
    reward_model: Found | None = None
    """Folder of a reward model of the same tokenizer, as another reward."""
    judge: Found | None = None
    """Folder of a language model that compares answers with those of `ref`."""
    judge_template: Found | None = None
    """A text file with {prompt}, {first} and {second} that asks for [[A]] or [[B]]."""
    known: str | None = None
    """Column that says whether an answer can be known; splits the abstention table."""
    beta: float = 0.1
    """Of the implicit reward, beta (log p - log p of ref)."""
    format: str | None = None
    """The rows' format or converter; found from the columns by default."""
    columns: str | None = None
    """Renamed columns: `prompt=question,chosen=good`."""
    chat_template: TemplateAt | None = None
    """A `.jinja` file or a built-in template's name; the checkpoint's by default."""
    limit: int | None = None
    """Rows to read; all by default."""
    max_length: int = 1024
    """Longest sequence with an answer of the data, in tokens."""
    max_new_tokens: int = 128
    """Longest sampled answer, in tokens."""
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int | None = None
    """Sample among this many tokens only."""
    top_p: float = 1.0
    """Sample within this share of probability."""
    num_samples: int = 1
    """Answers to each prompt; several also give best-of-n."""
    batch_size: int = 16
    """Rows computed at a time."""
    seed: int = 0
    """Of samples and intervals."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        for name in ("limit", "max_new_tokens", "num_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.max_length < 2:
            raise UserError(f"max_length must be 2 or more, got {self.max_length}")
        if not self.beta > 0:
            raise UserError(f"beta must be positive, got {self.beta}")
        if self.judge and not self.ref:
            raise UserError(
                "--judge compares answers with those of another checkpoint. Name it "
                "with --ref."
            )
        if self.judge_template and not self.judge:
            raise UserError("--judge-template is of use only with --judge MODEL.")
        if self.known and not any(x.startswith("abstention") for x in self.reward):
            raise UserError(
                "--known splits the abstention table, which needs --reward abstention."
            )
        if self.temperature == 0 and self.num_samples > 1:
            raise UserError(
                "temperature 0 gives the same answer every time: set num_samples 1, or "
                "a temperature above 0."
            )


def main(config: Config) -> int:
    """Prints what was measured and writes it to the output folder."""
    from pathlib import Path

    from rich.console import Console

    from jaxalign.recipes.evaluation.report import show, write
    from jaxalign.recipes.evaluation.run import evaluate

    console = Console()
    results = evaluate(config, console)
    show(results, console)
    write(results, Path(config.output_dir))
    console.print(f"written: {config.output_dir}", highlight=False)
    return 0
