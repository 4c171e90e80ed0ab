"""A causal model as a training problem."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.alignment import Alignment, Site
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.indices import check_indices, check_same_lengths
from interpbench_jax.model.network import Network
from interpbench_jax.siit.problem import SiitProblem, problem_of_answers, variable_masks
from interpbench_jax.tasks.causal import CausalModel
from interpbench_jax.tasks.task import Pairs

Tokens = Int[Array | np.ndarray, "pair pos"]


def problem_from_causal_model(
    model: CausalModel,
    places: Mapping[str, str],
    network: TransformerConfig | Network,
    base: Tokens,
    source: Tokens,
    position_weights: Float[Array | np.ndarray, "*pair pos"] | None = None,
) -> SiitProblem:
    """Computes all targets with a causal model; the result is the input of `train_siit`.

    Args:
      model: the algorithm.
      places: for each variable, the node (`a0.h1`, `m0`) that is to hold it. Omitted variables are
        not interchanged; the variables that read them compute them. Every other node is free: it
        must not carry information to the output.
      network: shape of the transformer to be trained, or another network.
      base: token ids; pairs in random order, as the last ones are held out from training.
      source: token ids of the inputs from which variables take their values.
      position_weights: weight of each position, for all pairs or for each pair; 1 by default.

    Raises:
      ValueError: an unknown variable or node, two variables at one node, a variable whose node
        cannot read what the variable reads, or tokens or labels that the transformer does not have.
    """
    if not places:
        raise ValueError("no variable is aligned with a node")
    shared = {node for node in places.values() if list(places.values()).count(node) > 1}
    if shared:
        raise ValueError(f"a node holds one variable; {', '.join(sorted(shared))} has several")
    algorithm = model.keeping(places)
    start = algorithm.graph.writers[0]
    named = {start: start, **{name: places[name] for name in algorithm.variables}}
    sites = tuple((name, Site((node,))) for name, node in named.items())
    alignment: Alignment = Alignment(algorithm.circuit, network, sites)
    answers = algorithm.answers(base, source, variable_masks(alignment)[:, :, None])
    if isinstance(network, TransformerConfig):
        check_indices("base has token", base, network.d_vocab)
        check_indices("source has token", source, network.d_vocab)
        check_same_lengths("source", source, base, network.pad)
        if jnp.issubdtype(answers.dtype, jnp.integer):
            check_indices("the algorithm has label", answers, network.d_vocab_out)
        elif network.d_vocab_out != 1:
            raise ValueError(
                f"a model of values has one output, d_vocab_out is {network.d_vocab_out}"
            )
    weights = np.asarray(1 if position_weights is None else position_weights, np.float32)
    pairs = Pairs(np.asarray(base), np.asarray(source), np.broadcast_to(weights, base.shape))
    return problem_of_answers(alignment, pairs, answers)
