"""One task of Tunix's trainers, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.tunix_peer --task sft --shape A

Run it with an interpreter that has google-tunix.
"""

import importlib.metadata
from typing import Any

import numpy as np

from experiments.benchmarks import shapes
from experiments.benchmarks.clock import Laps, arguments, report_updates
from experiments.benchmarks.ids import Row, updates_of


def model_of(shape: shapes.Shape):
    import jax
    from flax import nnx
    from tunix.models.llama3 import model as llama  # pyright: ignore[reportMissingImports]

    config = llama.ModelConfig(
        num_layers=shape.layers,
        vocab_size=shape.vocab,
        embed_dim=shape.width,
        hidden_dim=shape.ffn,
        num_heads=shape.heads,
        head_dim=shape.width // shape.heads,
        num_kv_heads=shape.kv_heads,
        rope_theta=10_000,
        norm_eps=1e-5,
        weight_tying=shape.tied,
        remat_config=llama.RematConfig.NONE,
    )
    model = llama.Llama3(config, rngs=nnx.Rngs(0))
    # Its own start has zeros in the MLPs and large embeddings; the others do not.
    keys = iter(jax.random.split(jax.random.key(0), 10_000))

    def normal(x):
        return x if x.ndim < 2 else 0.02 * jax.random.normal(next(keys), x.shape)

    nnx.update(model, jax.tree.map(normal, nnx.state(model, nnx.Param)))
    return model


def padded(sequences: list[list[int]], length: int, pad: int, *, left: bool = False):
    """Ids and mask `[B, length]`."""
    ids = np.full((len(sequences), length), pad, np.int32)
    mask = np.zeros((len(sequences), length), bool)
    for i, sequence in enumerate(sequences):
        where = slice(length - len(sequence), None) if left else slice(len(sequence))
        ids[i, where], mask[i, where] = sequence, True
    return ids, mask


def unused_id(updates: list[list[Row]]) -> int:
    """An id for padding that no row has."""
    used = {i for update in updates for row in update for x in row for i in x.ids}
    return next(i for i in range(len(used) + 1) if i not in used)


def sft_batches(updates: list[list[Row]], at_a_time: int):
    """Updates in microbatches, all rows as long as the longest."""
    from tunix.sft import peft_trainer  # pyright: ignore[reportMissingImports]

    length = max(len(x.ids) for update in updates for row in update for x in row)
    pad = unused_id(updates)

    def batch(rows: list[Row]):
        ids, mask = padded([x.ids for (x,) in rows], length, pad)
        trained = mask & (np.arange(length) >= np.array([[x.prompt] for (x,) in rows]))
        return peft_trainer.TrainingInput(input_tokens=ids, input_mask=trained)

    return cut(updates, at_a_time, batch), f"rows of {length}", pad


def dpo_batches(updates: list[list[Row]], at_a_time: int):
    """Updates in microbatches, prompts and responses as long as the longest of each."""
    from tunix.sft.dpo import dpo_trainer  # pyright: ignore[reportMissingImports]

    responses = [x for update in updates for row in update for x in row]
    prompt = max(x.prompt for x in responses)
    answer = max(len(x.ids) - x.prompt for x in responses)

    def batch(rows: list[Row]):
        fields: dict[str, Any] = {}
        prompts = [x.ids[: x.prompt] for x, _ in rows]
        ids, mask = padded(prompts, prompt, 0, left=True)
        fields |= {"prompt_ids": ids, "prompt_mask": mask}
        for i, side in enumerate(("chosen", "rejected")):
            answers = [row[i].ids[row[i].prompt :] for row in rows]
            ids, mask = padded(answers, answer, 0)
            fields |= {f"{side}_ids": ids, f"{side}_mask": mask}
        return dpo_trainer.TrainingInput(**fields)

    return cut(updates, at_a_time, batch), f"prompt {prompt} + response {answer}"


def cut(updates, at_a_time: int, batch):
    return [
        [batch(rows[at : at + at_a_time]) for at in range(0, len(rows), at_a_time)]
        for rows in updates
    ]


def optimizer_of():
    import optax

    adamw = optax.adamw(shapes.LEARNING_RATE, weight_decay=0.0)
    return optax.chain(optax.clip_by_global_norm(shapes.MAX_GRAD_NORM), adamw)


def sft_trainer(args, updates, accumulate: int, at_a_time: int):
    from tunix.sft import peft_trainer, utils  # pyright: ignore[reportMissingImports]

    batches, layout, pad = sft_batches(updates, at_a_time)

    def model_input(x):
        mask = x.input_tokens != pad
        return {
            "input_tokens": x.input_tokens,
            "input_mask": x.input_mask,
            "positions": utils.build_positions_from_mask(mask),
            "attention_mask": utils.make_causal_attn_mask(mask),
        }

    config = peft_trainer.TrainingConfig(
        eval_every_n_steps=10**9, gradient_accumulation_steps=accumulate
    )
    model = model_of(shapes.SHAPES[args.shape])
    trainer = peft_trainer.PeftTrainer(model, optimizer_of(), config)
    return trainer.with_gen_model_input_fn(model_input), batches, layout


def dpo_trainer(args, updates, accumulate: int, at_a_time: int):
    from tunix.sft.dpo import dpo_trainer as dpo  # pyright: ignore[reportMissingImports]

    batches, layout = dpo_batches(updates, at_a_time)
    shape = shapes.SHAPES[args.shape]
    config = dpo.DPOTrainingConfig(
        eval_every_n_steps=10**9,
        gradient_accumulation_steps=accumulate,
        beta=shapes.DPO_BETA,
    )
    trainer = dpo.DPOTrainer(
        model=model_of(shape),
        ref_model=model_of(shape),
        optimizer=optimizer_of(),
        training_config=config,
    )
    return trainer, batches, layout + ", reference in the step"


def measure(args):
    import jax

    updates = updates_of(args.task, shapes.SHAPES[args.shape], args.rows, args.steps)
    batch, preference = len(updates[0]), len(updates[0][0]) == 2
    at_a_time = args.per_device or (batch if not args.rows else 2 if preference else 4)
    if batch % at_a_time:
        raise SystemExit(f"--per-device {at_a_time} does not divide {batch} examples")
    accumulate = batch // at_a_time
    make = dpo_trainer if preference else sft_trainer
    trainer, batches, layout = make(args, updates, accumulate, at_a_time)
    step, _ = trainer.jit_train_and_eval_step(cache_nnx_graph=True)
    laps, losses = Laps(), []
    for update in batches:
        outs = [step(trainer._prepare_inputs(x)) for x in update]
        jax.block_until_ready(outs)
        losses.append(float(np.mean([np.asarray(out[0]) for out in outs])))
        laps.lap()
    first = laps.drop(1)
    report_updates(
        laps,
        updates,
        args,
        lib="tunix",
        version=importlib.metadata.version("google-tunix"),
        jax=jax.__version__,
        first_loss=losses[0],
        last_loss=losses[-1],
        first_step_s=first,
        settings=f"{at_a_time} examples a forward pass, {layout}",
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--per-device", type=int, help="examples of a forward pass")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
