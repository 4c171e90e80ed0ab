"""Pickles of plain data, interpreted without running anything that they name.

The standard library's unpickler calls functions that a file names, and its memory use is not
limited. Here the standard disassembler splits the file into opcodes, and a small machine executes
those that make plain data. Functions that a file names are looked up in a table of stand-ins; other
names are rejected.
"""

import pickletools
from collections.abc import Callable, Mapping
from reprlib import repr as short
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from interpbench_jax.files.bounded import MEBIBYTE

LARGEST = 16 * MEBIBYTE
"""The most bytes of a pickle."""

_PROTOCOLS = range(2, 6)
_MOST_STEPS = 300_000  # opcodes; a model with 1,000 weights has 35,000
# Shared values are counted as often as they occur; this many characters count as one value.
_MOST_VALUES, _CHARACTERS = 1_000_000, 16
# Values on the stack that are not yet part of a container; Python writes lists and dicts in batches
# of 1,000.
_MOST_WAITING = 10_000
_DEEPEST = 50
_LONGEST_BYTES = 1_000  # bytes are written as text; long ones would multiply the file's size
_SCALARS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_KEYS = (str, int, float, bool, bytes, type(None))
_LEAVES = (*_KEYS, np.ndarray)


@runtime_checkable
class Stateful(Protocol):
    """The result of a stand-in for an object whose state follows in the file."""

    def set_state(self, state: Any) -> None:
        """Takes the state.

        Raises:
          ValueError: the state is not as expected.
        """


class _Function(NamedTuple):
    """A function or class that the file names, and its stand-in."""

    name: str
    stand_in: Callable[..., Any]


class _Mark:
    """The start of a collection on the stack."""


_MARK = _Mark()


