"""Members of a population that is trained together: one per seed and choice of rates."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interpbench_jax.siit.config import SiitConfig

VARIED = (
    *("behaviour_weight", "iit_weight", "strict_weight"),
    *("learning_rate", "final_learning_rate"),
)
"""The settings in which members of one population may differ."""


@dataclass(frozen=True)
class Member:
    """One model of a population.

    Attributes:
      seed: determines initial weights and batches.
      config: its settings; only those in `VARIED` may differ within a population.
    """

    seed: int
    config: SiitConfig

    def describe(self) -> dict[str, Any]:
        """The seed and the settings that may vary."""
        return {"seed": self.seed} | {name: getattr(self.config, name) for name in VARIED}


def members(
    config: SiitConfig,
    *,
    seeds: Sequence[int] = (0,),
    vary: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Member, ...]:
    """One member for every combination of seeds and rates.

    Args:
      config: settings of all members.
      seeds: seeds of the members.
      vary: values for some of the settings in `VARIED`, as in `{"strict_weight": (0.4, 1.0)}`.

    Raises:
      ValueError: a setting cannot vary within a population, has no value, or has a value twice; or
        a seed is out of range.
    """
    vary = {"seed": seeds} | dict(vary or {})
    for name, values in vary.items():
        if name != "seed" and name not in VARIED:
            raise ValueError(f"{name} cannot vary within a population; {', '.join(VARIED)} can")
        if not values:
            raise ValueError(f"no value given for {name}")
        if repeated := sorted({value for value in values if list(values).count(value) > 1}):
            raise ValueError(f"{name} {repeated[0]} is given twice: each value makes one member")
    for seed in vary["seed"]:
        if not 0 <= seed < 2**32:
            raise ValueError(f"a seed must be at least 0 and below 2**32, got {seed}")
    combinations: list[dict[str, Any]] = [
        dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())
    ]
    return tuple(Member(int(found.pop("seed")), replace(config, **found)) for found in combinations)
