"""Demonstrations that state how often the model was right."""

from experiments.real_model.confidence import SAMPLES, knowing


def lines(prompt, *answers):
    """Completions of a prompt, right where they say Rome."""
    return [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": f"{answer}. Confidence: 50%",
            "outcome": "correct" if answer == "Rome" else "wrong",
        }
        for answer in answers
    ]


def test_a_demonstration_states_how_often_samples_were_right():
    often = lines("a", *["Rome"] * 7, "Oslo")
    never = lines("b", *["Oslo"] * 4, *["Bonn"] * 3, "Bern")
    assert len(often) == len(never) == SAMPLES
    first, second = knowing([*often, *never])
    assert [x["prompt"][0]["content"] for x in (first, second)] == ["a", "b"]
    said = [x["completion"][0]["content"] for x in (first, second)]
    assert said == ["Rome. Confidence: 80%", "Oslo. Confidence: 10%"]
