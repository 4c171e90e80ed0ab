"""The content of a model's `config.json` and `card.json`, checked before use."""

from collections.abc import Collection
from dataclasses import MISSING, asdict, fields
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Any, NamedTuple, TypeVar

from interpbench_jax.model import Graph, TransformerConfig
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel, DataRecord

FORMAT = 1
"""Version of the format that is written; see the README in this folder."""

_T = TypeVar("_T")
_KINDS = {str: "text", dict: "an object", list: "a list", bool: "true or false"}


class Description(NamedTuple):
    """The content of a model's `config.json`.

    Attributes:
      format: version of the format; 0 for models from before versions were recorded.
      case: name of the case that the model was trained on.
      config: the shape of its weights.
      variables: what its aligned nodes hold.
      data: what it was trained on; None for models of earlier versions (see their card).
    """

    format: int
    case: str
    config: TransformerConfig
    variables: tuple[AlignedVariable, ...]
    data: DataRecord | None


def describe(model: BenchmarkModel) -> dict[str, Any]:
    """The description of a model as plain data; `read_description` reads it."""
    return {
        "format": FORMAT,
        "case": model.case,
        "model": asdict(model.config),
        "variables": [asdict(variable) for variable in model.variables],
        "data": asdict(model.data),
    }


def read_description(data: Any) -> Description:
    """Checks and reads a result of `describe`.

    Args:
      data: parsed JSON.

    Raises:
      ValueError: it has a newer format, or an entry is missing, unknown, of another type, or out of
        range.
    """
    version = _read_format(_checked(data, dict, "the content"))
    data = _record(
        data,
        "the content",
        required=("case", "model", "variables"),
        optional=("format", "data"),
    )
    sizes = [field.name for field in fields(TransformerConfig) if field.default is MISSING]
    others = [field.name for field in fields(TransformerConfig) if field.default is not MISSING]
    config = TransformerConfig(**_record(data["model"], "model", required=sizes, optional=others))
    variables = tuple(map(_read_variable, _checked(data["variables"], list, "variables")))
    for variable in variables:
        Graph.of(config).writer_index(variable.node)
    record = _read_data(data["data"], config) if "data" in data else None
    return Description(version, _checked(data["case"], str, "case"), config, variables, record)


def read_card(data: Any, config: TransformerConfig) -> dict[str, Any]:
    """Checks the entries of a card that the package uses; other entries are not checked.

    Args:
      data: parsed JSON.
      config: config of the model that the card describes.

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
    data_of_card(card, config)
    return card


def data_of_card(card: dict[str, Any], config: TransformerConfig) -> DataRecord:
    """What a model of an earlier version was trained on, according to its card.

    Raises:
      ValueError: an entry has another type or is out of range.
    """
    trained = _checked(card.get("config", {}), dict, "config")
    held_out = None
    match card.get("split"):
        case {"divided": True, "held_out": float(share)} if 0 < share < 1:
            held_out = share
        case {"divided": False}:
            held_out = 0.0
    return DataRecord(
        min_length=_read_length(trained.get("min_length"), config),
        same_size=_checked(trained.get("same_size", False), bool, "same_size"),
        held_out=held_out,
    )


def _read_format(data: dict[str, Any]) -> int:
    """Reads the version first, since everything else may differ in a newer format."""
    version = data.get("format", 0)
    if type(version) is not int or version < 0:
        raise ValueError(f"format is {short(version)}, expected a version such as {FORMAT}")
    if version > FORMAT:
        raise ValueError(
            f"format is {short(version)}, this version of the package reads up to {FORMAT}; "
            "upgrade the package to read it"
        )
    return version


def _read_data(data: Any, config: TransformerConfig) -> DataRecord:
    names = [field.name for field in fields(DataRecord)]
    data = _record(data, "data", required=names)
    held_out, known = data["held_out"], data["fingerprint"]
    if held_out is not None and not (type(held_out) is float and 0 <= held_out < 1):
        raise ValueError(f"held_out is {short(held_out)}, expected a share below 1")
    return DataRecord(
        fingerprint=None if known is None else _checked(known, str, "fingerprint"),
        min_length=_read_length(data["min_length"], config),
        same_size=_checked(data["same_size"], bool, "same_size"),
        held_out=held_out,
    )


def _read_length(shortest: Any, config: TransformerConfig) -> int | None:
    longest = config.n_ctx - 1
    if shortest is not None and (type(shortest) is not int or not 1 <= shortest <= longest):
        raise ValueError(f"min_length is {short(shortest)}, expected a length from 1 to {longest}")
    return shortest


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
