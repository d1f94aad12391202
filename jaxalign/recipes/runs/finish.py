"""The end of a run: its model card, and the model as a Hugging Face folder."""

from typing import Any

from jaxalign.models import ModelConfig, PadToken, export_model
from jaxalign.os_errors import naming
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.recipes.runs.run_files import export_place, write_card


def finish(
    run: Run,
    policy: Policy,
    params: Any,
    *,
    method: str,
    config: ModelConfig | None = None,
    pad: PadToken | None = None,
) -> None:
    """Writes `README.md` and, if it is wanted, `export/`.

    Args:
      run: Whose steps are all made.
      policy: What was trained.
      params: One copy of its parameters.
      method: As the model card says it.
      config: Of what is exported; by default of the policy.
      pad: For a scalar head: the token to pad with, or None.
    """
    scores = policy.config.head == "score"
    # Before the export, which takes the card along.
    card = write_card(run.folder.path, method, run.config, policy.folder, scores=scores)
    export = export_place(run.folder, run.config, run.step, run.console)
    if export is not None:
        with naming(export):
            export_model(
                export,
                config or policy.config,
                params,
                source=policy.folder,
                card=card,
                pad=pad,
                chat=run.chat,
            )
        # Behind the export, so that one that was interrupted is written again.
        run.folder.export_written(run.step)
        run.console.print(f"after step {run.step} the model is in {export}")
    # Last: a run whose export fails is recorded with the error's code.
    run.finished()
