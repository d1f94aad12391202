"""Checkpoints come back bit for bit, in any layout, or with an error that helps."""

import json
import logging
import threading
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxalign.errors import UserError
from jaxalign.training import Checkpoints, chaos
from jaxalign.training.checkpoints import manifest, orbax_store
from jaxalign.training.stopping.exits import CheckpointSaveError


class Moments(NamedTuple):
    mu: dict
    count: jax.Array


def state(seed=0, width=24):
    """Random values (constant arrays compress away and hide damage), odd leaves."""
    rng = np.random.default_rng(seed)
    return {
        "params": {"kernel": jnp.asarray(rng.normal(size=(16, width)), jnp.float32)},
        "opt": (
            Moments(
                mu={"kernel": jnp.asarray(rng.normal(size=(16, width)), jnp.bfloat16)},
                count=jnp.asarray(16777217, jnp.int32),
            ),
            (),
        ),
        "key": jax.random.key(seed),
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
        "nothing": jnp.zeros((0, 3)),
    }


def raw(tree):
    """Every leaf as bytes; shares no code with the digests."""
    data = jax.tree.map(
        lambda x: jax.random.key_data(x) if "key<" in str(x.dtype) else x, tree
    )
    return [(str(x.dtype), x.shape, np.asarray(x).tobytes()) for x in leaves(data)]


def leaves(tree):
    return jax.tree.leaves(tree)


def saved(folder, *steps, **options: Any):
    options = {"keep_last": 9} | options
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(step, state(step), data={"position": step}, host={"s": 0.1})
    checkpoints.wait()
    return checkpoints


def restored(checkpoints, target=None, **options):
    found = checkpoints.restore(state() if target is None else target, **options)
    assert found is not None
    return found


def test_everything_comes_back_bit_for_bit(tmp_path):
    found = restored(saved(tmp_path, 3, 5))
    assert (found.step, found.data, found.host) == (5, {"position": 5}, {"s": 0.1})
    assert raw(found.state) == raw(state(5))
    assert jax.tree.structure(found.state) == jax.tree.structure(state(5))
    assert found.state["keys"].dtype == state()["keys"].dtype
    jax.random.normal(found.state["key"], (2,))


def test_a_step_can_be_chosen(tmp_path):
    checkpoints = saved(tmp_path, 3, 5)
    assert raw(restored(checkpoints, step=3).state) == raw(state(3))
    with pytest.raises(UserError, match=r"/4 cannot be used.*there are \[3, 5\]"):
        checkpoints.restore(state(), step=4)


def test_a_part_is_read_alone(tmp_path):
    checkpoints = saved(tmp_path, 3)
    assert {"params/kernel", "key", "opt/0/mu/kernel"} <= {*checkpoints.leaves()}
    part = restored(checkpoints, state()["params"], inside=("params",)).state
    assert raw(part) == raw(state(3)["params"])
    other = {"bias": state()["params"]["kernel"]}
    with pytest.raises(UserError, match="params/bias is wanted by this run"):
        checkpoints.restore(other, inside=("params",))
    assert Checkpoints(tmp_path / "new").leaves() == []
    assert checkpoints.leaves(4) == []
    (tmp_path / "3" / "MANIFEST.json").write_text("{}")
    assert checkpoints.leaves(3) == checkpoints.leaves() == []


def test_no_checkpoint_is_none(tmp_path):
    assert Checkpoints(tmp_path / "new").restore(state()) is None
    assert Checkpoints(tmp_path / "new").latest() is None


def test_it_is_restored_to_another_layout(tmp_path):
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)

    def place(tree, specs):
        return jax.tree.map(
            lambda x: jax.device_put(
                x, NamedSharding(mesh, specs if x.ndim == 2 and x.size else P())
            ),
            tree,
        )

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, place(state(1), P("fsdp", "data")))
    checkpoints.wait()
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        place(state(), P(None, "fsdp")),
    )
    found = restored(checkpoints, target)
    assert raw(found.state) == raw(state(1))
    kernel = found.state["params"]["kernel"]
    assert kernel.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "fsdp")), 2)


def test_the_state_may_be_donated_at_once(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    x = {"x": jnp.asarray(np.random.default_rng(0).normal(size=50_000), jnp.float32)}
    before = raw(x)
    checkpoints.save(1, x)
    step = jax.jit(lambda tree: jax.tree.map(lambda a: a * 2, tree), donate_argnums=0)
    for _ in range(5):
        x = step(x)
    checkpoints.wait()
    found = restored(checkpoints, x)
    assert raw(found.state) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s | {"params": {"kernel": jnp.zeros((16, 25))}},
            r"params/kernel: saved shape \[16, 24\], wanted \[16, 25\]",
        ),
        (
            lambda s: s | {"params": {"kernel": jnp.zeros((16, 24), jnp.bfloat16)}},
            "params/kernel: saved dtype float32, wanted bfloat16",
        ),
        (lambda s: s | {"lora": jnp.zeros(2)}, "lora is wanted by this run, but"),
        (
            lambda s: {k: v for k, v in s.items() if k != "opt"},
            "opt/0/mu/kernel is saved, but this run has no such leaf",
        ),
        (
            lambda s: s | {"key": jax.random.key(0, impl="rbg")},
            "key: saved dtype key<fry>, wanted key<rbg>",
        ),
    ],
)
def test_another_tree_is_refused_leaf_by_leaf(tmp_path, change, message):
    checkpoints = saved(tmp_path, 1, 2)
    with pytest.raises(UserError, match=message):
        checkpoints.restore(change(state()))


