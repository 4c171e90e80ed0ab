"""A causal model as a task: with inputs, nodes in a transformer, and descriptions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.files import fingerprint
from interpbench_jax.model import Circuit, TransformerConfig
from interpbench_jax.tasks.causal.causal_model import INPUT, CausalModel
from interpbench_jax.tasks.names import check_name
from interpbench_jax.tasks.splits import HELD_OUT, PADDING, Part, Split, neighbours
from interpbench_jax.tasks.task import (
    Behaviour,
    Contrast,
    Masks,
    Pairs,
    Sources,
    Tokens,
    answer_in_chunks,
)

# Numbers of inputs and interventions that enter a task's fingerprint.
_DRAWN, _INTERVENTIONS = 64, 8

Draw = Callable[[jax.Array, int], Array | np.ndarray]
"""`(key, n) -> tokens [n, pos]`."""


class CausalAnswers(struct.PyTreeNode):
    """The answers of a causal model; see `Answers`."""

    model: CausalModel = struct.field(pytree_node=False)

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """See `CausalModel.answers`."""
        return self.model.answers(base, source, masks)


@dataclass(frozen=True, kw_only=True, eq=False)
class CausalTask:
    """A task whose algorithm is a causal model; implements `Task`.

    Attributes:
      name: the name by which users refer to it.
      title: one line: what is computed.
      model: the algorithm.
      network: the shape of the transformer that is trained on the task.
      nodes: for each variable, the head or MLP that holds it; variables left out are computed by
        the variables that read them.
      draw: draws inputs, `(key, n) -> tokens [n, pos]`, independently of each other.
      position_weights: weight of each position: `[pos]` for all inputs, or a function of tokens.
      corrupt: draws a corrupted input for each clean one, `(key, clean) -> tokens`; by default
        another input of the same length.
      foil: the wrong label that the right one is compared with, as a function of clean tokens.
      beside: what the unpatched model should output besides the algorithm's answers, as a function
        of tokens: labels (or values), and the weight of every position in the behaviour loss. At
        positions with a weight in `position_weights`, the algorithm's answer replaces it.
      vocabulary: text of every token and label, by id; by default the ids.

    Raises:
      ValueError: a variable is unknown, or its node does not exist.
    """

    name: str
    title: str
    model: CausalModel
    network: TransformerConfig
    nodes: Mapping[str, str]
    draw: Draw = field(repr=False)
    position_weights: Sequence[int | float] | Callable[[np.ndarray], np.ndarray]
    corrupt: Callable[[jax.Array, np.ndarray], Array | np.ndarray] | None = field(
        default=None, repr=False
    )
    foil: Callable[[np.ndarray], np.ndarray] | None = field(default=None, repr=False)
    beside: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = field(
        default=None, repr=False
    )
    vocabulary: tuple[Any, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Checks the name, and that variables are known."""
        check_name("task", self.name)
        if not self.vocabulary:
            object.__setattr__(self, "vocabulary", tuple(range(self.network.d_vocab)))
        _ = self.algorithm  # raises if a variable is unknown

    @cached_property
    def algorithm(self) -> CausalModel:
        """The causal model with only the variables that have a node."""
        return self.model.keeping(self.nodes)

    @property
    def circuit(self) -> Circuit:
        """The edges of the algorithm."""
        return self.algorithm.circuit

    @property
    def contents(self) -> Mapping[str, tuple[str, ...]]:
        """Each variable holds itself."""
        return {name: (name,) for name in self.algorithm.variables}

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes of the transformer that hold each variable."""
        own = {name: (self.nodes[name],) for name in self.algorithm.variables}
        return {INPUT: ("input",), **own}

    @property
    def answers(self) -> CausalAnswers:
        """The algorithm's answers."""
        return CausalAnswers(self.algorithm)

    @property
    def defined_answers(self) -> CausalAnswers:
        """The same: a causal model has an answer under every patch."""
        return self.answers

    @cached_property
    def categorical(self) -> bool:
        """Whether answers are labels."""
        tokens = self.sample_sequences(1, jax.random.key(0))[0]
        answer, _ = jax.eval_shape(self.algorithm.run, tokens)
        return bool(np.issubdtype(answer.dtype, np.integer))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of inputs, of answers to them, also under patches, of other targets, and nodes.

        Functions are identified by what they return for inputs drawn with a fixed key.
        """
        key_base, key_source, key_masks, key_corrupt = jax.random.split(jax.random.key(0), 4)
        base, source = (self.sample_sequences(_DRAWN, key) for key in (key_base, key_source))
        shape = (_INTERVENTIONS, *self.circuit.graph.valid.shape)
        masks = np.asarray(jax.random.bernoulli(key_masks, 0.5, shape), np.float32)
        answers = np.asarray(self.answers(base, source, masks))
        decimals = answers if self.categorical else np.round(answers, 3)
        arrays = [
            base,
            source,
            decimals,
            self.position_weights_of(base),
            self._corrupted(key_corrupt, base),
            *(() if self.foil is None else (self.foil(base),)),
            *(() if self.beside is None else self.beside(base)),
        ]
        return fingerprint(
            graph=[self.circuit.graph.writers, self.circuit.graph.readers, list(self.circuit)],
            places=self.places,
            network=self.network,
            data=[np.ascontiguousarray(array).tobytes() for array in arrays],
        )

    @property
    def padding(self) -> int:
        """The token that pads shorter inputs."""
        return PADDING if self.network.pad is None else self.network.pad

    @property
    def uniform(self) -> bool:
        """False: the distribution of inputs is not known."""
        return False

    def n_sequences(self) -> None:
        """None: the number of inputs is not known."""

    def all_sequences(self) -> np.ndarray:
        """Not available: the inputs cannot be listed.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"the inputs of task {self.name} cannot be listed")

    def sample_sequences(self, n: int, key: jax.Array) -> Int[np.ndarray, "input pos"]:
        """Draws inputs with replacement, as token ids.

        Raises:
          ValueError: the drawn inputs do not fit the network.
        """
        tokens = np.asarray(self.draw(key, n))
        config = self.network
        if tokens.ndim != 2 or len(tokens) != n or tokens.shape[1] > config.n_ctx:
            raise ValueError(
                f"task {self.name} drew inputs of shape {tokens.shape}, expected {n} of at most "
                f"{config.n_ctx} positions"
            )
        if tokens.min() < 0 or tokens.max() >= config.d_vocab:
            raise ValueError(
                f"task {self.name} drew tokens {tokens.min()} to {tokens.max()}, expected 0 to "
                f"{config.d_vocab - 1}"
            )
        return tokens.astype(np.int32)

    def sample_pairs(self, n: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Draws (base, source) pairs with replacement, both of one length."""
        # At most one sequence of each length stays without a partner.
        rows = self.sample_sequences(2 * (n + self.network.n_ctx), key)
        pairs = neighbours(rows, self.padding)[:n]
        return pairs[:, 0], pairs[:, 1]

    def split(self, held_out: float = HELD_OUT) -> Split:
        """Which inputs are for training and which are held out."""
        return Split.of(self, held_out=held_out)

    def pairs(self, split: Split, part: Part, at_most: int, key: jax.Array) -> Pairs:
        """Distinct pairs of inputs from one part."""
        return self.encode_pairs(*split.pairs(part, at_most, key))

    def encode_pairs(
        self, base: Int[np.ndarray, "pair pos"], source: Int[np.ndarray, "pair pos"]
    ) -> Pairs:
        """Pairs of inputs, which already are token ids, with the weights of positions."""
        return Pairs(base, source, self.position_weights_of(base))

    def position_weights_of(
        self, tokens: Int[np.ndarray, "input pos"]
    ) -> Float[np.ndarray, "input pos"]:
        """The weight of every position of inputs."""
        found = (
            self.position_weights(tokens)
            if callable(self.position_weights)
            else self.position_weights
        )
        return np.broadcast_to(np.asarray(found, np.float32), tokens.shape)

    def behaviour(self, pairs: Pairs) -> Behaviour | None:
        """The algorithm's answers where they count, and `beside` at other positions."""
        if self.beside is None:
            return None
        target, weights = self.beside(pairs.base)
        nothing = np.zeros((1, self.circuit.graph.n_writers, 1), np.float32)
        answers = answer_in_chunks(self.answers, pairs.base, pairs.base, nothing)[0]
        counts = pairs.position_weights > 0
        return Behaviour(
            np.where(counts, answers, target).astype(answers.dtype),
            np.asarray(weights, np.float32),
        )

    def contrast(self, n: int, key: jax.Array) -> Contrast:
        """Clean and corrupted inputs."""
        key_clean, key_corrupt = jax.random.split(key)
        if self.corrupt is None:
            clean, corrupted = self.sample_pairs(n, key_clean)
        else:
            clean = self.sample_sequences(n, key_clean)
            corrupted = self._corrupted(key_corrupt, clean)
        foil = None if self.foil is None else self.foil(clean)
        return Contrast(clean, corrupted, self.position_weights_of(clean), foil)

    def _corrupted(self, key: jax.Array, clean: np.ndarray) -> np.ndarray:
        if self.corrupt is None:
            return clean
        return np.asarray(self.corrupt(key, clean), np.int32)

    def describe(self) -> Sequence[str]:
        """A line per variable: what it reads, and which node holds it."""
        lines = []
        for name, reads in self.algorithm.reads.items():
            seen = ", ".join(dict.fromkeys(read.parent for read in reads))
            place = f" at {self.nodes[name]}" if name in self.nodes else ""
            lines.append(f"{name}{place} reads {seen}")
        return lines

    def decode(self, logits: Float[Array, "input pos d_vocab_out"]) -> list[list[Any]]:
        """The outputs that logits stand for, position by position, without the first."""
        if not self.categorical:
            return np.asarray(logits)[:, 1:, 0].tolist()
        labels = np.asarray(logits).argmax(-1)[:, 1:]
        n_known = len(self.vocabulary)
        return [
            [self.vocabulary[label] if label < n_known else label for label in row]
            for row in labels.tolist()
        ]
