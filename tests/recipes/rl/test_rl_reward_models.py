"""Other models in a run: what scores the answers, and what the critic starts from."""

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import Transformer, load_params, read_config, scalar_scores
from jaxalign.recipes import grpo, ppo, reward
from jaxalign.recipes.rl import scoring
from jaxalign.recipes.scoring import judge
from jaxalign.recipes.scoring.open_rewards import reward_digests
from jaxalign.rewards import Completion
from jaxalign.training import OptimizerConfig
from tests.recipes.rl.test_rl_runs import answers_of, lines_of, settings


def scores_by_hand(folder, sequences):
    """One padded row per sequence, without packing."""
    config = read_config(folder)
    model, rows = Transformer(config), np.zeros((len(sequences), 64), np.int32)
    ends = np.array([[len(ids) - 1] for ids in sequences], np.int32)
    for row, ids in zip(rows, sequences, strict=True):
        row[: len(ids)] = ids
    run = jax.jit(lambda p, x, at: scalar_scores(model, p, x, at))
    return np.asarray(run(load_params(folder, config), rows, ends))[:, 0]


def make_scoring(model, *texts, **changes):
    given = settings(model, "d", "r.py", "o", reward=texts, **changes)
    return scoring.make_scoring(ppo.Config(**given), load_tokenizer(model))


def test_a_reward_model_reads_prompt_and_answer_up_to_the_last_token(
    tiny_model, reward_model
):
    prompts, answers = [[1, 2, 3], [7]], [[9, 8, 259], [4, 4, 4, 4, 4]]
    completions = [
        Completion("?", "!", ids=a, prompt_ids=p, stopped=a[-1] == 259)
        for p, a in zip(prompts, answers, strict=True)
    ]
    scores = make_scoring(tiny_model, f"{reward_model}=-2", "stopped")(completions)
    whole = [p + a for p, a in zip(prompts, answers, strict=True)]
    expected = scores_by_hand(reward_model, whole)
    np.testing.assert_allclose(scores.values["taste"], expected, atol=1e-5)
    np.testing.assert_allclose(scores.total, -2 * expected + [1, 0], atol=1e-5)


def test_a_reward_model_with_other_words_is_refused(tiny_model, reward_model, tmp_path):
    other = shutil.copytree(reward_model, tmp_path / "other")
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace("<|im_start|>", "<|begin|>"))
    with pytest.raises(UserError, match="another vocabulary than the policy's"):
        make_scoring(tiny_model, str(other))