def test_retention_keeps_the_newest_the_periodic_and_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2, keep_period=4, best="max:accuracy")
    for step, accuracy in enumerate([0.1, 0.9, 0.5, 0.6, 0.2, 0.3, 0.4]):
        checkpoints.save(step, {"x": jnp.ones(3)}, metrics={"accuracy": accuracy})
    checkpoints.wait()
    assert checkpoints.steps() == [0, 1, 4, 5, 6]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "4", "5", "6"]


@pytest.mark.parametrize(
    "options", [{"keep_last": 0}, {"keep_period": 0}, {"best": "accuracy"}]
)
def test_retention_rules_that_mean_nothing_are_refused(tmp_path, options):
    with pytest.raises(UserError, match=str(next(iter(options.values())))):
        Checkpoints(tmp_path, **options)


def test_at_every_instant_there_is_a_verified_checkpoint(tmp_path):
    """A poller verifies in a loop while the only checkpoint is being replaced."""
    checkpoints = saved(tmp_path, 0, keep_last=1)
    found, done = [], threading.Event()

    def poll():
        reader = Checkpoints(tmp_path)
        while not done.is_set():
            # A step may be deleted while it is read: then a newer one is there.
            found.append(reader.latest() is not None or reader.latest() is not None)

    logging.getLogger("jaxalign").setLevel(logging.ERROR)
    poller = threading.Thread(target=poll)
    poller.start()
    for step in range(1, 8):
        checkpoints.save(step, state(step))
    checkpoints.wait()
    done.set()
    poller.join()
    logging.getLogger("jaxalign").setLevel(logging.NOTSET)
    assert len(found) > 5
    assert all(found)
    assert checkpoints.steps() == [7]


def test_a_save_that_fails_says_where_and_how_much(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, 1)
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults("enospc@save"))
    checkpoints.save(2, state(2))
    with pytest.raises(CheckpointSaveError, match=r"2\.tmp.*No space.*MB are free"):
        checkpoints.wait()
    monkeypatch.undo()
    assert checkpoints.latest() == 1
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    checkpoints.save(3, state(3))  # once there is room again
    checkpoints.wait()
    assert checkpoints.latest() == 3


def test_a_full_disk_is_seen_before_writing(tmp_path):
    with pytest.raises(CheckpointSaveError, match="not enough room"):
        Checkpoints(tmp_path).require_space(1 << 60)


def test_a_loaded_leaf_that_differs_is_refused(tmp_path, monkeypatch):
    """As if the reader, and not the file, had gone wrong."""
    checkpoints = saved(tmp_path, 1)
    read = orbax_store.read_arrays

    def wrong(folder, target, **options):
        tree = read(folder, target, **options)
        kernel = tree["params"]["kernel"]
        return tree | {"params": {"kernel": kernel.at[3, 4].add(1e-7)}}

    monkeypatch.setattr(orbax_store, "read_arrays", wrong)
    with pytest.raises(UserError, match="params/kernel loads with other values"):
        checkpoints.restore(state(), step=1)
    checkpoints.restore(state(), step=1, verify="files")


def test_going_on_from_an_earlier_step_sets_later_ones_aside(tmp_path, caplog):
    checkpoints = saved(tmp_path, 2, 4, 6)
    (tmp_path / "8.tmp").mkdir()
    (tmp_path / "notes.tmp").mkdir()
    checkpoints.begin_at(4)
    assert checkpoints.steps() == [2, 4]
    assert {p.name for p in tmp_path.iterdir()} == {
        *("2", "4", "6.set-aside", "notes.tmp")
    }
    assert "6 is now called 6.set-aside: the run goes on from" in caplog.text
    checkpoints.save(6, state(7))
    checkpoints.wait()
    assert raw(restored(checkpoints).state) == raw(state(7))


def test_the_manifest_names_what_was_saved(tmp_path):
    saved(tmp_path, 1, about={"fingerprints": {"data": "abc"}})
    body = json.loads((tmp_path / "1" / manifest.NAME).read_text())
    assert body["about"] == {"fingerprints": {"data": "abc"}}
    leaf = body["leaves"]["opt/0/mu/kernel"]
    assert (leaf["shape"], leaf["dtype"]) == ([16, 24], "bfloat16")
    on_disk = {
        p.relative_to(tmp_path / "1").as_posix()
        for p in (tmp_path / "1").rglob("*")
        if p.is_file() and p.name != manifest.NAME
    }
    assert set(body["files"]) == on_disk
