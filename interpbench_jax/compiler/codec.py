"""Conversion between a program's values and a model's token ids and logits."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.cases import PADDING, Case, Value

Output = Value | np.generic | tuple
"""A value that a program can output."""

# Compiled outputs are 0 or 1 up to rounding of about 1e-6.
NOTHING = 1e-2


def compiled_labels(logits: Float[Array, "*rows d_vocab_out"]) -> Int[Array, "*rows"]:
    """The outputs of a compiled categorical model, as indices.

    If the program is undefined (nothing was selected), Tracr's output is the zero vector up to
    rounding; this counts as index 0 on every machine. The original takes the argmax of the rounding
    errors.
    """
    return jnp.where(jnp.abs(logits) < NOTHING, 0, logits).argmax(-1)


@dataclass(frozen=True)
class Codec:
    """Encodes inputs and decodes outputs of a case's models, compiled and trained.

    Attributes:
      case: gives the vocabulary and the length.
      bos: id of the token that starts every sequence.
      token_ids: ids of `case.vocab`, in its order.
      pad: id of the token that pads shorter sequences.
      outputs: what each logit stands for; None for a regression.
    """

    case: Case
    bos: int
    token_ids: tuple[int, ...]
    pad: int
    outputs: tuple[Output, ...] | None

    def encode(self, inputs: Sequence[Sequence[Value]]) -> Int[np.ndarray, "batch pos"]:
        """Token ids of sequences, with BOS first; shorter ones are padded to the longest.

        Raises:
          ValueError: a token is not in the vocabulary, or a sequence is empty or too long.
        """
        if not inputs:
            raise ValueError("no sequences to encode")
        places = {token: place for place, token in enumerate(self.case.vocab)}
        longest = self.case.n_ctx - 1
        for sequence in inputs:
            if not 0 < len(sequence) <= longest:
                raise ValueError(
                    f"sequence of {len(sequence)} tokens; case {self.case.name} takes 1 to "
                    f"{longest}: {list(sequence)}"
                )
            for token in sequence:
                if token not in places:
                    raise ValueError(
                        f"token {token!r} is not in the vocabulary of case {self.case.name}: "
                        f"{list(self.case.vocab)}"
                    )
        rows = itertools.zip_longest(*([places[t] for t in s] for s in inputs), fillvalue=PADDING)
        return self.encode_indices(np.array(list(rows)).T)

    def encode_indices(
        self, indices: Int[np.ndarray, "batch length"]
    ) -> Int[np.ndarray, "batch pos"]:
        """Token ids of sequences given as indices into the vocabulary, with BOS first.

        `PADDING` becomes the padding token.
        """
        ids = np.array([*self.token_ids, self.pad], np.int32)  # padding is -1, the last entry
        return np.pad(ids[indices], ((0, 0), (1, 0)), constant_values=self.bos)

    @property
    def categorical(self) -> bool:
        """Whether an output is one of several values rather than a number."""
        return self.outputs is not None

    def decode(self, logits: Float[Array, "batch pos d_vocab_out"]) -> list[list[Output | None]]:
        """The program's values at every position after BOS.

        None where the program is undefined, as in RASP's interpreter: there all logits of a
        compiled model are 0 up to rounding. A trained model learns to give the first output there.
        """
        found = np.asarray(logits)[:, 1:]
        if self.outputs is None:
            return found[..., 0].tolist()
        labels = np.asarray(compiled_labels(logits))[:, 1:]
        defined = (np.abs(found) >= NOTHING).any(-1)
        return [
            [self.outputs[label] if known else None for label, known in zip(*row, strict=True)]
            for row in zip(labels, defined, strict=True)
        ]
