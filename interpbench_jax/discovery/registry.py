"""The table of methods; a new one is a new file and a line here."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Array, Float

from interpbench_jax.discovery.acdc import acdc
from interpbench_jax.discovery.eap import eap
from interpbench_jax.discovery.eap_ig_masks import eap_ig_masks
from interpbench_jax.discovery.losses import loss_to_clean, loss_to_target
from interpbench_jax.discovery.objective import Loss

Method = Callable[..., Float[Array, "writer reader"]]
"""`method(params, config, batch, loss, **knobs) -> scores`; the larger the absolute value, the more
an edge matters."""

METHODS: dict[str, Method] = {"eap": eap, "eap_ig_masks": eap_ig_masks, "acdc": acdc}


# What a method's loss compares the patched output with, in the paper that brought it.
_COMPARES_WITH: dict[str, Literal["target", "clean"]] = {
    "eap": "target",
    "eap_ig_masks": "target",
    "acdc": "clean",
}


def usual_loss(method: str, categorical: bool) -> Loss:
    """The loss InterpBench uses with a method.

    Args:
      method: a name in `METHODS`.
      categorical: whether the task has labels rather than values.
    """
    by_kind = loss_to_target if _COMPARES_WITH[method] == "target" else loss_to_clean
    return by_kind(categorical)


def get_method(name: str) -> Method:
    """Looks a method up.

    Raises:
      ValueError: there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