def other_words(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<|im_start|>", "<|begin|>"))


def fewer_embeddings(folder):
    """One less than the tokens of the tokenizer, 260."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    name = next(x for x in tensors if x.endswith("embed_tokens.weight"))
    tensors[name] = np.ascontiguousarray(tensors[name][:259])
    save_file(tensors, file, metadata={"format": "pt"})
    change_config(folder, vocab_size=259)


def shorter_context(folder):
    change_config(folder, max_position_embeddings=8)


def change_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_words, "another vocabulary than the policy's"),
        (fewer_embeddings, "has 259 embeddings, and ids go up to 259"),
        (shorter_context, "reads 8 tokens, and the longest prompt has"),
    ],
)
def test_a_critic_that_cannot_read_the_policy_s_tokens_is_refused(
    tiny_model, reward_model, prompts, reward_file, tmp_path, spoil, message
):
    """In a dry run, which loads no weights, and with the model itself all is well."""
    given = settings(tiny_model, prompts, reward_file, tmp_path / "o", dry_run=True)
    assert ppo.main(ppo.Config(**given, critic=str(reward_model))) == 0
    critic = shutil.copytree(reward_model, tmp_path / "critic")
    spoil(critic)
    with pytest.raises(UserError, match=message):
        ppo.main(ppo.Config(**given, critic=str(critic)))


@pytest.mark.slow
def test_a_trained_reward_model_judges_and_becomes_the_critic(
    tiny_model, pairs, prompts, tmp_path, monkeypatch
):
    trained = reward.Config(
        model=str(tiny_model),
        data=str(pairs),
        output_dir=str(tmp_path / "taste"),
        batch_size=8,
        max_length=128,
        row_length=256,
        max_steps=4,
        samples=0,
        optimizer=OptimizerConfig(learning_rate=3e-3),
    )
    assert reward.main(trained) == 0
    folder = tmp_path / "taste" / "export"
    seen: list[Completion] = []
    monkeypatch.setattr(
        scoring, "score", lambda r, c, old=scoring.score: (seen.extend(c), old(r, c))[1]
    )
    options = {"max_steps": 2, "reward": (str(folder),), "critic": str(folder)}
    given = settings(tiny_model, prompts, "r.py", tmp_path / "run", **options)
    config = ppo.Config(**given, num_ppo_epochs=1)
    assert ppo.main(config) == 0
    whole = [[*x.prompt_ids, *x.ids] for x in seen]
    found = [x["reward"] for step in (1, 2) for x in answers_of(tmp_path / "run", step)]
    np.testing.assert_allclose(found, scores_by_hand(folder, whole), atol=1e-4)
    lines = lines_of(tmp_path / "run")
    assert all("rewards/taste/mean" in x for x in lines)
    assert lines[0]["loss/value_avg"] > 0

    start = ppo.open_critic(config).load(jax.random.key(0))
    expected = load_params(folder, read_config(folder))
    assert jax.tree.all(jax.tree.map(np.array_equal, start, expected))


def test_a_judge_is_asked_about_the_question_and_not_the_marks_of_a_template(
    tiny_model, tmp_path, monkeypatch
):
    asked, opened = [], []

    def respond(requests):
        asked.extend(requests)
        return [f"Hm. [[{len(x) % 7}]]" for x in requests[:-1]] + ["no grade"]

    def open_checkpoint(name, *, dtype):
        opened.append((name, dtype))
        return name

    monkeypatch.setattr(judge, "open_checkpoint", open_checkpoint)
    monkeypatch.setattr(judge, "respond_of", lambda name, size, **_: respond)
    template = tmp_path / "ask.txt"
    template.write_text("{prompt}|{completion}|{topic}")
    text = f"judge(model='{tiny_model}', template='{template}', highest=6, lowest=0)=3"
    scored = make_scoring(tiny_model, text, "stopped")
    marks = "<|im_start|>user\nWhy?<|im_end|>\n"
    completions = [
        Completion(
            marks,
            answer,
            messages=[{"role": "user", "content": "Why?"}],
            columns={"topic": "sky"},
        )
        for answer in ("So.", "So!!", "No.")
    ]
    scores = scored(completions)
    assert asked == ["Why?|So.|sky", "Why?|So!!|sky", "Why?|No.|sky"]
    assert opened == [(str(tiny_model), "auto")]
    grades = [12 % 7 / 6, 13 % 7 / 6, np.nan]
    np.testing.assert_allclose(scores.values["judge"], grades)
    np.testing.assert_allclose(scores.total, [3 * 5 / 6 + 1, 3 * 6 / 6 + 1, 1])
    scored(completions)
    assert len(opened) == 1


def test_a_judge_compares_the_answers_to_a_question(tiny_model, tmp_path, monkeypatch):
    asked, opened = [], []

    def respond(requests):
        """The longer answer, wherever it stands."""
        asked.extend(requests)
        lengths = [[len(x) for x in request.split("|")[1:]] for request in requests]
        return ["[[A]]" if a > b else "[[B]]" for a, b in lengths]

    def open_checkpoint(name, *, dtype):
        opened.append((name, dtype))
        return name

    monkeypatch.setattr(judge, "open_checkpoint", open_checkpoint)
    monkeypatch.setattr(judge, "respond_of", lambda name, size, **_: respond)
    template = tmp_path / "ask.txt"
    template.write_text("{prompt}|{first}|{second}")
    text = f"rival_judge(model='{tiny_model}', template='{template}')=2"
    scored = make_scoring(tiny_model, text)
    completions = [
        Completion(
            "<|im_start|>user\nWhy?<|im_end|>\n",
            answer,
            index=i,
            messages=[{"role": "user", "content": "Why?"}],
        )
        for i, answer in ((0, "So."), (0, "So it is."), (1, "Because."), (1, "Hm."))
    ]
    scores = scored(completions)
    there = ["Why?|So.|So it is.", "Why?|Because.|Hm."]
    back = ["Why?|So it is.|So.", "Why?|Hm.|Because."]
    assert asked == there + back
    assert opened == [(str(tiny_model), "auto")]
    np.testing.assert_array_equal(scores.values["rival_judge"], [0, 1, 1, 0])
    np.testing.assert_array_equal(scores.total, [0, 2, 2, 0])
    assert set(reward_digests([text])) == {
        f"reward:{tiny_model}",
        f"reward:{template}",
    }


def test_mistakes_about_models_are_named_before_anything_is_loaded(
    tiny_model, tmp_path
):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("{prompt} only")
    for text, message in (
        ("judge", "needs the parameter `model`"),
        ("judge(model='no such folder')", "There is no folder"),
        (f"judge(model='{tiny_model}', template='x.txt')", "x.txt cannot be read"),
        (f"judge(model='{tiny_model}', template='{wrong}')", r"no {completion}"),
        (f"judge(model='{tiny_model}', lowest=11)", "must be below highest"),
        ("rival_judge", "needs the parameter `model`"),
        ("rival_judge(model='no such folder')", "There is no folder"),
        (f"rival_judge(model='{tiny_model}', template='{wrong}')", "no {first} and"),
        (str(tiny_model), "is a language model: it gives no scores"),
    ):
        with pytest.raises(UserError, match=message):
            make_scoring(tiny_model, text)


def test_a_changed_judge_or_template_is_another_run(tiny_model, tmp_path):
    template = tmp_path / "ask.txt"
    template.write_text("{prompt} {completion}")
    text = f"judge(model='{tiny_model}', template='{template}')=2"
    before = reward_digests([text, "stopped"])
    assert set(before) == {f"reward:{tiny_model}", f"reward:{template}"}
    template.write_text("{prompt} {completion}!")
    after = reward_digests([text, "stopped"])
    assert [k for k in before if before[k] != after[k]] == [f"reward:{template}"]


def test_two_reward_models_of_one_name_have_a_digest_each(reward_model, tmp_path):
    first, second = (tmp_path / name / "export" for name in ("taste", "safety"))
    for folder in (first, second):
        shutil.copytree(reward_model, folder)
    texts = [str(first), f"{second}=0.5"]
    before = reward_digests(texts)
    assert len(before) == 2
    with (first / "config.json").open("a") as file:
        file.write(" ")
    after = reward_digests(texts)
    assert [k for k in before if before[k] != after[k]] == [f"reward:{first}"]


@pytest.mark.slow
def test_a_checkpoint_judges_in_a_run(
    tiny_model, prompts, reward_file, tmp_path, monkeypatch
):
    """It has learned nothing and gives no grade: the other reward decides."""
    monkeypatch.setattr(judge, "LONGEST_VERDICT", 4)
    template = tmp_path / "ask.txt"
    template.write_text("{prompt} {completion} {first} {second}")
    asked = f"judge(model='{tiny_model}', template='{template}')"
    rewards = (f"{reward_file}:even", asked, f"rival_{asked}")
    options = {"max_steps": 1, "reward": rewards, "num_generations": 2}
    out = tmp_path / "run"
    config = grpo.Config(**settings(tiny_model, prompts, reward_file, out, **options))
    assert grpo.main(config) == 0
    for line in answers_of(tmp_path / "run", 1):
        assert line["rewards"]["judge"] is None
        assert line["rewards"]["rival_judge"] is None
        assert line["reward"] == line["rewards"]["even"]
