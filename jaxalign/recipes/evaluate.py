"""`jaxalign evaluate`: how good a model is, with intervals."""

from jaxalign.recipes.evaluation.config import Config as Config


def main(config: Config) -> int:
    """Prints what was measured and writes it to the output folder."""
    import tempfile
    from pathlib import Path

    from jaxalign.recipes.evaluation.report import show, write
    from jaxalign.recipes.evaluation.run import evaluate
    from jaxalign.recipes.inputs.display import open_console

    console, folder = open_console(), Path(config.output_dir)
    # Whether anything can be written there shows before anything is computed.
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    results = evaluate(config, console)
    show(results, console)
    write(results, folder)
    console.print(f"written: {config.output_dir}")
    return 0
