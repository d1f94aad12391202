"""Pictures of confidences: whether they hold, and what they are good for."""

from jaxalign.recipes.evaluation.calibration import Diagrams


def paint_reliability(diagrams: Diagrams, axes) -> None:
    """How often what was stated with some confidence is right, in both binnings."""
    axes.plot([0, 1], [0, 1], "--", color="gray", linewidth=1, label="calibrated")
    total = sum(x["count"] for x in diagrams["equal_width"])
    for name, color in (("equal_width", "tab:blue"), ("equal_mass", "tab:orange")):
        bins = diagrams[name]
        axes.scatter(
            [x["confidence"] for x in bins],
            [x["accuracy"] for x in bins],
            [10 + 300 * x["count"] / total for x in bins],
            color=color,
            alpha=0.7,
            label=f"bins of {name.replace('_', ' ')}",
        )
    axes.set(xlabel="stated confidence", ylabel="accuracy")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_box_aspect(1)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def paint_risk_coverage(diagrams: Diagrams, axes) -> None:
    """What is wrong among the most confident answers, as more of them are kept."""
    points = diagrams["risk_coverage"]
    axes.plot([x["coverage"] for x in points], [x["risk"] for x in points], "-")
    axes.axhline(points[-1]["risk"], linestyle="--", color="gray", linewidth=1)
    axes.set(xlabel="coverage: share of answers kept", ylabel="risk: share wrong")
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.set_box_aspect(1)
    axes.grid(alpha=0.3)
