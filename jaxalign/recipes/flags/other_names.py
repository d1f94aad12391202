"""Settings by the names that other trainers have for them."""

import sys

from jaxalign.errors import UserError

ALIASES = {
    "save_total_limit": "keep_last",
    "resume_from_checkpoint": "resume",
    "report_to_backend": "report_to",
    "lr": "optimizer.learning_rate",
    "max_completion_length": "max_new_tokens",
    "learning_rate": "optimizer.learning_rate",
    "lr_scheduler_type": "optimizer.schedule",
    "warmup_ratio": "optimizer.warmup_ratio",
    "warmup_steps": "optimizer.warmup_steps",
    "weight_decay": "optimizer.weight_decay",
    "max_grad_norm": "optimizer.max_grad_norm",
    "max_seq_length": "max_length",
    "model_name_or_path": "model",
}
"""Other trainers' names that mean exactly one of ours."""

REFUSED = {
    "per_device_train_batch_size": "`batch_size` is global: set it to per-device size "
    "x devices x accumulation steps, e.g. 4 x 8 x 2 = 64",
    "gradient_accumulation_steps": "`batch_size` is global and `microbatch_size` says "
    "how many rows a device holds at a time; accumulation follows from the two",
    "fp16": "use `--dtype bfloat16`; parameters stay float32",
    "bf16": "use `--dtype bfloat16`; parameters stay float32",
    "per_device_eval_batch_size": "held-out rows come in batches of `batch_size`, and "
    "a device computes `microbatch_size` rows at a time",
    "loss_type": "use `--loss NAME`, in grpo `--algorithm NAME`; the page of losses "
    "(jaxalign/losses/README.md) has TRL's names too: `sigmoid` is `dpo_loss`",
    "dataset_name": "use `--data hf:OWNER/NAME:SPLIT`",
    "eval_strategy": "use `--eval-steps N`",
    "save_strategy": "use `--save-steps N`",
    "use_peft": "all parameters are trained; there are no adapters here",
    "gradient_checkpointing": "use `--remat full` (or `none`, `dots`)",
}
"""Other trainers' names that do not map one-to-one, and what to do in place."""


def translate(argv: list[str], names) -> list[str]:
    """Other trainers' flags in our words, or refused with the conversion."""
    out = []
    for arg in argv:
        name, eq, value = arg.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not arg.startswith("--") or name in names:
            out.append(arg)
        elif name in REFUSED:
            raise UserError(f"--{name.replace('_', '-')}: {REFUSED[name]}.")
        elif name in ALIASES:
            print(f"--{name} is `{ALIASES[name]}` here", file=sys.stderr)
            out.append("--" + ALIASES[name].replace("_", "-") + eq + value)
        else:
            out.append(arg)
    return out
