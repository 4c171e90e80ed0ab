"""Published decoders: GPT-2, Pythia, Llama, Gemma and Qwen as one network with options."""

from interpbench_jax.model.decoders.config import Attention, DecoderConfig

__all__ = ["Attention", "DecoderConfig"]