def read_pickle(
    content: bytes,
    stand_ins: Mapping[str, Any],
    *,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value that a pickle of protocol 2 or newer holds.

    Args:
      content: content of the pickle.
      stand_ins: by dotted name, such as `torch.Size`: a function of ours that is called instead, or
        a value. Other names are rejected.
      persistent: converts a persistent id; by default such ids are rejected.

    Returns:
      Lists, tuples, dicts with plain keys, strings, bytes, numbers that fit into 64 bits, booleans,
      `None`, and such values or arrays as the stand-ins return. No part contains itself.

    Raises:
      ValueError: the pickle names something that has no stand-in, uses another opcode, is damaged,
        too long, or nested too deeply. Messages are one short line.
    """
    if len(content) > LARGEST:
        raise ValueError(f"a pickle of {len(content)} bytes, expected at most {LARGEST}")
    machine = _Machine({**_COMMON, **stand_ins}, persistent)
    try:
        value = machine.run(content)
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__})") from error
    _check_extent(value)
    return value


class _Machine:
    """The stack and the memo of one run."""

    def __init__(
        self, stand_ins: Mapping[str, Any], persistent: Callable[[Any], Any] | None
    ) -> None:
        self._stand_ins = stand_ins
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if step >= _MOST_STEPS:
                raise ValueError(f"the pickle has over {_MOST_STEPS} opcodes")
            if len(self._stack) > _MOST_WAITING:
                raise ValueError(f"the pickle has more than {_MOST_WAITING} unfinished values")
            name = opcode.name
            if name in _LITERALS:
                if type(argument) is int and not -(2**63) <= argument < 2**64:
                    raise ValueError("the pickle holds a number that does not fit into 64 bits")
                self._stack.append(argument)
            elif name in _FIXED:
                self._stack.append(_FIXED[name]())
            elif name == "STOP":
                break
            else:
                action = _ACTIONS.get(name)
                if action is None:
                    raise ValueError(f"the pickle uses opcode {name}, which plain data does not")
                action(self, argument)
        (value,) = self._stack
        return value

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("the pickle is damaged (a mark in place of a value)")
        return value

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _protocol(self, version: int) -> None:
        if version not in _PROTOCOLS:
            raise ValueError(f"the pickle has protocol {version}, expected 2 to 5")

    def _mark(self, _: None) -> None:
        self._stack.append(_MARK)

    def _tuple(self, n: int | None) -> None:
        values = self._pop_to_mark() if n is None else [self._pop() for _ in range(n)][::-1]
        self._stack.append(tuple(values))

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError(f"the pickle appends to a {type(target).__name__}")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError(f"the pickle sets items of a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in _KEYS:
                raise ValueError(f"the pickle has a dict with a {type(key).__name__} as a key")
            target[key] = value

    def _put(self, index: int | None) -> None:
        if self._stack[-1] is _MARK:
            raise ValueError("the pickle is damaged (a mark in place of a value)")
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _global(self, name: str | None) -> None:
        if name is None:
            attribute, module = self._pop(), self._pop()
            if type(module) is not str or type(attribute) is not str:
                raise ValueError("the pickle is damaged (a name that is not a string)")
            name = f"{module} {attribute}"
        dotted = name.replace(" ", ".", 1)
        if dotted not in self._stand_ins:
            raise ValueError(f"refused: the pickle names {dotted[:100]!r}, which is not plain data")
        found = self._stand_ins[dotted]
        self._stack.append(_Function(dotted, found) if callable(found) else found)

    def _call(self, _: None) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Function):
            raise ValueError("the pickle calls something that is not a function")
        if type(arguments) is not tuple:
            raise ValueError("the pickle is damaged (arguments that are not a tuple)")
        self._stack.append(function.stand_in(*arguments))

    def _build(self, _: None) -> None:
        state, target = self._pop(), self._stack[-1]
        if not isinstance(target, Stateful):
            raise ValueError(f"the pickle sets the state of a {type(target).__name__}")
        target.set_state(state)

    def _persistent_id(self, _: None) -> None:
        if self._persistent is None:
            raise ValueError("the pickle refers to data outside of it")
        self._stack.append(self._persistent(self._pop()))


_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


def _nothing(_: _Machine, __: Any) -> None:
    """The action of opcodes that only help to read ahead: none."""


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._protocol,
    "FRAME": _nothing,
    "MARK": _Machine._mark,
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "TUPLE": lambda machine, _: machine._tuple(None),
    "APPEND": lambda machine, _: machine._append([machine._pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._pop_to_mark()),
    "SETITEM": lambda machine, _: machine._set_items([machine._pop(), machine._pop()][::-1]),
    "SETITEMS": lambda machine, _: machine._set_items(machine._pop_to_mark()),
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._global,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent_id,
}


class _ScalarType:
    """Stand-in for a NumPy dtype of one number: `f8`, `i4`, `b1`."""

    def __init__(self, code: Any, *_: Any) -> None:
        if type(code) is not str or code not in _SCALARS:
            raise ValueError(f"a NumPy dtype {short(code)}, expected one of {', '.join(_SCALARS)}")
        self.dtype = np.dtype(f"<{code}")

    def set_state(self, state: Any) -> None:
        """Takes the byte order, which is the second part of the state."""
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        if order not in ("<", "|"):
            raise ValueError(f"a NumPy number in byte order {short(order)}, expected '<'")


def _scalar(kind: Any, content: Any) -> int | float | bool:
    """Stand-in for the function that makes a NumPy scalar; returns a Python number."""
    if not isinstance(kind, _ScalarType):
        raise ValueError("a NumPy number without a dtype")
    if type(content) is not bytes or len(content) != kind.dtype.itemsize:
        raise ValueError(f"a NumPy number of type {kind.dtype} made of {short(content)}")
    return np.frombuffer(content, kind.dtype)[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    """Stand-in for `_codecs.encode`, with which protocol 2 writes bytes."""
    if type(text) is not str or encoding != "latin1" or len(text) > _LONGEST_BYTES:
        raise ValueError(f"bytes made of {short(text)} in {short(encoding)}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stand-in for `bytes`, which protocol 2 calls for empty bytes."""
    return b""


# Stand-ins for protocol 2 and NumPy numbers, which may be in any pickle of plain data.
_COMMON = {
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    "numpy.dtype": _ScalarType,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}


def _check_extent(value: Any) -> None:
    """Checks that a value can be traversed in bounded time.

    Raises:
      ValueError: it contains itself, is nested too deeply, or has too many parts.
    """
    level, n_values = [value], 1
    for _ in range(_DEEPEST):
        inside: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                inside.extend(entry.values())
            elif type(entry) is list or type(entry) is tuple:
                inside.extend(entry)
            elif type(entry) is str or type(entry) is bytes:
                n_values += len(entry) // _CHARACTERS
            elif type(entry) not in _LEAVES:
                raise ValueError("the pickle holds something other than plain data")
            if n_values + len(inside) > _MOST_VALUES:
                raise ValueError(f"the pickle has over {_MOST_VALUES} values, or contains itself")
        n_values += len(inside)
        level = inside
        if not level:
            return
    raise ValueError(f"the pickle is nested over {_DEEPEST} levels, or contains itself")
