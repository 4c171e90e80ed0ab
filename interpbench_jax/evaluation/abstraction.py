"""Causal abstraction: interchanges of sets of variables while free nodes are patched."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.alignment.subsets import draw_subsets, every_subset
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import SiitProblem, agreement
from interpbench_jax.tasks.task import Task, answer_in_chunks


class Interventions(NamedTuple):
    """What is patched together, and from which inputs.

    Attributes:
      variables: the variables whose nodes take their values from the source.
      free: the free nodes that take their values from a third input.
      third: for each pair, the index of the pair whose source is the third input.
    """

    variables: Bool[Array, "intervention variable"]
    free: Bool[Array, "intervention free"]
    third: Int[Array, "intervention pair"]


class Abstraction(NamedTuple):
    """Agreement of the model with its algorithm under the same interventions.

    Attributes:
      mean: mean over interventions.
      worst: agreement under the worst intervention.
      worst_intervention: its index.
      each: agreement under each intervention.
    """

    mean: Float[Array, ""]
    worst: Float[Array, ""]
    worst_intervention: Int[Array, ""]
    each: Float[Array, " intervention"]


@functools.partial(jax.jit, static_argnames=("n_interventions", "pad"))
def draw_interventions(
    problem: SiitProblem, key: Array, n_interventions: int, *, pad: int | None = None
) -> Interventions:
    """Draws sets of variables and of free nodes, and third inputs.

    Each variable and each free node is included with probability 1/2. The third inputs are a
    permutation of the sources that only exchanges sources with equally many tokens and equally many
    counted positions, of which the last is the same, so that sequences keep their length.

    Args:
      problem: pairs and nodes.
      key: a JAX random key.
      n_interventions: number of interventions.
      pad: the token that pads shorter sequences, if the network has one.

    Raises:
      ValueError: `n_interventions` is smaller than 1.
    """
    if n_interventions < 1:
        raise ValueError(f"n_interventions must be at least 1, got {n_interventions}")
    key_variables, key_free, key_third = jax.random.split(key, 3)
    counts = problem.position_weights > 0
    n_positions = counts.shape[1]
    last = n_positions - counts[:, ::-1].argmax(1)
    lengths = last * (n_positions + 1) + counts.sum(1)  # equal if both are
    if pad is not None:
        lengths += (n_positions + 1) ** 2 * (problem.source != pad).sum(1)
    in_order = jnp.argsort(lengths, stable=True)

    def permutation(key: Array) -> Int[Array, " pair"]:
        shuffled = jnp.lexsort((jax.random.uniform(key, lengths.shape), lengths))
        return jnp.zeros_like(in_order).at[in_order].set(shuffled)

    return Interventions(
        draw_subsets(key_variables, n_interventions, len(problem.variable_nodes)),
        draw_subsets(key_free, n_interventions, len(problem.free_nodes)),
        jax.lax.map(permutation, jax.random.split(key_third, n_interventions)),
    )


def abstraction_targets(
    task: Task,
    problem: SiitProblem,
    sets: Bool[Array | np.ndarray, "intervention variable"],
) -> Num[Array, "intervention pair pos"]:
    """The algorithm's answers on the base when sets of variables have their source values.

    Args:
      task: the task with the algorithm.
      problem: gives the pairs.
      sets: which variables are interchanged together, in the order of `task.places`, without
        those at the input.

    Raises:
      ValueError: the sets do not fit the task's variables.
    """
    chosen, n_variables = np.asarray(sets), sets.shape[1]
    (_, of_input), *others = task.places.items()
    writers = [name for name, nodes in others if nodes != of_input]
    if n_variables != len(writers):
        raise ValueError(f"sets of {n_variables} variables, but the task has {len(writers)}")
    each = task.circuit.graph.one_hot(writers)

    def answers(rows: np.ndarray) -> Num[np.ndarray, "intervention pair pos"]:
        masks = np.minimum(rows.astype(np.float32) @ each, 1)
        return answer_in_chunks(task.answers, problem.base, problem.source, masks[:, :, None])

    if 2**n_variables > len(chosen):
        return jnp.asarray(answers(chosen))
    every = answers(every_subset(n_variables))
    return jnp.asarray(every[chosen @ 2 ** np.arange(n_variables)])


@functools.partial(jax.jit, static_argnames="network")
def abstraction(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    interventions: Interventions,
    targets: Num[Array, "intervention pair pos"],
) -> Abstraction:
    """Interchanges variables while nodes outside the circuit are patched from a third input.

    The latter must change nothing: the model must give the algorithm's answers with only the
    variables interchanged.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs and nodes.
      interventions: what is patched; see `draw_interventions`.
      targets: the algorithm's answers under each intervention; see `abstraction_targets`.

    Source: Geiger et al. 2023, Causal Abstraction, for interchanges of sets of variables.
    """
    unpatched, written = as_network(network).run(params, problem.source)
    variables = jnp.dot(interventions.variables.astype(jnp.float32), problem.variable_nodes)
    free = jnp.dot(interventions.free.astype(jnp.float32), problem.free_nodes)
    masks = jnp.minimum(variables + free, 1)
    outside = problem.free_nodes.any(0)[:, None]

    def judge(case: tuple[Array, Array, Array]) -> Float[Array, ""]:
        mask, third, target = case
        patch = NodePatch(mask, jnp.where(outside, written[third], written))
        logits, _ = as_network(network).run(params, problem.base, patch)
        return agreement(logits, target, problem.position_weights)

    cases = (masks, interventions.third, targets)
    each = map_chunks(judge, cases, chunk=runs_at_once(unpatched, written))
    return Abstraction(each.mean(), each.min(), each.argmin(), each)
