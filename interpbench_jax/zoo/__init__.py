"""Models on disk, in the package's own format and in those of other projects."""

from interpbench_jax.zoo.bar import BAR, below_bar
from interpbench_jax.zoo.hugging_face import from_hugging_face, load_hugging_face
from interpbench_jax.zoo.make import make_model, make_models_together, metrics, score_again
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel
from interpbench_jax.zoo.pairs import EvaluationPairs, evaluation_pairs, held_out_statement
from interpbench_jax.zoo.prepared import Prepared, prepare
from interpbench_jax.zoo.published import Published, read_published
from interpbench_jax.zoo.recipe import Recipe, read_recipes, recipe_names, recipes_of
from interpbench_jax.zoo.store import (
    bundled_names,
    every_bundled_name,
    load_model,
    save_model,
)
from interpbench_jax.zoo.torch_files import read_torch
from interpbench_jax.zoo.transformer_lens import (
    from_transformer_lens,
    load_transformer_lens,
    save_transformer_lens,
    to_transformer_lens,
)

__all__ = [
    "BAR",
    "AlignedVariable",
    "BenchmarkModel",
    "EvaluationPairs",
    "Prepared",
    "Published",
    "Recipe",
    "below_bar",
    "bundled_names",
    "evaluation_pairs",
    "every_bundled_name",
    "from_hugging_face",
    "from_transformer_lens",
    "held_out_statement",
    "load_hugging_face",
    "load_model",
    "load_transformer_lens",
    "make_model",
    "make_models_together",
    "metrics",
    "prepare",
    "read_recipes",
    "recipe_names",
    "recipes_of",
    "read_published",
    "read_torch",
    "save_model",
    "score_again",
    "save_transformer_lens",
    "to_transformer_lens",
]
