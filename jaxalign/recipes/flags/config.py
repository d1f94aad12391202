"""What the training recipes have in common: one frozen dataclass of settings."""

import dataclasses
from typing import Any, Literal

from jaxalign.errors import UserError
from jaxalign.recipes.flags.compute_type import ComputeType
from jaxalign.recipes.flags.paths import Found, Place, RowsAt, TemplateAt
from jaxalign.recipes.flags.seed_flag import check_seed
from jaxalign.training.optimizer import OptimizerConfig

MOST_EPOCHS = 1e6
MOST_STEPS = 2**31 - 1
"""What the count of updates on a device can hold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices lie along each axis; one of them may be -1, the rest."""

    data: int = 1
    """Number of replicas of the state, each with its own rows."""
    fsdp: int = -1
    """Number of devices over which rows and state are both split."""
    sequence: int = 1
    """Number of devices over which the positions of a row are split, for long rows."""
    tensor: int = 1
    """Number of devices over which matrices are split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which rows, how they are rendered, cut and laid out."""

    model: Found
    """Folder of a Hugging Face model, or its name on the hub."""
    data: RowsAt
    """A file, folder or glob, `a.jsonl:0.7,b.csv:0.3`, `tfds:NAME:SPLIT`, `hf:NAME`."""
    eval_data: RowsAt | None = None
    """Held-out rows of the same kind."""
    eval_fraction: float = 0.0
    """In place of `eval_data`: share of the prompts to hold out, chosen by a hash."""
    format: str | None = None
    """The rows' format or converter; found from the columns by default."""
    conversational: Literal["yes", "no"] | None = None
    """Whether text becomes messages for the chat template; by default as the rows."""
    columns: str | None = None
    """Renamed columns: `prompt=question,chosen=good`."""
    on_bad_row: Literal["error", "drop"] = "error"
    """Stop at a row that cannot be used, or drop and count it."""
    # More than this is the sign of a wrong format, not of bad rows.
    max_dropped: float = 0.01
    """Largest share of bad rows, in RL also of over-long ones, that may be dropped."""
    chat_template: TemplateAt | None = None
    """A `.jinja` file or a built-in template's name; the checkpoint's by default."""
    chat_template_kwargs: str | None = None
    """Arguments of the template: `enable_thinking=false,date=2026-01-01`."""
    template_time: str | None = None
    """The time that templates read, as 2026-01-31T12:00:00; by default the start of the
    run, which a resumed run goes on with."""
    markers_in_text: Literal["text", "refuse", "keep"] = "text"
    """Special tokens that the contents of messages spell: they stay text, or such rows
    are refused, or they become the tokens."""
    loss_on: Literal["all", "completion", "assistant", "last_assistant"] | None = None
    """Which tokens are trained; by default what the format suggests."""
    max_length: int = 1024
    """Longest sequence, in tokens, prompt included; never more than the model reads."""
    max_prompt_length: int | None = None
    """Longest prompt, in tokens."""
    on_long: Literal["drop", "error", "keep_end", "keep_start"] = "drop"
    """What happens to a row whose prompt leaves no room for a completion."""
    packing: bool = True
    """Lay several examples in a row; the update is the same without, only slower."""
    row_length: int | None = None
    """Positions of a packed row; by default chosen from the lengths."""
    allow_no_eos: bool = False
    """Go on when less than 99 % of the rows end in a trained stop token."""

    @property
    def reading(self) -> dict[str, Any]:
        """How rows are read: keywords of `open_rows`."""
        # No switch, because unset means something of its own: as the rows are.
        wanted = {None: None, "yes": True, "no": False}[self.conversational]
        return {
            "columns": self.columns,
            "name": self.format,
            "conversational": wanted,
        }

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        if not 0 <= self.eval_fraction < 1:
            raise UserError(
                f"eval_fraction must be in [0, 1), got {self.eval_fraction}"
            )
        if self.eval_fraction and self.eval_data:
            raise UserError(
                "eval_data and eval_fraction both say what to hold out; set one of them"
            )
        # A share, and no percentage: 5 would let all rows go.
        if not 0 <= self.max_dropped <= 1:
            raise UserError(f"max_dropped must be in [0, 1], got {self.max_dropped}")
        # Of two tokens one is read and one is predicted.
        if self.max_length < 2:
            raise UserError(f"max_length must be 2 or more, got {self.max_length}")
        if self.row_length is not None and self.row_length < 1:
            raise UserError(f"row_length must be 1 or more, got {self.row_length}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(DataConfig):
    """Settings that every training recipe has."""

    output_dir: Place
    """The run's folder: settings, metrics, checkpoints, plots, the exported model."""
    seed: int = 0
    """Seed of the order of rows and of everything random."""
    batch_size: int = 16
    """Examples (pairs) per update, over all devices."""
    microbatch_size: int | None = None
    """Rows that a device computes at a time; by default about 2,048 tokens of them."""
    num_train_epochs: float = 1.0
    """Passes over the rows."""
    max_steps: int | None = None
    """Number of updates, in place of `num_train_epochs`."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The update rule."""
    dtype: ComputeType = "auto"
    """Type of the matrix products; parameters stay float32. `auto`: bfloat16 on
    accelerators, float32 on CPUs."""
    remat: Literal["none", "dots", "up", "mlp", "full"] = "dots"
    """What the backward pass recomputes in place of keeping it."""
    attention: Literal["blocked", "naive"] = "blocked"
    """How attention is computed: block by block, or with all scores at once."""
    # 512 rows of 128,000 logits take 262 MB in float32, whatever the batch holds.
    chunk_size: int = 512
    """Number of positions whose logits are held at a time."""
    mesh: MeshConfig = MeshConfig()
    """The device mesh."""
    parallel: Literal["mesh", "pmap"] = "mesh"
    """`mesh` splits rows and state; `pmap` copies the state to every device."""
    save_steps: int = 100
    """Updates between checkpoints; one is written at the end in any case."""
    keep_last: int = 2
    """Number of checkpoints to keep, the newest."""
    eval_steps: int = 100
    """Updates between evaluations; one is made before the first and after the last."""
    logging_steps: int = 1
    """Updates per line of `metrics.jsonl`."""
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Mirrors of `metrics.jsonl`."""
    resume: str = "auto"
    """`auto` goes on where the folder's run stopped, `never` refuses a used folder."""
    allow_change: tuple[str, ...] = ()
    """Settings that may differ from those of the run that is resumed."""
    samples: int = 2
    """Number of held-out prompts to complete before and after training, to look at."""
    export: bool = True
    """Write `export/`, a Hugging Face folder, at the end."""
    dry_run: bool = False
    """Check data and model, then stop."""

    @property
    def keywords(self) -> dict[str, Any]:
        """Those of the function that the command is about; see `with_keywords`."""
        return {}

    @property
    def layout(self) -> dict[str, Any]:
        """How every model of the run is computed: keywords of `open_policy`."""
        return {
            "dtype": self.dtype,
            "remat": self.remat,
            "attention": self.attention,
            "parallel": self.parallel,
            "mesh_sizes": dataclasses.asdict(self.mesh),
        }

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        positive = ("batch_size", "save_steps", "keep_last", "eval_steps")
        for name in (*positive, "logging_steps", "chunk_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("microbatch_size", "max_steps", "max_prompt_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.samples < 0:  # in a slice it would be all rows but the last
            raise UserError(f"samples must be 0 or more, got {self.samples}")
        if self.parallel == "pmap" and self.mesh != MeshConfig():
            default = dataclasses.asdict(MeshConfig())
            sizes = dataclasses.asdict(self.mesh).items()
            given = ", ".join(f"mesh.{k} {v}" for k, v in sizes if v != default[k])
            raise UserError(
                f"{given}: parallel pmap has no mesh, it copies the state to every "
                "device. Leave this out, or pass --parallel mesh."
            )
        # In this form NaN is refused, too.
        if not 0 < self.num_train_epochs <= MOST_EPOCHS:
            raise UserError(
                f"num_train_epochs must be positive, and {MOST_EPOCHS:g} at most, got "
                f"{self.num_train_epochs:g}"
            )
        if (self.max_steps or 0) > MOST_STEPS:
            raise UserError(f"max_steps must be {MOST_STEPS} at most, got a larger one")
        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingConfig(TrainingConfig):
    """Settings of the recipes whose model writes completions."""

    max_new_tokens: int = 64
    """Longest completion among those samples, in tokens."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if self.max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens must be 1 or more, got {self.max_new_tokens}"
            )
