"""The effect of each node: how much the output changes when it is ablated."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from interpbench_jax.evaluation.ablation import Ablation, ablation_source, reference_run
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import TOLERANCE, SiitProblem, is_right

Reduction = Literal["ratio_of_means", "mean_of_ratios"]
Logits = Float[Array, "pair pos d_vocab_out"]
PerPosition = Float[Array, "pair pos"]


class NodeEffects(NamedTuple):
    """Effects per writer, over the positions where base and source have different targets.

    Attributes:
      accuracy: share of these positions whose output misses the base's target when the node is
        ablated.
      kl: increase of the KL divergence from the target, as a share of its increase when every node
        is patched from the source (for all ablations); `None` for a regression.
      kl_self: the same, relative to the model's own unpatched output; `None` for a regression.

    An output with NaN misses the target, and makes both divergences NaN.
    """

    accuracy: Float[Array, " writer"]
    kl: Float[Array, " writer"] | None
    kl_self: Float[Array, " writer"] | None


def node_effects(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    *,
    ablation: Ablation = "resample",
    reduction: Reduction = "ratio_of_means",
) -> NodeEffects:
    """Ablates one node at a time and compares with the target on the base.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs of inputs and their targets.
      ablation: the replacement of the node's output: its value on the source, a mean over all
        sources, or zero; see `ablation_source`.
      reduction: the ratio of mean divergences, or, as in the original, the mean over positions of
        the ratio, which small denominators can dominate.

    Raises:
      ValueError: there is no such ablation.

    Source: Gupta et al. 2024, InterpBench, section 4.
    """
    full, written = reference_run(params, network, problem.source)
    source = ablation_source(written, ablation, problem.position_weights)
    return _effects(params, network, problem, full, source, reduction=reduction)


@functools.partial(jax.jit, static_argnames=("network", "reduction"))
def _effects(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    full: Logits,
    source: Float[Array, "pair pos writer d_model"],
    *,
    reduction: Reduction,
) -> NodeEffects:
    target = problem.base_target
    categorical = problem.categorical
    differs = jnp.abs(target - problem.source_target) > (0 if categorical else TOLERANCE)
    counted = differs & (problem.position_weights > 0)

    clean, _ = as_network(network).run(params, problem.base)

    def mean(values: Shaped[Array, "pair pos"]) -> Float[Array, ""]:
        return jnp.where(counted, values, 0).sum() / counted.sum()

    def share(divergence: Callable[[Logits], PerPosition], patched: Logits) -> Float[Array, ""]:
        rise = divergence(patched) - divergence(clean)
        full_rise = divergence(full) - divergence(clean)
        if reduction == "mean_of_ratios":
            return mean(rise / full_rise)
        return mean(rise) / mean(full_rise)

    def from_target(logits: Logits) -> PerPosition:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], -1)[..., 0]

    def from_clean(logits: Logits) -> PerPosition:
        log_clean = jax.nn.log_softmax(clean)
        return (jnp.exp(log_clean) * (log_clean - jax.nn.log_softmax(logits))).sum(-1)

    def effects(mask: Float[Array, " writer"]) -> NodeEffects:
        patched, _ = as_network(network).run(params, problem.base, NodePatch(mask, source))
        missed = mean(~is_right(patched, target))
        if not categorical:
            return NodeEffects(missed, None, None)
        return NodeEffects(missed, share(from_target, patched), share(from_clean, patched))

    each = jnp.eye(as_network(network).graph.n_writers)
    return map_chunks(effects, each, chunk=runs_at_once(full, source))
