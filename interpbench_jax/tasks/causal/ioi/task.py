"""Indirect object identification as tasks: sentences, algorithm, and nodes in a transformer."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from interpbench_jax.model import TransformerConfig
from interpbench_jax.tasks.causal.causal_task import CausalTask
from interpbench_jax.tasks.causal.ioi.algorithm import ioi_model
from interpbench_jax.tasks.causal.ioi.sentences import Choices, Corruption, Sentences

_NODES = {"all_tokens": "m0", "duplicate": "a1.h1", "s_inhibition": "a2.h1", "name_mover": "a4.h1"}
_D_MLP, _PUBLISHED_D_MLP = 256, 3072
# Weight of the last word when every next token is predicted; as in InterpBench.
_LAST_WEIGHT = 10


@dataclass(frozen=True)
class _Reader:
    """Recovers choices from the tokens of sentences, and draws sentences as tokens."""

    sentences: Sentences
    corruption: Corruption

    def draw(self, key: jax.Array, n: int) -> Int[np.ndarray, "sentence pos"]:
        """Draws sentences; all templates are equally likely."""
        return self.sentences.tokens(self.sentences.choose(key, n))

    def corrupt(self, key: jax.Array, clean: np.ndarray) -> Int[np.ndarray, "sentence pos"]:
        """The same sentences with other people; see `Sentences.corrupt`."""
        return self.sentences.tokens(
            self.sentences.corrupt(self.choices(clean), key, self.corruption)
        )

    def last(self, tokens: np.ndarray) -> Float[np.ndarray, "sentence pos"]:
        """1 at the last word of every sentence."""
        ends = (tokens != self.sentences.language.pad).sum(1) - 1
        return (np.arange(tokens.shape[1])[None] == ends[:, None]).astype(np.float32)

    def next_token(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next token of each position, and weights: 10 at the last word, 0 at padding, or 1."""
        following = np.pad(tokens[:, 1:], ((0, 0), (0, 1)))
        words = (tokens != self.sentences.language.pad).astype(np.float32)
        return following, words + (_LAST_WEIGHT - 1) * self.last(tokens)

    def subject(self, tokens: np.ndarray) -> Int[np.ndarray, "sentence pos"]:
        """The name of the person who acts, at every position."""
        subject = self.sentences.name_ids[self.choices(tokens).subject]
        return np.repeat(subject[:, None], tokens.shape[1], 1)

    def choices(self, tokens: np.ndarray) -> Choices:
        """The choices that sentences were made from.

        Raises:
          ValueError: a row is not a sentence of these templates.
        """
        rows = self.sentences.rows
        fixed = rows >= 0
        fits = ((tokens[:, None] == rows[None]) | ~fixed[None]).all(2)
        if not fits.any(1).all():
            raise ValueError(f"no template has the sentence {tokens[int((~fits.any(1)).argmax())]}")
        template = fits.argmax(1)
        fillers = (
            *(self.sentences.name_ids,) * 3,
            self.sentences.ids(self.sentences.places),
            self.sentences.ids(self.sentences.objects),
        )
        found = []
        for slot, known in enumerate(fillers):
            position = (rows[template] == -1 - slot).argmax(1)
            word = tokens[np.arange(len(tokens)), position]
            found.append((word[:, None] == known[None]).argmax(1))
        return Choices(template, *found)


def ioi_task(
    name: str = "ioi",
    sentences: Sentences | None = None,
    *,
    corruption: Corruption = "abc",
    d_mlp: int = _D_MLP,
    next_token: bool = False,
) -> CausalTask:
    """Indirect object identification, judged at the last word of a sentence.

    The transformer has six layers of four heads, width 64, LayerNorm and the tanh approximation of
    GELU. The variables are in the same nodes as in InterpBench's model.

    Args:
      name: name of the task.
      sentences: templates, words and language; the built-in ones by default.
      corruption: how corrupted inputs differ, see `Sentences.corrupt`.
      d_mlp: hidden units of every MLP; the published model has 3,072.
      next_token: whether the model also learns to predict every next token, with a tenth of the
        last word's weight.

    Source: Gupta et al. 2024, InterpBench; Wang et al. 2023.
    """
    sentences = sentences or Sentences()
    reader = _Reader(sentences, corruption)
    n_tokens = len(sentences.language.vocabulary)
    network = TransformerConfig(
        n_layers=6,
        n_heads=4,
        d_model=64,
        d_head=16,
        d_mlp=d_mlp,
        n_ctx=sentences.rows.shape[1],
        d_vocab=max(n_tokens, sentences.language.pad + 1),
        d_vocab_out=max(n_tokens, sentences.language.pad + 1),
        causal=True,
        pad=sentences.language.pad,
        activation="gelu_tanh",
        layer_norm=True,
        init_std=0.02,
    )
    return CausalTask(
        name=name,
        title="the indirect object of a sentence about two people",
        model=ioi_model(np.pad(sentences.is_name, (0, network.d_vocab - n_tokens))),
        network=network,
        nodes=_NODES,
        draw=reader.draw,
        position_weights=reader.last,
        corrupt=reader.corrupt,
        foil=reader.subject,
        beside=reader.next_token if next_token else None,
        vocabulary=sentences.language.vocabulary,
    )


def ioi_tasks() -> Sequence[CausalTask]:
    """The built-in IOI tasks."""
    return (
        ioi_task(),
        ioi_task("ioi_next_token", next_token=True),
        ioi_task("ioi-published", d_mlp=_PUBLISHED_D_MLP),
    )
