"""`jaxalign evaluate`: how good a model is, with intervals."""

from jaxalign.recipes.evaluation.config import Config as Config


def main(config: Config) -> int:
    """Prints what was measured and writes it to the output folder."""
    from pathlib import Path

    from jaxalign.recipes.evaluation.report import show, write
    from jaxalign.recipes.evaluation.run import evaluate
    from jaxalign.recipes.inputs.display import open_console

    console = open_console()
    results = evaluate(config, console)
    show(results, console)
    write(results, Path(config.output_dir))
    console.print(f"written: {config.output_dir}", highlight=False)
    return 0
