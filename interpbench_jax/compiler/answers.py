"""A case's answers under patches of its edges, computed by pytrees.

There are two ways to the same labels: run the compiled model, or, if it is large (case 119 has ten
million parameters), evaluate the program as lookup tables. Both are pytrees whose leaves are
weights or tables, so a compiled function takes them as arguments.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, Num

from interpbench_jax.compiler.codec import compiled_labels
from interpbench_jax.compiler.rasp_on_arrays import Step, Wire, run_program
from interpbench_jax.model import EdgePatch, Graph, Nudge, Params, TransformerConfig, forward
from interpbench_jax.tasks.task import NO_LABEL, Masks, PatchedAt, Sources, Tokens


class CompiledAnswers(struct.PyTreeNode):
    """Runs the compiled model.

    Attributes:
      params: weights of the compiled model.
      config: its shape.
      categorical: whether answers are labels.
    """

    params: Params
    config: TransformerConfig = struct.field(pytree_node=False)
    categorical: bool = struct.field(pytree_node=False)

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The answers on the base under each patch; see `Answers`."""
        return self._answers(base, source, masks, None)

    def at_positions(
        self, base: Tokens, source: Sources, masks: Masks, patched_at: PatchedAt
    ) -> Num[Array, "intervention pair pos"]:
        """The answers if edges are patched at some positions; see `AnswersAtPositions`."""
        return self._answers(base, source, masks, jnp.asarray(patched_at, jnp.float32))

    def _answers(
        self, base: Tokens, source: Sources, masks: Masks, patched_at: Array | None
    ) -> Num[Array, "intervention pair pos"]:
        first, *others = [
            forward(self.params, self.config, tokens)[1] for tokens in _source_list(base, source)
        ]
        valid = Graph.of(self.config).valid.shape

        def under(mask: Array) -> Array:
            patch = EdgePatch((mask > 0).astype(jnp.float32), first, patched_at)
            # Edges patched from another source get its difference from the first source.
            here = 1 if patched_at is None else patched_at[:, :, None, None]
            nudges = [
                Nudge(
                    jnp.broadcast_to(mask == number, valid).astype(jnp.float32),
                    (other - first) * here,
                )
                for number, other in enumerate(others, start=2)
            ]
            logits, _ = forward(self.params, self.config, base, patch, nudge=nudges)
            return compiled_labels(logits) if self.categorical else logits[..., 0]

        answers = jax.lax.map(under, jnp.asarray(masks))
        return _counted(answers, base, self.config.pad)


class TabulatedAnswers(struct.PyTreeNode):
    """Evaluates the tabulated program.

    Tables cannot represent an average of different values of a categorical expression: the answer
    to the whole input is then `NO_LABEL` or NaN.

    Attributes:
      tables: lookup tables of the program.
      places: for each token id, its index in the case's vocabulary; 0 if it has none.
      pad: id of the token for padding.
      n_readers: number of readers of the compiled model; the last one makes the output.
      steps: steps of the program.
      wires: the edges of each step.
      causal: whether attention is causal.
      categorical: whether answers are labels.
    """

    tables: dict[str, tuple[Any, ...]]
    places: Int[Array | np.ndarray, " d_vocab"]
    pad: int = struct.field(pytree_node=False)
    n_readers: int = struct.field(pytree_node=False)
    steps: tuple[Step, ...] = struct.field(pytree_node=False)
    wires: tuple[Wire, ...] = struct.field(pytree_node=False)
    causal: bool = struct.field(pytree_node=False)
    categorical: bool = struct.field(pytree_node=False)

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The answers on the base under each patch; see `Answers`."""
        return self.at_positions(base, source, masks, jnp.ones(base.shape))

    def at_positions(
        self, base: Tokens, source: Sources, masks: Masks, patched_at: PatchedAt
    ) -> Num[Array, "intervention pair pos"]:
        """The answers if edges are patched at some positions; see `AnswersAtPositions`."""
        sources = _source_list(base, source)
        tables, masks = jax.tree.map(jnp.asarray, (self.tables, masks))
        masks = jnp.broadcast_to(masks, (*masks.shape[:2], self.n_readers))
        writer_of = {s.label: wire.writer for s, wire in zip(self.steps, self.wires, strict=True)}

        def run(
            tokens: Array,
            given: tuple[dict[str, Array], ...] = (),
            mask: Any = None,
            patched_at: Any = None,
        ) -> Any:
            def view(label: str, reader: int, value: Array) -> Array:
                for number, values in enumerate(given, start=1):
                    patched = patched_at & (mask[writer_of[label], reader] == number)
                    value = jnp.where(patched, values[label], value)
                return value

            def see(step: int, place: int, label: str, value: Array) -> Array:
                return view(label, self.wires[step].readers[place], value)

            row = jnp.asarray(self.places)[tokens[1:]]
            present = tokens != self.pad
            values, averaged = run_program(self.steps, self.causal, tables, row, present, see)
            output = self.steps[-1].label
            value = view(output, self.n_readers - 1, values[output])
            value = jnp.maximum(value, 0) if self.categorical else value  # undefined is label 0
            blurred = functools.reduce(jnp.logical_or, averaged.values(), jnp.zeros((), bool))
            return values, jnp.where(blurred, NO_LABEL if self.categorical else jnp.nan, value)

        def answer(tokens: Array, others: Array, patched_at: Array) -> Array:
            given = tuple(run(other)[0] for other in others)
            return jax.lax.map(lambda mask: run(tokens, given, mask, patched_at)[1], masks)

        here = jnp.asarray(patched_at) > 0
        answers = jax.vmap(answer, out_axes=1)(jnp.asarray(base), jnp.stack(sources, 1), here)
        return _counted(answers, base, self.pad)


def _source_list(base: Tokens, source: Sources) -> list[Array]:
    """The sources, one by one.

    Raises:
      ValueError: one has another shape than the base.
    """
    sources = jnp.asarray(source)[None] if source.ndim == 2 else jnp.asarray(source)
    if sources.shape[1:] != base.shape:
        raise ValueError(f"source has shape {source.shape}, expected that of base {base.shape}")
    return list(sources)


def _counted(
    answers: Num[Array, "intervention pair pos"], base: Tokens, pad: int | None
) -> Num[Array, "intervention pair pos"]:
    """The answers, with zeros at BOS and at padding."""
    counts = jnp.ones(base.shape, bool) if pad is None else jnp.asarray(base) != pad
    return jnp.where(counts.at[:, 0].set(False), answers, 0)
