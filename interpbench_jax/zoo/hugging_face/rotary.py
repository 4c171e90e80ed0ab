"""The angles of rotary positions, from `config.json`."""

import math

import numpy as np

from interpbench_jax.zoo.hugging_face.settings import Settings

Turns = tuple[float, ...]


def read_turns(settings: Settings, d_head: int, *, base: float = 1e4, share: float = 1.0) -> Turns:
    """The angles of a model that uses the same ones in all layers.

    Both forms of the file are supported: an object `rope_parameters`, or, in versions before 5,
    `rope_theta` and an object `rope_scaling`.

    Args:
      settings: all fields of the file.
      d_head: width of a head.
      base: the default base.
      share: default share of a head's dimensions that are rotated.

    Raises:
      ValueError: the scaling of positions is not supported, or a value is not a number.
    """
    # Names in older files; GPT-NeoX has its own name.
    base = settings.number("rope_theta", "rotary_emb_base", default=base)
    share = settings.number("partial_rotary_factor", "rotary_pct", default=share)
    old, new = settings.part("rope_scaling"), settings.part("rope_parameters")
    return turns(new or old, d_head, base=base, share=share)


def turns(scaling: Settings | None, d_head: int, *, base: float, share: float = 1.0) -> Turns:
    """The angle from one position to the next, for every pair of rotated dimensions.

    Args:
      scaling: the fields that define the scaling of positions, if any.
      d_head: width of a head.
      base: the default base.
      share: default share of a head's dimensions that are rotated.

    Raises:
      ValueError: the scaling is not supported, a value is not a number, or the number of rotated
        dimensions is odd.

    Source: Su et al. 2021, RoFormer; Chen et al. 2023, Extending Context Window of Large Language
    Models via Positional Interpolation (linear).
    """
    kind = "default"
    if scaling is not None:
        kinds = {name: name for name in ("default", "linear", "llama3")}
        kind = scaling.choice(kinds, "rope_type", "type", default="default")
        base = scaling.number("rope_theta", default=base)
        share = scaling.number("partial_rotary_factor", default=share)
    n_dims = int(d_head * min(share, 1.0))
    if not n_dims or n_dims % 2:
        raise ValueError(
            f"{n_dims} of the {d_head} dimensions of a head cannot be rotated in pairs; see "
            f"head_dim and partial_rotary_factor"
        )
    angles = base ** -(np.arange(0, n_dims, 2) / n_dims)
    if scaling is not None and kind == "linear":
        angles = angles / scaling.number("factor")
    if scaling is not None and kind == "llama3":
        angles = _slowed(angles, scaling)
    if scaling is not None:
        scaling.check_all_known(())
    return tuple(angles.tolist())


def _slowed(angles: np.ndarray, scaling: Settings) -> np.ndarray:
    """Llama 3.1's scaling: divides small angles by a factor, keeps large ones, blends between."""
    factor, context = scaling.number("factor"), scaling.number("original_max_position_embeddings")
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    turns_in_context = context * angles / (2 * math.pi)
    kept = np.clip((turns_in_context - low) / max(high - low, 1e-9), 0.0, 1.0)
    return (1 - kept) * angles / factor + kept * angles
