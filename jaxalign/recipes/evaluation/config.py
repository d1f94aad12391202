"""The settings of `jaxalign evaluate`."""

import dataclasses
import math
import re
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.recipes.flags.compute_type import ComputeType
from jaxalign.recipes.flags.paths import Found, Place, RewardAt, RowsAt, TemplateAt
from jaxalign.recipes.flags.seed_flag import check_seed
from jaxalign.recipes.flags.stop_flag import check_stop_texts

# Rewards that tell a right completion, a wrong one and none apart; parameters and a
# weight may stand behind a name, and no path goes on there.
_JUDGING = re.compile(
    r"(abstention|judged_abstention|brier|log_score|confidence_target)\s*([(=]|$)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Measure a model on held-out rows: all that the rows and flags allow.

    Demonstrations give perplexity, preference pairs also accuracy. With --reward,
    --reward-model or --judge the model completes the prompts, and that is scored.
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
    """Rewards of completions: `exact_match`, `abstention(wrong=-3)=0.5`, `a.py:fn`."""
    keep_special_tokens: bool = False
    """Show rewards the special tokens in completions, the stop token too."""
    reward_model: Found | None = None
    """Folder of a reward model of the same tokenizer, as another reward."""
    judge: Found | None = None
    """Folder of a language model that compares completions with those of `ref`, or
    one that is served: `rival_judge(url='http://host:8000/v1', model='NAME')`."""
    judge_template: Found | None = None
    """A text file with {prompt}, {first} and {second} that asks for [[A]] or [[B]]."""
    known: str | None = None
    """Column that says whether an answer can be known; splits the abstention table."""
    known_by: int | None = None
    """Samples of `ref` at temperature 1, in place of such a column: a question is known
    if at least half of them are right."""
    confidence: bool = False
    """Measure the confidences that completions state: calibration error, Brier score,
    AUROC, risk-coverage. Done anyway with --reward `brier` or `log_score`."""
    beta: float = 0.1
    """Strength beta of the implicit reward, beta (log p - log p of ref)."""
    format: str | None = None
    """The rows' format or converter; found from the columns by default."""
    columns: str | None = None
    """Renamed columns: `prompt=question,chosen=good`."""
    chat_template: TemplateAt | None = None
    """A `.jinja` file or a built-in template's name; the checkpoint's by default."""
    chat_template_kwargs: str | None = None
    """Arguments of the template: `enable_thinking=false,date=2026-01-01`."""
    template_time: str | None = None
    """The time that templates read, as 2026-01-31T12:00:00; by default now."""
    markers_in_text: Literal["text", "refuse", "keep"] = "text"
    """Special tokens that the contents of messages spell: they stay text, or such rows
    are refused, or they become the tokens."""
    limit: int | None = None
    """Number of rows to read; all by default."""
    max_length: int = 1024
    """Longest sequence of the data, prompt and completion, in tokens."""
    max_new_tokens: int = 128
    """Longest sampled completion, in tokens."""
    stop: tuple[str, ...] = ()
    """Texts at which a sampled completion ends, such as `</answer>`; may be given
    several times."""
    temperature: float = 1.0
    """Temperature of the sampler; 0 takes the likeliest token."""
    top_k: int | None = None
    """Number of likeliest tokens to sample among; 0 or unset for all."""
    top_p: float = 1.0
    """Share of probability to sample within."""
    num_samples: int = 1
    """Number of completions of each prompt; several also give best-of-n."""
    batch_size: int = 16
    """Number of rows computed at a time."""
    seed: int = 0
    """Seed of samples and intervals."""
    dtype: ComputeType = "auto"
    """Type of the matrix products; `auto` is bfloat16 on accelerators."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        sizes = "limit", "max_new_tokens", "num_samples", "batch_size", "known_by"
        for name in sizes:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.top_k is not None and self.top_k < -1:
            raise UserError(f"top_k must be 1 or more, or 0 for all, got {self.top_k}")
        # Told before likelihoods are computed, behind which completions are sampled.
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature must be 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        check_seed(self.seed)
        check_stop_texts(self.stop)
        if self.max_length < 2:
            raise UserError(f"max_length must be 2 or more, got {self.max_length}")
        if not self.beta > 0:
            raise UserError(f"beta must be positive, got {self.beta}")
        if self.judge and not self.ref:
            raise UserError(
                "--judge compares completions with those of another checkpoint. Name "
                "it with --ref."
            )
        if self.judge_template and not self.judge:
            raise UserError("--judge-template is of use only with --judge MODEL.")
        self._check_known()
        if self.temperature == 0 and self.num_samples > 1:
            raise UserError(
                "temperature 0 gives the same completion every time: set num_samples "
                "1, or a temperature above 0."
            )

    def _check_known(self) -> None:
        """Refuses what says that questions are known, where nothing is split by it."""
        judged = self.confidence or any(map(_JUDGING.match, self.reward))
        if self.known and not judged:
            raise UserError(
                "--known splits the abstention table, which needs --reward abstention "
                "or judged_abstention."
            )
        if self.known_by and not (judged and self.ref):
            raise UserError(
                "--known-by asks another checkpoint what is known: name it with --ref, "
                "and say with --reward abstention what is right."
            )
        if self.known_by and self.known:
            raise UserError(
                "--known and --known-by both say what is known: leave one of them out."
            )
