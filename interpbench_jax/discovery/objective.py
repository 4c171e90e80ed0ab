"""The loss as a function of a mask."""

from collections.abc import Callable

from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import Part, Rows, run_rows
from interpbench_jax.model import EdgePatch, NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

EdgeLoss = Callable[[Float[Array, "writer reader"]], Float[Array, ""]]
NodeLoss = Callable[[Float[Array, " writer"]], Float[Array, ""]]


def edge_masked_loss(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> EdgeLoss:
    """The loss as a function of an edge mask: 0 is the clean run, 1 patches from the source."""
    network = as_network(network)

    def masked(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        def run(part: Part, _: Rows) -> Array:
            return network.run(params, part.clean, EdgePatch(mask, part.source))[0]

        return loss(run_rows(run, params, network, batch), batch)

    return masked


def node_masked_loss(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> NodeLoss:
    """The loss as a function of a mask of writers, which applies to all readers."""
    network = as_network(network)

    def masked(mask: Float[Array, " writer"]) -> Float[Array, ""]:
        def run(part: Part, _: Rows) -> Array:
            return network.run(params, part.clean, NodePatch(mask, part.source))[0]

        return loss(run_rows(run, params, network, batch), batch)

    return masked


def loss_from(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    stage: int,
    *,
    only_there: bool = False,
) -> EdgeLoss:
    """`edge_masked_loss` for masks that are zero at all readers before a stage.

    Nothing before the stage is run again. `stage` is static; see `Graph.stages`. Set `only_there`
    if masks are also zero at all readers of later stages.
    """
    network = as_network(network)

    def masked(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        def run(part: Part, _: Rows) -> Array:
            patch = EdgePatch(mask, part.source)
            return network.run_from(
                params, part.clean, stage, part.written, patch, only_there=only_there
            )

        return loss(run_rows(run, params, network, batch), batch)

    return masked
