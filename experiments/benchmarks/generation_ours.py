"""Generation by jaxalign, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.generation_ours --shape A

Answers all of one length, or of very unequal lengths: by slots that are refilled, or
(`--plain`) batch after batch, each until its longest answer is over.
"""

import jax

import jaxalign
from experiments.benchmarks.generation_work import (
    BATCH,
    MEAN_LENGTH,
    NEW,
    QUEUE,
    arguments,
    prompts_of,
    report_generation,
    time_calls,
)
from experiments.benchmarks.ours import machine_of
from experiments.benchmarks.shapes import SHAPES
from jaxalign.rollout import decoder_of, generate
from jaxalign.training.host_memory import keep_freed_memory


def measure(args):
    keep_freed_memory()
    shape = SHAPES[args.shape]
    machine = machine_of(shape)
    params = machine.random_params(jax.random.key(0))
    decoder = decoder_of(machine.model)
    prompts = prompts_of(shape, QUEUE if args.unequal else BATCH)
    at_a_time = BATCH if args.plain else len(prompts)

    def call() -> list[int]:
        lengths = []
        for start in range(0, len(prompts), at_a_time):
            numbers = range(start, start + at_a_time)
            answers = generate(
                decoder,
                params,
                [prompts[i] for i in numbers],
                jax.random.key(1),
                max_new_tokens=NEW,
                stop_ids=range(shape.vocab // MEAN_LENGTH) if args.unequal else (),
                batch_size=BATCH,
                prompt_indices=numbers,
            )
            lengths += answers.lengths.tolist()
        return lengths

    report_generation(
        "unequal" if args.unequal else "generate",
        args,
        time_calls(call, args.steps),
        lib="jaxalign plain" if args.plain else "jaxalign",
        version=jaxalign.__version__,
        jax=jax.__version__,
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--unequal", action="store_true")
    parser.add_argument("--plain", action="store_true")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
