"""What the algorithm of a case says, with and without interchanges: the targets of training.

Two ways to the same labels: the compiled model run in batches, or the program tabulated over arrays
where the compiled model is heavy (case 119 has ten million parameters).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.cases import Case
from interpbench_jax.compiler import CompiledCase, compiled_labels
from interpbench_jax.compiler.rasp_on_arrays import RaspArrays, interchange, rasp_on_arrays
from interpbench_jax.compiler.tracr_stages import compile_with_tracr
from interpbench_jax.model import Graph, NodePatch, Params, TransformerConfig, forward

# Compiled models with more parameters are not run for targets.
_HEAVY = 200_000
# Rows per call of the compiled model.
_CHUNK = 2_048


def algorithm_targets(
    compiled: CompiledCase,
    base: Int[np.ndarray, "pair length"],
    source: Int[np.ndarray, "pair length"],
) -> Num[Array, "intervention pair pos"]:
    """What the algorithm says on the base, under the interchange of each variable, and of all.

    Args:
      compiled: the compiled case.
      base: inputs as indices into the vocabulary, without BOS.
      source: inputs from which variables take their values.

    Returns:
      Labels, or values for a regression; BOS is position 0. The first intervention does nothing,
      the last takes everything from the source: what the algorithm says there.
    """
    if sum(weight.size for weight in flatten_dict(compiled.params).values()) > _HEAVY:
        said = interchange(_tabulated(compiled.case), compiled.variables, base, source)
        return jnp.pad(said, ((0, 0), (0, 0), (1, 0)))  # nothing is said at BOS
    encode = compiled.codec.encode_indices
    return compiled_targets(compiled, encode(base), encode(source))


@functools.cache
def _tabulated(case: Case) -> RaspArrays:
    return rasp_on_arrays(compile_with_tracr(case), case)


def compiled_targets(
    compiled: CompiledCase, base: Int[np.ndarray, "pair pos"], source: Int[np.ndarray, "pair pos"]
) -> Num[Array, "intervention pair pos"]:
    """What the compiled model says on the base, under the interchange of each variable, and of all.

    The last, every node taken from the source, is what it says on the source.
    """
    graph = compiled.graph
    variables = one_hot_nodes(graph, tuple(v.node for v in compiled.variables))
    nothing, everything = jnp.zeros((1, graph.n_writers)), jnp.ones((1, graph.n_writers))
    masks = jnp.concatenate([nothing, variables, everything])
    chunks = []
    for start in range(0, len(base), _CHUNK):
        rows = slice(start, start + _CHUNK)
        short = _CHUNK - len(base[rows])  # padded, so that one compiled function serves all
        padded = [np.pad(x[rows], ((0, short), (0, 0)), mode="edge") for x in (base, source)]
        chunk = _interchanged(compiled.params, compiled.config, *padded, masks)
        chunks.append(chunk[:, : _CHUNK - short])
    return jnp.concatenate(chunks, axis=1)


@functools.partial(jax.jit, static_argnames="config")
def _interchanged(
    params: Params, config: TransformerConfig, base: Array, source: Array, masks: Array
) -> Num[Array, "mask pair pos"]:
    _, writers = forward(params, config, source)

    def run(mask: Float[Array, " writer"]) -> Num[Array, "pair pos"]:
        logits, _ = forward(params, config, base, NodePatch(mask, writers))
        return logits[..., 0] if config.d_vocab_out == 1 else compiled_labels(logits)

    return jax.lax.map(run, masks)


def one_hot_nodes(graph: Graph, nodes: tuple[str, ...]) -> Float[Array, "node writer"]:
    """A row per node, 1 at its writer."""
    return jnp.array([[float(w == node) for w in graph.writers] for node in nodes]).reshape(
        len(nodes), graph.n_writers
    )
