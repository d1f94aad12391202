"""The quickstart's pieces, quickly; all of it, with its expected numbers, slowly."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.quickstart import ppo, report, training
from experiments.quickstart.answers import judge
from experiments.quickstart.model import make_model
from experiments.quickstart.tokens import (
    WIDTH,
    encode_answers,
    encode_texts,
    make_vocabulary,
)
from experiments.quickstart.world import ABSTENTION, make_world, write_corpus
from jaxalign.models import init_params


def test_the_world_is_a_function_of_its_seed():
    one, same, other = make_world(0), make_world(0), make_world(1)
    assert one.people == same.people
    assert write_corpus(one, 0, 50) == write_corpus(same, 0, 50)
    assert one.people != other.people
    assert write_corpus(one, 0, 50) != write_corpus(one, 1, 50)


def test_groups_are_of_equal_size_and_names_are_single_words():
    world = make_world(3)
    for training_half in (True, False):
        for known in (True, False):
            group = world.group(training=training_half, known=known)
            assert len(group) == len(world.people) // 4
    names = [*world.people, *world.cities]
    assert len(set(names)) == len(names)
    assert not any(" " in name for name in names)
    assert len(world.cities) >= 50


def test_only_facts_about_known_people_are_told_and_everybody_is_met():
    world = make_world(0)
    met, told = set(), set()
    for text in write_corpus(world, 0, 24_000):
        words = set(text.split())
        people = words & set(world.people)
        met |= people
        if words & set(world.cities):
            told |= people
    assert met == set(world.people)
    assert told == {world.people[i] for i in np.flatnonzero(world.known)}


def test_text_survives_the_tokenizer():
    world = make_world(0)
    vocabulary = make_vocabulary(world.words())
    for text in (*write_corpus(world, 0, 200), world.question(5), ABSTENTION):
        ids = vocabulary.encode(text)
        assert len(ids) == len(text.split())
        assert vocabulary.decode([vocabulary.bos, *ids, vocabulary.eos]) == text
    with pytest.raises(Exception, match="UNK"):
        vocabulary.encode("Atlantis")


def test_each_target_is_the_token_behind_its_input():
    vocabulary = make_vocabulary(["where", "?", "Rome", "."])
    rows = encode_answers(vocabulary, ["where ?"], ["Rome ."]).tokens
    assert rows.inputs.shape == (1, 1, WIDTH)
    words = [vocabulary.tokenizer.id_to_token(i) for i in rows.inputs[0, 0, :5]]
    assert words == ["<bos>", "where", "?", "Rome", "."]
    trained = rows.target_mask[0]
    assert np.flatnonzero(trained).tolist() == [2, 3, 4]
    targets = [vocabulary.tokenizer.id_to_token(i) for i in rows.target_ids[0][trained]]
    assert targets == ["Rome", ".", "<eos>"]
    whole = encode_texts(vocabulary, ["where ? Rome ."]).tokens
    np.testing.assert_array_equal(whole.inputs, rows.inputs)
    assert whole.target_mask.sum() == 5


def test_pairs_prefer_what_is_true_and_abstention_to_what_is_not():
    pairs = training.abstention_pairs(
        ["a ?", "b ?", "c ?"],
        ["Rome .", "Oslo .", "Bonn ."],
        ["Rome .", "Rome .", ABSTENTION],
    )
    assert pairs == [("a ?", "Rome .", ABSTENTION), ("b ?", ABSTENTION, "Rome .")]


def test_every_row_is_used_once_before_any_is_used_twice():
    rows = training.shuffled_rows(10, num_steps=5, batch_size=4)
    assert rows.shape == (5, 4)
    assert sorted(rows.ravel()[:10]) == sorted(rows.ravel()[10:]) == list(range(10))


def test_fine_tuning_leaves_embeddings_alone():
    optimizer = training.without_embeddings(training.optax.sgd(1.0))
    params = {"embed": {"embedding": np.ones(3)}, "layers": np.ones(2)}
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert [x.any() for x in jax.tree.leaves(updates)] == [False, True]


def test_parameters_have_the_embedding_that_fine_tuning_freezes():
    model = make_model(30)
    shapes = jax.eval_shape(
        lambda key: init_params(model.transformer, key), jax.random.key(0)
    )
    assert shapes["embed"]["embedding"].shape[0] == 30


def test_experience_starts_at_the_reference_and_ppo_moves_policy_and_critic():
    world = make_world(0, num_people=8, num_cities=4)
    vocabulary = make_vocabulary(world.words())
    model = make_model(vocabulary.size)
    sft = jax.jit(lambda key: init_params(model.transformer, key))(jax.random.key(0))
    score = {"kernel": np.zeros((sft["final_norm"]["scale"].size, 1), np.float32)}
    params = {"policy": sft, "critic": {**sft, "score": score}}
    questions = [world.question(i) for i in range(4)]
    batch = encode_answers(vocabulary, questions, [world.answer(i) for i in range(4)])
    mask = batch.tokens.target_mask
    scores = np.array([1, 0, -1, 1], np.float32)
    found = jax.jit(ppo.assess(model))(params, sft, batch.tokens, scores)

    # No KL yet and a critic that knows nothing: with values of 0 the advantage of a
    # token is the score, discounted by lambda for each token before the last.
    behind = np.where(mask, mask.sum(1, keepdims=True), 0)
    behind = behind - np.cumsum(mask, axis=1) * mask
    returns = np.where(mask, scores[:, None] * 0.95**behind, 0)
    np.testing.assert_allclose(found["returns"], returns, atol=1e-6)
    inside = np.asarray(found["advantages"])[mask]
    np.testing.assert_allclose([inside.mean(), inside.std()], [0, 1], atol=1e-4)

    optimizer = ppo.without_policy_embeddings(training.optax.sgd(1.0))
    step = jax.jit(training.make_train_step(ppo.objective_of(model), optimizer))
    start = training.TrainState.create(params, optimizer, jax.random.key(0))
    state, metrics = step(start, batch.with_tokens(**found))
    assert metrics["val/ratio"].value == 1
    moved = jax.tree.map(lambda x, y: bool(np.any(x != y)), params, state.params)
    assert not moved["policy"]["embed"]["embedding"]
    assert moved["policy"]["unembed"]["kernel"]
    assert moved["critic"]["score"]["kernel"]


def test_the_check_tells_numbers_that_are_off():
    shares = judge(["Rome .", "Oslo ."], ["Rome .", "Rome ."])
    results = {"SFT": {"unknown": shares, "known": shares}}
    line = {"model": "SFT", "group": "unknown", "outcome": "wrong", "measured": 0.5}
    console = Console(quiet=True)
    for low, high, ok in [(0.4, 0.6, True), (0.6, 1.0, False), (0.0, 0.4, False)]:
        expected = {"checks": [{**line, "at_least": low, "at_most": high}]}
        assert report.check(results, expected, console) is ok


@pytest.mark.slow
def test_the_whole_run_gives_the_expected_numbers(tmp_path):
    command = [sys.executable, "-m", "experiments.quickstart.run", "--check"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["stages"]) >= {"base", "SFT", "DPO", "PPO"}
    assert (tmp_path / "answers.png").stat().st_size > 5_000
