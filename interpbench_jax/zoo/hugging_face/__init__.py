"""Models in the format of Hugging Face `transformers`: `config.json` and safetensors."""

from interpbench_jax.zoo.hugging_face.load import from_hugging_face, load_hugging_face

__all__ = ["from_hugging_face", "load_hugging_face"]
