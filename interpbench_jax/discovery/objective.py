"""What discovery works on: inputs, what ablation puts in, and the loss as a function of a mask."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float, Int, Num

from interpbench_jax.model import EdgePatch, NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import EdgeNetwork, as_edge_network


class ContrastBatch(NamedTuple):
    """Inputs, and what writers write instead when they are ablated.

    Attributes:
      clean: token ids.
      corrupted: token ids of the inputs that patches come from, row by row, if there are any.
      target: what is right on the clean inputs: labels, or values for a regression.
      clean_logits: what the unpatched model says on the clean inputs.
      positions: weight of each position in the loss.
      written: what every writer writes on the clean inputs.
      source: what ablation replaces that by, row by row: what it writes on a corrupted input, or a
        mean, or nothing; see `contrast_batch`.
    """

    clean: Int[Array, "batch pos"]
    corrupted: Int[Array, "batch pos"] | None
    target: Num[Array, "batch pos"]
    clean_logits: Float[Array, "batch pos d_vocab_out"]
    positions: Float[Array, "batch pos"]
    written: Float[Array, "batch pos writer d_model"]
    source: Float[Array, "batch pos writer d_model"]


Loss = Callable[[Float[Array, "batch pos d_vocab_out"], ContrastBatch], Float[Array, ""]]
"""`(logits, batch) -> scalar`, lower is better; a module-level function, so that it can be a static
argument of `jit`."""

EdgeLoss = Callable[[Float[Array, "writer reader"]], Float[Array, ""]]
NodeLoss = Callable[[Float[Array, " writer"]], Float[Array, ""]]


def edge_masked_loss(
    params: Params, config: TransformerConfig | EdgeNetwork, batch: ContrastBatch, loss: Loss
) -> EdgeLoss:
    """The loss as a function of an edge mask: 0 is the clean run, 1 patches from the source."""
    network = as_edge_network(config)

    def masked(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        logits, _ = network.run(params, batch.clean, EdgePatch(mask, batch.source))
        return loss(logits, batch)

    return masked


def node_masked_loss(
    params: Params, config: TransformerConfig | EdgeNetwork, batch: ContrastBatch, loss: Loss
) -> NodeLoss:
    """The loss as a function of a mask of writers, seen by all readers alike."""
    network = as_edge_network(config)

    def masked(mask: Float[Array, " writer"]) -> Float[Array, ""]:
        logits, _ = network.run(params, batch.clean, NodePatch(mask, batch.source))
        return loss(logits, batch)

    return masked


def loss_from(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    stage: int,
    *,
    only_there: bool = False,
) -> EdgeLoss:
    """As `edge_masked_loss`, for masks that are zero at all readers before a stage.

    What comes before the stage is not run again. `stage` is static; see `EdgeNetwork.stages`.
    `only_there` says that masks are zero at readers of later stages as well.
    """
    network = as_edge_network(config)

    def masked(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        patch = EdgePatch(mask, batch.source)
        logits = network.run_from(
            params, batch.clean, stage, batch.written, patch, only_there=only_there
        )
        return loss(logits, batch)

    return masked
