"""Scores of how well a model follows its circuit: accuracy, IIA, SIIA and agreement by edges."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import EdgePatch, NodePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.edge_checks import EdgeChecks
from interpbench_jax.siit.losses import is_right
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.tasks.task import has_answer

_PAIRS_IN_CACHE = 512  # on two x86 cores, a pair takes the least time in runs of about this many


class Scores(NamedTuple):
    """Shares of positions at which the model agrees with the algorithm.

    Attributes:
      accuracy: without intervention.
      iia: per variable, when its nodes take their values from the source (interchange intervention
        accuracy).
      siia: per node outside the circuit, when it takes its value from the source and no answer may
        change (strict interchange intervention accuracy).
      edges: per check of the problem (if it has any), under the check's edge patch; NaN if it was
        not evaluated, since the model had failed others.
    """

    accuracy: Float[Array, ""]
    iia: Float[Array, " variable"]
    siia: Float[Array, " free"]
    edges: Float[Array, " check"]


@functools.partial(jax.jit, static_argnames="model")
def validate(params: Params, model: TransformerConfig | Network, problem: SiitProblem) -> Scores:
    """Scores a model on every pair of a problem; an output with NaN is wrong.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      problem: pairs, targets and nodes.

    Source: Geiger et al. 2022 (IIA); Gupta et al. 2024 (SIIA).
    """
    return scores_and_finiteness(params, model, problem)[0]


def scores_and_finiteness(
    params: Params,
    model: TransformerConfig | Network,
    problem: SiitProblem,
    *,
    parallel: int = 1,
    threshold: Float[Array, ""] | float | None = None,
) -> tuple[Scores, Bool[Array, ""]]:
    """The scores of `validate`, and whether all outputs of all runs are finite.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      problem: pairs, targets and nodes.
      parallel: how many models are scored at the same time, under a `vmap` outside.
      threshold: if given, checks after the first `EdgeChecks.n_first` may be left out where one
        before them is below it. This saves time only if one run follows the other, as on a CPU.
    """
    n_variables, n_free = len(problem.variable_nodes), len(problem.free_nodes)
    nothing = jnp.zeros((1, problem.variable_nodes.shape[1]))
    masks = jnp.concatenate([nothing, problem.variable_nodes, problem.free_nodes])
    # The target of each mask: the base's, each variable's, and the base's for free nodes.
    which = jnp.array([0, *range(1, n_variables + 1), *[0] * n_free])
    targets = jnp.concatenate([problem.base_target[None], problem.variable_targets])
    network = as_network(model)

    def right_answers(pairs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        base, source, targets, position_weights = pairs
        unpatched, written = network.run(params, source)

        def score(case: tuple[Array, Array]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
            mask, target = case
            logits, _ = network.run(params, base, NodePatch(mask, written))
            right = is_right(logits, targets[:, target]) * position_weights
            return right.sum(), jnp.isfinite(logits).all()

        chunk = runs_at_once(unpatched, written, parallel=parallel)
        right, finite = map_chunks(score, (masks, which), chunk=chunk)
        return right, position_weights.sum(), finite.all()

    pairs = problem.base, problem.source, targets.swapaxes(0, 1), problem.position_weights
    right, total, finite = jax.lax.map(right_answers, _blocks(pairs))
    scores = right.sum(0) / total.sum()
    edges, edges_finite = jnp.zeros(0), jnp.array(True)
    if problem.checks is not None:
        edges, edges_finite = agreement_and_finiteness(
            params, network, problem.checks, parallel=parallel, threshold=threshold
        )
    found = Scores(scores[0], scores[1 : n_variables + 1], scores[n_variables + 1 :], edges)
    return found, finite.all() & edges_finite


def _blocks(pairs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Pairs in blocks, `[block, pair, ...]`: on a CPU so small that its cache holds them, else one.

    The last block is filled with copies of the last pair without weight.

    Args:
      pairs: arrays over pairs; the last one has the weights of positions.
    """
    n_pairs = len(pairs[0])
    n_blocks = -(-n_pairs // _PAIRS_IN_CACHE) if jax.default_backend() == "cpu" else 1
    size = -(-n_pairs // n_blocks)

    def divide(array: Array, filling: str) -> Array:
        widths = [(0, n_blocks * size - n_pairs), *[(0, 0)] * (array.ndim - 1)]
        full = jnp.pad(array, widths, mode=filling)
        return full.reshape(n_blocks, size, *array.shape[1:])

    *inputs, weights = pairs
    return *(divide(array, "edge") for array in inputs), divide(weights, "constant")


@functools.partial(jax.jit, static_argnames="model")
def edge_agreement(
    params: Params, model: TransformerConfig | Network, checks: EdgeChecks
) -> Float[Array, " check"]:
    """For each set of edges, the share of positions at which model and algorithm agree.

    The edges are patched in both; see `EdgeChecks`. 1 if the algorithm has no answer anywhere.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      checks: sets of edges, and the algorithm's answers.
    """
    return agreement_and_finiteness(params, as_network(model), checks)[0]


def weight_right(
    params: Params,
    network: Network,
    base: Int[Array, "pair pos"],
    written: Float[Array, "pair pos writer d_model"],
    mask: Float[Array, "writer reader"],
    target: Num[Array, "pair pos"],
    position_weights: Float[Array, "pair pos"],
    patched_at: Float[Array, " pos"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, "pair pos d_vocab_out"]]:
    """Weight of the positions at which a model is right under a patch of edges, and its logits.

    Args:
      params: weights.
      network: the network.
      base: inputs to run on.
      written: the writers' outputs on the sources.
      mask: 1 at the edges that are patched.
      target: the algorithm's answers under the same patch.
      position_weights: weight of each position.
      patched_at: 1 at the positions where edges are patched; everywhere by default.
    """
    if patched_at is not None:
        patched_at = jnp.broadcast_to(patched_at, base.shape)
    logits, _ = network.run(params, base, EdgePatch(mask, written, patched_at))
    return (is_right(logits, target) * position_weights).sum(), logits


def agreement_and_finiteness(
    params: Params,
    network: Network,
    checks: EdgeChecks,
    *,
    parallel: int = 1,
    threshold: Float[Array, ""] | float | None = None,
) -> tuple[Float[Array, " check"], Bool[Array, ""]]:
    """The result of `edge_agreement`, and whether all outputs of all runs are finite.

    See `scores_and_finiteness` for `parallel` and `threshold`.
    """
    unpatched, written = network.run(params, checks.source)
    chunk = runs_at_once(unpatched, written, parallel=parallel)

    def score(case: tuple[Array, Array]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        mask, which = case
        target = checks.targets[which]
        weights = checks.position_weights * has_answer(target)
        right, logits = weight_right(params, network, checks.base, written, mask, target, weights)
        total = weights.sum()
        agreed = jnp.where(total > 0, right / jnp.maximum(total, 1e-9), 1.0)
        return agreed, jnp.isfinite(logits).all()

    cases = checks.masks, checks.which
    if threshold is None or chunk > 1:
        agreed, finite = map_chunks(score, cases, chunk=chunk)
        return agreed, finite.all()

    def score_next(lowest: Array, given: tuple[Array, tuple]) -> tuple[Array, tuple[Array, Array]]:
        place, case = given
        left_out = (place >= checks.n_first) & (lowest < threshold)
        agreed, finite = jax.lax.cond(
            left_out, lambda _: (jnp.full((), jnp.nan), jnp.array(True)), score, case
        )
        return jnp.fmin(lowest, agreed), (agreed, finite)

    places = jnp.arange(len(checks.masks))
    _, (agreed, finite) = jax.lax.scan(score_next, jnp.ones(()), (places, cases))
    return agreed, finite.all()
