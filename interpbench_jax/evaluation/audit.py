"""The audit of a claimed circuit: whether edges outside it change a model's answers."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Num

from interpbench_jax.alignment.edge_levels import levels_outside
from interpbench_jax.evaluation.edge_judge import Blocks, EdgeJudge
from interpbench_jax.evaluation.level_certificate import (
    N_RANDOM,
    N_RUNS,
    LevelCertificate,
    certify_level,
    checked_generator,
)
from interpbench_jax.model import Circuit, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.tasks import Pairs
from interpbench_jax.tasks.task import Masks, Sources, Tokens


class Audit(NamedTuple):
    """Whether edges outside a claimed circuit change a model's answers.

    Attributes:
      n_pairs: number of (base, source) pairs on which patches were evaluated.
      qkv: with q, k and v of a head separate; no unit is inside.
      head: with q, k and v of a head merged; merged edges that are partly in the claimed circuit
        are not patched.
    """

    n_pairs: int
    qkv: LevelCertificate
    head: LevelCertificate

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        return {
            "n_pairs": self.n_pairs,
            "qkv": self.qkv.describe(),
            "head": self.head.describe(),
        }


def audit_circuit(
    params: Params,
    network: TransformerConfig | Network,
    circuit: Circuit,
    pairs: Pairs,
    key: Array,
    *,
    categorical: bool,
    n_random: int = N_RANDOM,
    n_runs: int = N_RUNS,
) -> Audit:
    """Patches edges outside a claimed circuit; the model's answers must not change.

    No algorithm is involved: this does not test whether the model's answers are right, or whether
    the circuit's edges are needed.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      circuit: all edges that are claimed to matter.
      pairs: inputs to run on, and sources of patches.
      key: random key for the sets.
      categorical: whether outputs are labels; otherwise values.
      n_random: number of random sets of edges outside.
      n_runs: approximate number of runs for each part; see `certify`.

    Raises:
      ValueError: the circuit has another graph, or all edges; or a number is smaller than 1.
    """
    graph = as_network(network).graph
    if circuit.graph != graph:
        raise ValueError(f"the circuit is for {circuit.graph}, the model has {graph}")
    if len(circuit) == graph.valid.sum():
        raise ValueError("the circuit has all edges of the model: there are none outside to patch")
    rng = checked_generator(key, n_random, n_runs)
    answers = UnpatchedAnswers(params, network, categorical)
    judge = EdgeJudge(params, network, answers, np.zeros((0, 1, 1), bool))
    blocks = Blocks.of(pairs)
    qkv, head = (
        certify_level(judge, level, blocks, len(pairs.base), rng, n_random, n_runs)
        for level in levels_outside(circuit)
    )
    return Audit(len(pairs.base), qkv, head)


class UnpatchedAnswers(struct.PyTreeNode):
    """A model's own unpatched answers, under every patch.

    Attributes:
      params: weights.
      network: a transformer's shape, or another network.
      categorical: whether outputs are labels.
    """

    params: Params
    network: TransformerConfig | Network = struct.field(pytree_node=False)
    categorical: bool = struct.field(pytree_node=False)

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The model's answers on the base; see `Answers`. NaN becomes infinity: no match."""
        del source
        logits, _ = as_network(self.network).run(self.params, base)
        value = jnp.where(jnp.isnan(logits[..., 0]), jnp.inf, logits[..., 0])
        answers = logits.argmax(-1) if self.categorical else value
        return jnp.broadcast_to(answers[None], (len(masks), *answers.shape))
