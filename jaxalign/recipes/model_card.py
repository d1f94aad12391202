"""The README.md of an exported model."""

import json
from collections.abc import Mapping
from typing import Any


def model_card(
    method: str,
    config: Mapping[str, Any],
    results: Mapping[str, float],
    versions: Mapping[str, Any],
) -> str:
    """Where a model comes from, as text for people.

    Args:
      method: What was done, such as `Direct Preference Optimization`.
      config: Every setting of the run.
      results: The last evaluation.
      versions: Of the library and what it stands on.
    """
    lines = [
        "# Model card",
        "",
        f"- Method: {method}, by jaxalign {versions['jaxalign']}",
        f"- Base model: `{config['model']}`; its licence applies to this model too",
        f"- Data: `{config['data']}`; its licence and terms apply as well",
        "",
        "## Results on held-out rows",
        "",
    ]
    if results:
        lines += ["| metric | value |", "| --- | ---: |"]
        lines += [f"| {k} | {v:.6g} |" for k, v in sorted(results.items())]
    else:
        lines.append("None were held out.")
    settings = json.dumps(config, indent=2, sort_keys=True)
    packages = ", ".join(f"{k} {v}" for k, v in versions["packages"].items() if v)
    return "\n".join(
        [
            *lines,
            "",
            "## Settings",
            "",
            "```json",
            settings,
            "```",
            "",
            f"Python {versions['python']}; {packages}.",
            "",
        ]
    )
