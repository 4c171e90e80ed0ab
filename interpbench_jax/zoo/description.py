"""What `config.json` and `card.json` of a model hold, checked before any of it is used."""

from collections.abc import Collection
from dataclasses import MISSING, asdict, fields
from reprlib import repr as short  # of what may be a whole file
from typing import Any, NamedTuple, TypeVar

from interpbench_jax.model import Graph, TransformerConfig
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel

_T = TypeVar("_T")
_KINDS = {str: "text", dict: "an object", list: "a list", bool: "true or false"}


class Description(NamedTuple):
    """What `config.json` says of a model.

    Attributes:
      case: name of the case it was trained on.
      config: the shape of its weights.
      variables: what its aligned nodes hold.
    """

    case: str
    config: TransformerConfig
    variables: tuple[AlignedVariable, ...]


def describe(model: BenchmarkModel) -> dict[str, Any]:
    """Plain data from which `read_description` makes the same description."""
    return {
        "case": model.case,
        "model": asdict(model.config),
        "variables": [asdict(variable) for variable in model.variables],
    }


def read_description(data: Any) -> Description:
    """Checks what `describe` wrote.

    Args:
      data: as JSON gives it.

    Raises:
      ValueError: something is missing, unknown, of another type, or out of range.
    """
    data = _record(data, "the content", required=("case", "model", "variables"))
    sizes = [field.name for field in fields(TransformerConfig) if field.default is MISSING]
    others = [field.name for field in fields(TransformerConfig) if field.default is not MISSING]
    config = TransformerConfig(**_record(data["model"], "model", required=sizes, optional=others))
    variables = tuple(map(_read_variable, _checked(data["variables"], list, "variables")))
    for variable in variables:
        Graph.of(config).writer_index(variable.node)
    return Description(_checked(data["case"], str, "case"), config, variables)


def read_card(data: Any, config: TransformerConfig) -> dict[str, Any]:
    """Checks the entries of a card that the package uses; others are free.

    Args:
      data: as JSON gives it.
      config: of the model that the card is of.

    Raises:
      ValueError: it is not an object, or an entry has another type or is out of range.
    """
    card = _checked(data, dict, "the content")
    _checked(card.get("title", ""), str, "title")
    _checked(card.get("reached_threshold", False), bool, "reached_threshold")
    for name, value in _checked(card.get("metrics", {}), dict, "metrics").items():
        is_number = type(value) is float or type(value) is int and abs(value) < 2**63
        if not (is_number or value is None):  # None stands for NaN
            raise ValueError(f"{short(name)} in metrics is {short(value)}, expected a number")
    trained = _checked(card.get("config", {}), dict, "config")
    _checked(trained.get("same_size", False), bool, "same_size")
    shortest, longest = trained.get("min_length"), config.n_ctx - 1
    if shortest is not None and (type(shortest) is not int or not 1 <= shortest <= longest):
        raise ValueError(f"min_length is {short(shortest)}, expected a length from 1 to {longest}")
    return card


def _read_variable(data: Any) -> AlignedVariable:
    data = _record(data, "a variable", required=("values", "compiled_node", "node"))
    values = _checked(data["values"], list, "values of a variable")
    return AlignedVariable(
        values=tuple(_checked(value, str, "value of a variable") for value in values),
        compiled_node=_checked(data["compiled_node"], str, "compiled_node"),
        node=_checked(data["node"], str, "node"),
    )


def _record(
    data: Any, what: str, *, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """An object with these fields and no others."""
    for name in _checked(data, dict, what):
        if name not in required and name not in optional:
            raise ValueError(f"{what} has an unknown field {short(name)}")
    for name in required:
        if name not in data:
            raise ValueError(f"{what} has no field {name!r}")
    return data


def _checked(value: Any, kind: type[_T], what: str) -> _T:
    if type(value) is not kind:
        raise ValueError(f"{what} is {short(value)}, expected {_KINDS[kind]}")
    return value
