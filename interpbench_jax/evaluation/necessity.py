"""Whether a model needs its circuit's edges: patching one must change answers as it should."""

import numpy as np
from jaxtyping import Bool, Float, Int

from interpbench_jax.alignment.edge_levels import EdgeLevel
from interpbench_jax.alignment.subsets import every_subset
from interpbench_jax.evaluation.edge_judge import MOST_SETS, ROWS, Blocks, EdgeJudge
from interpbench_jax.siit import TOLERANCE
from interpbench_jax.tasks.task import answers_differ

# Number of sets of other edges in which an edge is tested for changing an answer.
_N_CONTEXTS = 31
_CHANGED = 2 * TOLERANCE  # then no output is right for both answers


def necessity(
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
            weights = (
                block.position_weights[None] * answers_differ(before, after, _CHANGED)
            ).astype(np.float32)
            found = judge.right_and_total(level, block, larger[part], after, weights)
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
        changed += (block.position_weights[None] * answers_differ(before, after, _CHANGED)).sum(
            (1, 2)
        )
    return sets[changed.argmax()]
