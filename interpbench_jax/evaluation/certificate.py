"""The certificate: agreement of a model with its algorithm under patches of edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.alignment import group_masks
from interpbench_jax.alignment.edge_levels import (
    EdgeLevel,
    draw_sets,
    head_level,
    levels_outside,
    qkv_level,
)
from interpbench_jax.evaluation.edge_judge import MOST_SETS, ROWS, Blocks, EdgeJudge
from interpbench_jax.evaluation.position_certificate import (
    PositionCertificate,
    certify_at_positions,
)
from interpbench_jax.evaluation.screening import Screened, least, or_none, place_of_least, screened
from interpbench_jax.evaluation.subsets import every_subset
from interpbench_jax.model import Circuit, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import TOLERANCE, pairs_to_judge
from interpbench_jax.tasks import HELD_OUT, Pairs, Split, Task
from interpbench_jax.tasks.task import AnswersAtPositions, Masks, Sources, Tokens, has_answer

N_RANDOM = 1_000
"""Default number of random sets of edges in a certificate."""

N_RUNS = 256_000
"""Default number of patched runs for each part of a certificate, approximately."""

# The most single edges that a card names.
_N_WEAKEST = 5
# Up to this many sequences, accuracy is measured on all of them.
_LISTED = 10_000
# Number of sets of other edges in which an edge is tested for changing an answer.
_N_CONTEXTS = 31
_CHANGED = 2 * TOLERANCE  # then no output is right for both answers


class LevelCertificate(NamedTuple):
    """Agreement under patches of edges, at q/k/v or at head level.

    Agreement is the share of positions at which the model gives the algorithm's answer with the
    corresponding edges patched, among the positions at which the algorithm has an answer. NaN if it
    has no answer at all.

    Attributes:
      names: names of the patched units: first those of the circuit, then those outside.
      n_inside: number of units of the circuit.
      inert: agreement with all units outside patched at once.
      inside: agreement with each unit of the circuit patched alone.
      outside: agreement with each unit outside patched alone.
      outside_pairs: number of pairs on which each of these was evaluated; the worst ones on all.
      random_mean: mean agreement under random sets.
      random: agreement under each random set.
      random_pairs: number of pairs on which each of these was evaluated; the worst ones on all.
      worst: agreement under the worst random set.
      worst_set: the units of that set.
      searched: agreement under the worst set that a greedy search finds, starting from the worst
        random set or the empty set.
      searched_set: the units of that set.
      necessity: for each unit of the circuit, the share of positions with the changed answer among
        the positions where patching the unit changes the algorithm's answer; NaN if no tested patch
        changes an answer.
      unanswered: share of the (random set, pair) rows in which some position has no answer.
    """

    names: tuple[str, ...]
    n_inside: int
    inert: float
    inside: Float[np.ndarray, " inside"]
    outside: Float[np.ndarray, " outside"]
    outside_pairs: int
    random_mean: float
    random: Float[np.ndarray, " random"]
    random_pairs: int
    worst: float
    worst_set: Bool[np.ndarray, " unit"]
    searched: float
    searched_set: Bool[np.ndarray, " unit"]
    necessity: Float[np.ndarray, " inside"]
    unanswered: float

    def of_set(self, chosen: Bool[np.ndarray, " unit"]) -> list[str]:
        """The names of the units in a set."""
        return [name for name, in_it in zip(self.names, chosen, strict=True) if in_it]

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        inside, outside = self.names[: self.n_inside], self.names[self.n_inside :]
        return {
            "inert": or_none(self.inert),
            "inside": _by_name(inside, self.inside),
            "outside": _by_name(outside, self.outside),
            "outside_pairs": self.outside_pairs,
            "random_mean": or_none(self.random_mean),
            "random": [or_none(share) for share in self.random],
            "random_pairs": self.random_pairs,
            "worst": or_none(self.worst),
            "worst_set": self.of_set(self.worst_set),
            "searched": or_none(self.searched),
            "searched_set": self.of_set(self.searched_set),
            "necessity": _by_name(inside, self.necessity),
            "unanswered": self.unanswered,
        }


class Certificate(NamedTuple):
    """Whether a model follows its algorithm under patches of edges; see `LevelCertificate`.

    Attributes:
      accuracy: agreement without a patch.
      n_inputs: number of inputs on which accuracy was measured.
      every_input: whether these are all inputs of the task.
      n_pairs: number of (base, source) pairs on which patches were evaluated.
      qkv: with q, k and v of a head separate.
      head: with q, k and v of a head merged.
      positions: with edges patched at some positions only; None if the algorithm does not say at
        which position its values are.
    """

    accuracy: float
    n_inputs: int
    every_input: bool
    n_pairs: int
    qkv: LevelCertificate
    head: LevelCertificate
    positions: PositionCertificate | None

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        return {
            **self._asdict(),
            "accuracy": or_none(self.accuracy),
            "qkv": self.qkv.describe(),
            "head": self.head.describe(),
            "positions": None if self.positions is None else self.positions.describe(),
        }


def certify(
    params: Params,
    network: TransformerConfig | Network,
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    key: Array,
    *,
    n_pairs: int | None = None,
    n_random: int = N_RANDOM,
    n_runs: int = N_RUNS,
) -> Certificate:
    """Patches corresponding edges of a model and its algorithm, and compares their answers.

    If the number of sets times pairs exceeds `n_runs`, every set is evaluated on some of the pairs,
    the worst quarter on four times as many, and so on (successive halving, Karnin et al. 2013); the
    worst sets are evaluated on all pairs. Then only the mean over random sets, and the agreement
    under sets other than the worst, are from some of the pairs. The greedy search uses few pairs
    too; its result is evaluated on all.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      task: the task with the algorithm.
      alignment: its alignment with the network.
      pairs: inputs that the model was not trained on.
      key: random key for the sets.
      n_pairs: number of pairs on which patches are evaluated, chosen by `pairs_to_judge`; all by
        default. Accuracy is measured on all.
      n_random: number of random sets.
      n_runs: approximate number of runs for each part, before the worst sets are evaluated again.

    Raises:
      ValueError: a number is smaller than 1.
    """
    judge, rng = _judge_of(params, network, task, alignment), _checked_rng(key, n_random, n_runs)
    level = qkv_level(alignment)
    inputs = _every_input(task)
    every_input = inputs is not None
    inputs = pairs if inputs is None else inputs
    accuracy = judge.judge(level, Blocks.of(inputs), np.zeros((1, len(level.names)), bool))
    pairs = pairs_to_judge(task, alignment, pairs, n_pairs)
    blocks = Blocks.of(pairs)
    qkv, head = (
        _certify(judge, one, blocks, len(pairs.base), rng, n_random, n_runs)
        for one in (level, head_level(alignment))
    )
    at_positions = None
    if isinstance(task.defined_answers, AnswersAtPositions):
        at_positions = certify_at_positions(
            judge, level, blocks, len(pairs.base), rng, n_random, n_runs
        )
    return Certificate(
        accuracy=float(accuracy.agreement[0]),
        n_inputs=len(inputs.base),
        every_input=every_input,
        n_pairs=len(pairs.base),
        qkv=qkv,
        head=head,
        positions=at_positions,
    )


class EdgeScores(NamedTuple):
    """The results of a certificate that a model's card holds, at q/k/v level.

    Attributes:
      edge_agreement: mean agreement under random sets of edges.
      edge_agreement_worst: agreement under the worst random set.
      edge_single_worst: agreement under the worst single edge, inside or outside.
      inert: agreement with all edges outside patched at once.
      weakest: agreement under the worst single edges; at most five, without those that agree fully.
      weakest_at: agreement under the first of these at each position, NaN where the algorithm has
        no answer; empty if there is none.
    """

    edge_agreement: float
    edge_agreement_worst: float
    edge_single_worst: float
    inert: float
    weakest: dict[str, float]
    weakest_at: Float[np.ndarray, " pos"]

    @property
    def metrics(self) -> dict[str, float]:
        """The scores by their names."""
        details = ("weakest", "weakest_at")
        return {name: value for name, value in self._asdict().items() if name not in details}


def edge_scores(
    params: Params,
    network: TransformerConfig | Network,
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    key: Array,
    *,
    n_pairs: int | None = None,
    n_random: int = N_RANDOM,
    n_runs: int = N_RUNS,
) -> EdgeScores:
    """The main results of `certify` at q/k/v level, at a small part of its cost.

    Arguments and errors are those of `certify`.
    """
    judge, rng = _judge_of(params, network, task, alignment), _checked_rng(key, n_random, n_runs)
    level = qkv_level(alignment)
    blocks = Blocks.of(pairs_to_judge(task, alignment, pairs, n_pairs))
    drawn = screened(judge, level, blocks, draw_sets(level, rng, n_random), n_runs)
    inert, inside, outside = _alone(judge, level, blocks, n_runs)
    single = np.concatenate([inside, outside.agreement])
    weakest = [place for place in np.argsort(single)[:_N_WEAKEST].tolist() if single[place] < 1]
    return EdgeScores(
        edge_agreement=drawn.mean,
        edge_agreement_worst=least(drawn.agreement),
        edge_single_worst=least(single),
        inert=inert,
        weakest={level.names[place]: float(single[place]) for place in weakest},
        weakest_at=_at_each_position(judge, level, blocks, weakest[:1]),
    )


def _at_each_position(
    judge: EdgeJudge, level: EdgeLevel, blocks: Blocks, unit: Sequence[int]
) -> Float[np.ndarray, " pos"]:
    """Agreement at each position under a patch of one unit; empty if there is none."""
    n_positions = blocks.positions.shape[-1] if len(unit) else 0
    patched = np.eye(len(level.names), dtype=bool)[list(unit)]
    agreed = np.zeros(n_positions)
    for place in range(n_positions):
        only = blocks.positions * (np.arange(n_positions) == place)
        agreed[place] = judge.judge(
            level, blocks._replace(positions=only.astype(np.float32)), patched
        ).agreement[0]
    return agreed


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
    rng = _checked_rng(key, n_random, n_runs)
    answers = UnpatchedAnswers(params, network, categorical)
    judge = EdgeJudge(params, network, answers, np.zeros((0, 1, 1), bool))
    blocks = Blocks.of(pairs)
    qkv, head = (
        _certify(judge, level, blocks, len(pairs.base), rng, n_random, n_runs)
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


def _judge_of(
    params: Params, network: TransformerConfig | Network, task: Task, alignment: Alignment
) -> EdgeJudge:
    return EdgeJudge(params, network, task.defined_answers, group_masks(alignment)[0])


def _checked_rng(key: Array, n_random: int, n_runs: int) -> np.random.Generator:
    for name, number in (("n_random", n_random), ("n_runs", n_runs)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _every_input(task: Task) -> Pairs | None:
    """All inputs of a task, paired with themselves; None if there are many, or some are rare."""
    inputs = task.split(HELD_OUT).inputs
    n = inputs.n_sequences()
    if n is None or n > _LISTED or not inputs.uniform:
        return None
    alone = Split(inputs=_Alone(inputs), divided=False)
    return task.pairs(alone, "test", n, jax.random.key(0))


@dataclass(frozen=True)
class _Alone:
    """An input source whose pairs consist of a sequence and itself."""

    inputs: Any

    @property
    def padding(self) -> int:
        return self.inputs.padding

    @property
    def uniform(self) -> bool:
        return self.inputs.uniform

    def n_sequences(self) -> int | None:
        return self.inputs.n_sequences()

    def all_sequences(self) -> np.ndarray:
        return self.inputs.all_sequences()

    def sample_sequences(self, n: int, key: Array) -> np.ndarray:
        return self.inputs.sample_sequences(n, key)

    def sample_pairs(self, n: int, key: Array) -> tuple[np.ndarray, np.ndarray]:
        rows = self.all_sequences()
        return rows, rows


def _certify(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    n_pairs: int,
    rng: np.random.Generator,
    n_random: int,
    n_runs: int,
) -> LevelCertificate:
    inert, inside, outside = _alone(judge, level, blocks, n_runs)
    sets = draw_sets(level, rng, n_random)
    drawn = screened(judge, level, blocks, sets, n_runs)
    worst = sets[place_of_least(drawn.agreement)]
    starts = (worst, np.zeros(len(level.names), bool))
    found = np.stack([worst, *(_search(judge, level, blocks, one, n_runs) for one in starts)])
    searched = judge.judge(level, blocks, found).agreement
    return LevelCertificate(
        names=level.names,
        n_inside=int(level.inside.sum()),
        inert=inert,
        inside=inside,
        outside=outside.agreement,
        outside_pairs=min(outside.n_pairs, n_pairs),
        random_mean=drawn.mean,
        random=drawn.agreement,
        random_pairs=min(drawn.n_pairs, n_pairs),
        worst=least(drawn.agreement),
        worst_set=worst,
        searched=least(searched),
        searched_set=found[place_of_least(searched)],
        necessity=_necessity(judge, level, blocks, rng, n_runs),
        unanswered=drawn.unanswered,
    )


def _alone(
    judge: EdgeJudge, level: EdgeLevel, blocks: Blocks, n_runs: int
) -> tuple[float, Float[np.ndarray, " inside"], Screened]:
    """Agreement with all units outside patched, with each unit inside, and with each outside."""
    each, inside = np.eye(len(level.names), dtype=bool), level.inside
    first = np.concatenate([~inside[None], each[inside]])
    agreed = judge.judge(level, blocks, first).agreement
    return float(agreed[0]), agreed[1:], screened(judge, level, blocks, each[~inside], n_runs)


def _search(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    start: Bool[np.ndarray, " unit"],
    n_runs: int,
) -> Bool[np.ndarray, " unit"]:
    """Searches greedily for a set with less agreement, on the first block of pairs.

    Takes `MOST_SETS` units at a time, and adds or removes the one that lowers agreement most, or
    all that lower it if this gives less agreement. Ends when no unit lowers agreement, or after
    about a quarter of `n_runs` runs.
    """
    some = Blocks(*(part[:1] for part in blocks))
    n_units, place, in_vain, left = len(level.names), 0, 0, n_runs // 4
    here, lowest = start, least(judge.judge(level, some, start[None]).agreement)
    while in_vain < n_units and left > 0:
        each = np.eye(n_units, dtype=bool)[place : place + MOST_SETS]
        agreed = judge.judge(level, some, here ^ each).agreement
        in_vain += len(each)
        if least(agreed) < lowest:
            both = here ^ np.stack([each[place_of_least(agreed)], each[agreed < lowest].any(0)])
            agreed = judge.judge(level, some, both).agreement
            here, lowest, in_vain = both[place_of_least(agreed)], least(agreed), 0
        left -= len(each) * ROWS
        place = (place + len(each)) % n_units
    return here


def _necessity(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    rng: np.random.Generator,
    n_runs: int,
) -> Float[np.ndarray, " inside"]:
    """Share of changed answers that the model gives, for each unit of the circuit.

    Each unit is patched alone. A unit that changes no answer alone is patched in addition to a set
    of other units: the set, among those tested, in which it changes the most answers.
    """
    units = np.flatnonzero(level.inside)
    nothing = np.zeros((len(units), len(level.names)), bool)
    right, total = _changed(judge, level, blocks, nothing, units)
    silent = np.flatnonzero(total == 0)
    if len(silent):
        some = Blocks(*(part[: max(1, int(n_runs / (2 * _N_CONTEXTS * ROWS)))] for part in blocks))
        sets = np.stack(
            [_context(judge, level, some, unit, rng) for unit in units[silent].tolist()]
        )
        right[silent], total[silent] = _changed(judge, level, blocks, sets, units[silent])
    return np.where(total > 0, right / np.maximum(total, 1e-9), np.nan)


def _changed(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    sets: Bool[np.ndarray, "set unit"],
    units: Int[np.ndarray, " set"],
) -> tuple[Float[np.ndarray, " set"], Float[np.ndarray, " set"]]:
    """Weight of positions where the model gives the changed answer, and of all changed answers."""
    larger = sets | np.eye(len(level.names), dtype=bool)[units]
    counts = np.zeros((2, len(sets)))
    for start in range(0, len(sets), MOST_SETS):
        part = slice(start, start + MOST_SETS)
        for block in map(Blocks, *blocks):
            before, after = (
                judge.answers_to(block, level.groups_of(patched[part]))
                for patched in (sets, larger)
            )
            weights = (block.positions[None] * _differ(before, after)).astype(np.float32)
            found = judge.give(level, block, larger[part], after, weights)
            counts[:, part] += np.asarray(found, np.float64)[:, : len(larger[part])]
    return counts[0], counts[1]


def _context(
    judge: EdgeJudge, level: EdgeLevel, blocks: Blocks, unit: int, rng: np.random.Generator
) -> Bool[np.ndarray, " unit"]:
    """The set of other units of the circuit in which patching a unit changes the most answers.

    Tests all sets if there are few; otherwise random sets and the set of all other units.
    """
    others = np.flatnonzero(level.inside & (np.arange(len(level.names)) != unit))
    if 2 ** len(others) <= _N_CONTEXTS + 1:
        chosen = every_subset(len(others))[1:]
    else:
        chosen = rng.random((_N_CONTEXTS, len(others))) < rng.random((_N_CONTEXTS, 1))
        chosen[0] = True
    if not len(chosen):
        return np.zeros(len(level.names), bool)
    sets = np.zeros((len(chosen), len(level.names)), bool)
    sets[:, others] = chosen
    larger = sets.copy()
    larger[:, unit] = True
    changed = np.zeros(len(sets))
    for block in map(Blocks, *blocks):
        before, after = (
            judge.answers_to(block, level.groups_of(patched)) for patched in (sets, larger)
        )
        changed += (block.positions[None] * _differ(before, after)).sum((1, 2))
    return sets[changed.argmax()]


def _differ(
    one: Num[np.ndarray, "*shape"], other: Num[np.ndarray, "*shape"]
) -> Bool[np.ndarray, "*shape"]:
    """Where both are answers and differ (values by so much that no output matches both)."""
    if np.issubdtype(one.dtype, np.integer):
        return has_answer(one) & has_answer(other) & (one != other)
    return np.abs(one - other) > _CHANGED


def _by_name(names: Sequence[str], shares: Float[np.ndarray, " name"]) -> dict[str, float | None]:
    return {name: or_none(share) for name, share in zip(names, shares, strict=True)}
