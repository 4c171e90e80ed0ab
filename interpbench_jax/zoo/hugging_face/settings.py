"""The fields of a `config.json`, read one by one, so that none is silently ignored."""

import re
from collections.abc import Iterable, Mapping
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Any, TypeVar

_T = TypeVar("_T")
_MISSING: Any = object()
_LARGEST = 2**24  # largest size

# Fields that do not change what a model computes when it is run on tokens of one length.
_NO_EFFECT = re.compile(
    r"_name_or_path|transformers_version|architectures|auto_map|torch_dtype|dtype|use_cache|"
    r"return_dict|output_.*|.*_token_id|.*drop(out)?(_.*)?|initializer_range|initializer_factor|"
    r"summary_.*|task_specific_params|id2label|label2id|problem_type|chunk_size_feed_forward|"
    r"pretraining_tp|tokenizer_class|n_ctx|torchscript|gradient_checkpointing|"
    r"reorder_and_upcast_attn|attn_implementation|_attn_implementation.*|cache_implementation|"
    r"use_return_dict|max_window_layers|is_llama_config|unsloth_.*|"
    r"model_type"
)


class Settings:
    """The fields of a `config.json`, and which of them have been read."""

    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        """Starts with no field read.

        Args:
          fields: values by name.
          source: the file's name in messages.
        """
        self._fields, self._source = fields, source
        self._known: set[str] = set()

    def get(self, *names: str, default: Any = _MISSING) -> Any:
        """The value of the first of several fields that exists, of any type.

        Raises:
          ValueError: none exists, and there is no default.
        """
        self._known.update(names)
        for name in names:
            if name in self._fields:
                return self._fields[name]
        if default is _MISSING:
            raise ValueError(f"{self._source}: field {names[0]!r} is missing")
        return default

    def integer(self, *names: str, default: Any = _MISSING) -> int:
        """A positive integer."""
        value = self.get(*names, default=default)
        if type(value) is not int or not 1 <= value <= _LARGEST:
            raise self._wrong(names, value, f"an integer from 1 to {_LARGEST}")
        return value

    def number(self, *names: str, default: Any = _MISSING) -> float:
        """A positive number."""
        value = self.get(*names, default=default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise self._wrong(names, value, "a positive number")
        return float(value)

    def optional(self, *names: str) -> float | None:
        """A positive number; None if the field is null or missing."""
        value = self.get(*names, default=None)
        return None if value is None else self.number(*names)

    def flag(self, *names: str, default: Any = _MISSING) -> bool:
        """True or false; null is false."""
        value = self.get(*names, default=default)
        if value is not None and type(value) is not bool:
            raise self._wrong(names, value, "true or false")
        return bool(value)

    def choice(self, values: Mapping[str, _T], *names: str, default: Any = _MISSING) -> _T:
        """The value that the field's word stands for."""
        value = self.get(*names, default=default)
        if not isinstance(value, str) or value not in values:
            raise self._wrong(names, value, f"one of {', '.join(values)}")
        return values[value]

    def part(self, name: str) -> "Settings | None":
        """The fields of an object in a field; None if it is missing or null."""
        value = self.get(name, default=None)
        if value is not None and not isinstance(value, dict):
            raise self._wrong((name,), value, "an object")
        return None if value is None else Settings(value, f"{self._source}: {name}")

    def require(self, values: Iterable[Any], name: str) -> None:
        """Checks that a field, if it exists, has a supported value.

        Raises:
          ValueError: it has another value.
        """
        allowed = tuple(values)
        value = self.get(name, default=allowed[0])
        if not any(type(value) is type(one) and value == one for one in allowed):
            expected = " or ".join(map(repr, allowed))
            raise ValueError(
                f"{self._source}: {name} = {short(value)} is not supported; expected {expected}"
            )

    def check_all_known(self, ignored: Iterable[str]) -> None:
        """Checks that every field has been read, is known to have no effect, or is null.

        Raises:
          ValueError: there is another field.
        """
        for name in sorted(self._fields.keys() - self._known - set(ignored)):
            if self._fields[name] is not None and not _NO_EFFECT.fullmatch(name):
                raise ValueError(
                    f"{self._source}: unknown field {short(name)}; if it does not change what the "
                    f"model computes, name it in `ignored`"
                )

    def _wrong(self, names: tuple[str, ...], value: Any, expected: str) -> ValueError:
        name = next((name for name in names if name in self._fields), names[0])
        return ValueError(f"{self._source}: {name} must be {expected}, got {short(value)}")
