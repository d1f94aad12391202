"""The model that is trained: from its folder onto the devices."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from jaxalign.backbone import Backbone
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.errors import UserError
from jaxalign.models import (
    PARTITION_RULES,
    ModelConfig,
    Transformer,
    backbone_of,
    check_weights,
    load_params,
    load_with_new_score,
    param_shapes,
    read_config,
    resolve_model,
    with_score_head,
)
from jaxalign.ops import Layout
from jaxalign.parallel import ACTIVATIONS, make_mesh, shardings
from jaxalign.parallel.compute_type import compute_type
from jaxalign.parallel.program import Program, program_of
from jaxalign.recipes.runs.one_process import refuse_several_hosts
from jaxalign.rollout import Decoder, decoder_of

# Keeps the draw of a head apart from all others of the key.
_NEW_HEAD = 0x4EAD


class Policy(NamedTuple):
    """A model folder and how its parameters lie on the devices.

    Attributes:
      folder: Where weights and tokenizer come from.
      config: What is computed.
      model: The transformer, for training.
      backbone: The same, as objectives take it.
      mesh: All devices, or one for `pmap`, which makes its own copies.
      program: How its functions run on the devices.
    """

    folder: Path
    config: ModelConfig
    model: Transformer
    backbone: Backbone
    mesh: jax.sharding.Mesh
    program: Program

    @property
    def row_devices(self) -> int:
        """Over how many devices the rows of a batch are split."""
        return self.program.row_devices

    def load(self, key: jax.Array | None = None) -> Any:
        """Float32 parameters, read straight into their sharding.

        Args:
          key: What a scalar head is drawn with, if the folder has none.
        """
        places = shardings(PARTITION_RULES, self.mesh, param_shapes(self.config))
        # The head in the folder: that of `config` may be one that is yet to be drawn.
        if read_config(self.folder).head == self.config.head:
            return load_params(self.folder, self.config, places)
        if key is None:
            raise ValueError(f"{self.folder} has no scalar head: one needs a key")
        key = jax.random.fold_in(key, _NEW_HEAD)
        return load_with_new_score(self.folder, self.config, key, places)

    def start(self, create: Callable[[Any], Any], params: Any) -> Any:
        """What `create` makes of `params`, born in its sharding; they are consumed."""
        places = jax.tree.map(lambda x: x.sharding, self.shapes(create, params))
        # Compiled, so that each device makes its own part of the moments only.
        return jax.jit(create, out_shardings=places, donate_argnums=0)(params)

    def shapes(self, create: Callable[[Any], Any], params: Any) -> Any:
        """What `start` gives, as shapes with shardings: a target for a restore."""
        return self._placed(jax.eval_shape(create, params))

    def decoder(self, tokenizer: Tokenizer | None = None) -> Decoder:
        """The model as the sampler takes it; make it once.

        Args:
          tokenizer: Ids that it has no token for are never sampled; None: all may be.
        """
        size = self.config.vocab_size
        unused = () if tokenizer is None else tokenizer.unused_ids(size)
        layout = Layout.of(self.mesh, ACTIVATIONS)
        return decoder_of(self.model, layout=layout, unused_ids=unused)

    def param_shapes(self) -> Any:
        """The parameters as shapes with shardings."""
        return self._placed(param_shapes(self.config))

    def _placed(self, tree: Any) -> Any:
        return jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            tree,
            shardings(PARTITION_RULES, self.mesh, tree),
        )


def open_policy(
    name: str,
    *,
    dtype: str,
    remat: str,
    attention: str,
    parallel: str,
    mesh_sizes,
    head: Literal["unembed", "score"] = "unembed",
    new_head: bool = True,
    devices: Sequence[Any] | None = None,
) -> Policy:
    """Resolves a model and lays out its mesh; no weight is read yet.

    The names, shapes and types of all its tensors are compared with its config.

    Args:
      name: A Hugging Face folder, or a name on the hub.
      dtype: Type of the matrix products, or `auto`.
      remat: What the backward pass recomputes.
      attention: How attention is computed.
      parallel: `mesh`, or `pmap`, whose state is made on one device and copied.
      mesh_sizes: `{axis: devices}` for `mesh`.
      head: What is wanted on top of the transformer.
      new_head: A language model may get a scalar head.
      devices: Those of the mesh, for planning: no weights need be there. By default
        all that this process has.

    Raises:
      UserError: The folder holds a model with another head, one that is not supported,
        or files that do not fit each other; or there are several processes.
    """
    if devices is None:
        refuse_several_hosts()
    folder = resolve_model(name)
    config = read_config(folder)
    # For planning there need be no weights.
    if devices is None:
        # Before a head is added: the config is still that of the folder's tensors.
        check_weights(folder, config)
    if head == "score" and config.head != head and not new_head:
        raise UserError(
            f"{name} is a language model: it gives no scores. Train a reward model "
            "from it with `jaxalign reward`; its run's `export` folder is wanted here."
        )
    if head == "score":
        config = with_score_head(config)
    elif config.head != head:
        raise UserError(
            f"{name} is a reward model: it scores text and cannot write any. Give the "
            "language model that it was made from."
        )
    if parallel == "pmap":
        devices = jax.devices()[:1]
    # One device for pmap, which makes copies of what is loaded there.
    mesh = make_mesh({"fsdp": -1} if parallel == "pmap" else mesh_sizes, devices)
    _require_heads(config, mesh)
    program = program_of(parallel, mesh)
    # By a device of the mesh: a plan is for devices that this process does not have.
    product = compute_type(dtype, mesh.devices.flat[0])
    model = Transformer(config, dtype=product, remat=remat, attention=attention)
    return Policy(folder, config, model, backbone_of(model), mesh, program)


def _require_heads(config: ModelConfig, mesh: jax.sharding.Mesh) -> None:
    """Refuses a mesh whose devices of a row would do the same attention twice."""
    tensor, sequence = mesh.shape["tensor"], mesh.shape["sequence"]
    if sequence > 1 and config.num_heads % (tensor * sequence):
        raise UserError(
            f"mesh.sequence {sequence} and mesh.tensor {tensor} share out the heads of "
            f"attention, and the model has {config.num_heads}: choose sizes whose "
            "product divides that."
        )
