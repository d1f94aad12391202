import types

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.models import read_config
from jaxalign.parallel.compute_type import compute_type
from jaxalign.recipes.rl.fit import reference_of
from jaxalign.recipes.runs.policy import open_policy

DEVICES = [
    ({"platform": "tpu"}, "bfloat16"),
    ({"platform": "gpu", "compute_capability": "9.0"}, "bfloat16"),
    ({"platform": "gpu", "compute_capability": "8.0"}, "bfloat16"),
    ({"platform": "gpu", "compute_capability": "7.5"}, "float32"),
    ({"platform": "gpu", "compute_capability": "gfx942"}, "bfloat16"),
    ({"platform": "cpu"}, "float32"),
]


def opened(folder, dtype="auto", fsdp=-1, sequence=1):
    return open_policy(
        str(folder),
        dtype=dtype,
        remat="none",
        attention="blocked",
        parallel="mesh",
        mesh_sizes={"fsdp": fsdp, "sequence": sequence},
    )


@pytest.mark.parametrize(("device", "wanted"), DEVICES, ids=str)
def test_accelerators_multiply_in_bfloat16_by_default(device, wanted):
    device = types.SimpleNamespace(**device)
    assert compute_type("auto", device) == wanted
    assert compute_type("float32", device) == "float32"


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_policy_computes_in_the_type_of_its_devices(tiny_model, dtype):
    policy = opened(tiny_model, dtype=dtype)
    assert policy.model.dtype == ("float32" if dtype == "auto" else dtype)
    # What is trained and kept stays in float32.
    kept = {str(x.dtype) for x in jax.tree.leaves(policy.param_shapes())}
    assert kept == {"float32"}
    assert read_config(tiny_model) == policy.config


def test_a_mesh_that_cannot_share_out_the_heads_is_refused(tiny_model):
    with pytest.raises(UserError, match=r"mesh\.sequence 4 .* has 2: choose"):
        opened(tiny_model, fsdp=2, sequence=4)


@pytest.mark.parametrize("kept", ["float32", "bfloat16"])
def test_a_reference_is_a_copy_in_its_own_type(tiny_model, kept):
    policy = opened(tiny_model)
    params = policy.load()
    config = types.SimpleNamespace(ref_dtype=kept)
    reference = reference_of(policy, params, config)  # pyright: ignore[reportArgumentType]
    for x, y in zip(*map(jax.tree.leaves, (params, reference)), strict=True):
        assert y.dtype == kept
        assert y.sharding == x.sharding
        np.testing.assert_allclose(np.float32(y), x, rtol=2**-8)
        x.delete()  # training consumes the policy's
        assert np.isfinite(np.float32(y)).all()
