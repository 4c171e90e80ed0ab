"""Indirect object identification: "Mary and John went to the store. John gave a drink to" Mary."""

from interpbench_jax.tasks.causal.ioi.algorithm import ioi_model
from interpbench_jax.tasks.causal.ioi.language import Language, tokenizer_language, words_language
from interpbench_jax.tasks.causal.ioi.sentences import Choices, Corruption, Sentences
from interpbench_jax.tasks.causal.ioi.task import ioi_task

__all__ = [
    "Choices",
    "Corruption",
    "Language",
    "Sentences",
    "ioi_model",
    "ioi_task",
    "tokenizer_language",
    "words_language",
]
