"""Files made to run code, to exhaust memory or time, or to mislead.

`python -m tests.zoo.hostile_files DIR` writes them all.
"""

import io
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.zoo.torch_bytes import (
    archive,
    call,
    name,
    number,
    program,
    record,
    several,
    storage,
    tensor,
    text,
)

COMMAND = "echo a hostile file ran this > /dev/stderr"
MEBIBYTE = 2**20


class _Calls:
    """An object that is pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def _doubled(times: int, start: bytes, double: bytes) -> bytes:
    """A nested value in which each level contains the one below twice, by the memo."""
    return start + b"".join(b"q\x01" + double for _ in range(times))


def pickles() -> dict[str, bytes]:
    """Pickles by the kind of attack."""
    run = call(name("os", "system"), text(COMMAND))
    return {
        "os.system": pickle.dumps(_Calls(os.system, COMMAND)),
        "os.system, protocol 0": pickle.dumps(_Calls(os.system, COMMAND), 0),
        "eval": pickle.dumps(_Calls(eval, "__import__('os').system('true')")),
        "exec": pickle.dumps({"a": [_Calls(exec, "import os; os.system('true')")]}),
        "getattr": program(call(name("__builtin__", "getattr"), text("a"), text("upper"))),
        "nested calls": program(call(call(name("builtins", "getattr"), run, text("x")), run)),
        "a call in a key": program(b"}" + run + number(1) + b"s"),
        "a call in a state": program(call(name("collections", "OrderedDict")) + run + b"b"),
        "inst": b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.",
        "obj": program(b"(" + name("os", "system") + text(COMMAND) + b"o"),
        "newobj": program(name("subprocess", "Popen") + several(text(COMMAND)) + b"\x81"),
        "stack_global": program(text("os") + text("system") + b"\x93" + several() + b"R"),
        "a name with dots": program(text("collections") + text("OrderedDict.fromkeys") + b"\x93"),
        "a name over the border": program(name("collections.abc", "os.system")),
        "extension": program(b"\x82\x01"),
        "persistent": program(text("os.system") + b"Q"),
        "a string as a function": program(text("eval") + several(text("1")) + b"R"),
        "a stand-in's state": program(
            name("collections", "OrderedDict") + record(set_state=text("x")) + b"b"
        ),
        "memo of what is not there": program(b"h\x07"),
        "a mark in the memo": program(b"(q\x00h\x000"),
        "a list that holds itself": program(b"]q\x00h\x00a"),
        "a dict that holds itself": program(b"}q\x00" + number(1) + b"h\x00s"),
        "doubled lists": program(_doubled(60, b"]", b"](h\x01h\x01e")),
        "doubled tuples": program(_doubled(60, b")", b"h\x01\x86")),
        "doubled tuples as a key": program(b"}" + _doubled(60, b")", b"h\x01\x86") + b"Ns"),
        "deep": program(b"]" * 100_000 + b"a" * 99_999),
        "only marks": program(b"(" * 1_000_000),
        "many values": program(b"](" + b"N" * 2_000_000 + b"e"),
        "many tuples": program(b"](" + b")" * 290_000 + b"e" + b"\x85" * 5_000),
        "pops": program(b"0" * 1_000),
        "text of 4 GiB": program(b"X\xff\xff\xff\xffabc"),
        "text of 8 EiB": program(b"\x8d" + struct.pack("<Q", 2**63 - 1) + b"abc", protocol=4),
        "bytes of 8 EiB": program(b"\x8e" + struct.pack("<Q", 2**63 - 1), protocol=4),
        "bytearray": program(b"\x96" + struct.pack("<Q", 2**40), protocol=5),
        "a buffer": program(b"\x97", protocol=5),
        "a number of a MiB": program(b"\x8b" + struct.pack("<i", MEBIBYTE) + b"\x7f" * MEBIBYTE),
        "a negative length": program(b"\x8b" + struct.pack("<i", -5)),
        "a number in decimals": b"L" + b"9" * 100_000 + b"L\n.",
        "text that is no text": program(b"X\x02\x00\x00\x00\xff\xfe"),
        "protocol 77": program(b"N", protocol=77),
        "a long text many times": program(
            b"](" + text("a" * MEBIBYTE) + b"q\0" + b"h\0" * 200_000 + b"e"
        ),
        "encode to another codec": program(call(name("_codecs", "encode"), text("a"), text("zip"))),
        "a dtype of objects": program(call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")),
        "a dtype of a GiB": program(call(name("numpy", "dtype"), text("V1073741824"))),
        "an array of a TiB": program(
            call(name("numpy.core.multiarray", "_reconstruct"), several(number(2**40)), text("b"))
        ),
        "empty": b"",
        "no stop": b"\x80\x02N",
        "nothing": program(),
        "two values": program(b"NN"),
        "a name alone": program(name("collections", "OrderedDict")),
        "zeros": bytes(10_000),
        "17 MiB": program(b"N0" * 9 * MEBIBYTE),
    }


def odd_pickles() -> dict[str, bytes]:
    """Pickles of plain data that would be expensive for other readers."""
    encoded = call(name("_codecs", "encode"), b"h\x00", text("latin1"))
    return {
        "memo of a billion": program(number(1) + b"r" + struct.pack("<I", 2**32 - 1)),
        "a frame of 8 EiB": program(b"\x95" + struct.pack("<Q", 2**63 - 1) + b"N", protocol=4),
        "bytes by the thousand": program(b"](" + text("a" * 900) + b"q\0" + encoded * 9_000 + b"e"),
    }


def torch_files() -> dict[str, bytes]:
    """Files of `torch.save` by the kind of attack."""
    data = bytes(24)
    one = tensor(storage("0", 6), (2, 3), (3, 1))
    good = archive(program(record(a=one)), {"0": data})
    found = {f"pickle: {what}": archive(content) for what, content in pickles().items()}
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
        "too large": ((2, 4), (4, 1), 0),
        "strides that lead out": ((2, 3), (30, 1), 0),
        "offset that leads out": ((2, 3), (3, 1), 1),
        "a negative size": ((-2, 3), (3, 1), 0),
        "a negative stride": ((2, 3), (-3, 1), 5),
        "a negative offset": ((2, 3), (3, 1), -1),
        "an absurd offset": ((1,), (1,), 2**62),
        "an absurd size": ((2**62,), (1,), 0),
        "sizes that overflow": ((2**32, 2**32), (0, 0), 0),
        "a TiB by strides of 0": ((2**20, 2**18), (0, 0), 0),
        "no element, absurd axes": ((0, 2**62), (1, 1), 0),
        "no element by overflow": ((2**63, 2**63, 2), (0, 0, 0), 0),
        "fewer strides": ((2, 3), (3,), 0),
        "40 axes": ((1,) * 40, (1,) * 40, 0),
    }
    for what, (shape, strides, offset) in shapes.items():
        content = program(record(a=tensor(storage("0", 6), shape, strides, offset)))
        found[f"tensor: {what}"] = archive(content, {"0": data})
    many = b"".join(tensor(storage("0", 6), (10**6,), (0,)) for _ in range(1_000))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    storages = {
        "as a value": program(storage("0", 6)),
        "of another size": program(tensor(storage("0", 7), (2,), (1,))),
        "of negative size": program(tensor(storage("0", -6), (0,), (1,))),
        "of two types": program(several(one, tensor(storage("0", 6, "IntStorage"), (2,), (1,)))),
        "of complex numbers": program(tensor(storage("0", 3, "ComplexFloatStorage"), (2,), (1,))),
        "of no known type": program(tensor(storage("0", 6, "EvilStorage"), (2,), (1,))),
        "that is not there": program(tensor(storage("1", 6), (2,), (1,))),
        "by a path": program(tensor(storage("../../../etc/passwd", 6), (2,), (1,))),
        "by a number": program(
            several(text("storage"), name("torch", "FloatStorage"), number(0), b"N", number(6))
            + b"Q"
        ),
        "by text": program(text("0") + b"Q"),
        "by a tensor": program(call(rebuild, one, number(0), several(), several(), b"\x89", b"N")),
        "by nothing": program(call(rebuild, b"N", number(0), several(), several(), b"\x89", b"N")),
        "too few arguments": program(call(rebuild, storage("0", 6))),
        "a thousand times": program(b"](" + many + b"e"),
        "a parameter of text": program(
            call(name("torch._utils", "_rebuild_parameter"), text("a"), b"\x88", b"N")
        ),
        "a size of text": program(call(name("torch", "Size"), text("a" * 1_000))),
    }
    found |= {f"storage: {what}": archive(p, {"0": data}) for what, p in storages.items()}
    entries: dict[str, dict[str, bytes]] = {
        "a path upwards": {"../../evil": b"x"},
        "an absolute path": {"/etc/passwd": b"x"},
        "a path of a storage": {"data/../../evil": data},
        "code": {"code/__torch__.py": b"import os"},
        "big-endian": {"byteorder": b"big"},
        "a long version": {"version": b"9" * 1_000_000},
    }
    found |= {
        f"entry: {what}": archive(program(record(a=one)), {"0": data}, extra=extra)
        for what, extra in entries.items()
    }
    bomb = archive(
        program(tensor(storage("0", 2**26), (2**26,), (1,))),
        {"0": bytes(2**28)},
        compression=zipfile.ZIP_DEFLATED,
    )
    end = good.rindex(b"PK\x05\x06")
    first = good.index(b"PK\x01\x02")
    found |= {
        "zip: compressed, 256 MiB": bomb,
        "zip: no entries": _zip({}),
        "zip: another archive": _zip({"hello.txt": b"hello"}),
        "zip: many entries": _zip({f"archive/data/{i}": b"" for i in range(5_000)}),
        "zip: an entry twice": _twice("archive/data/0", data),
        "zip: a comment": good + b"comment",
        "zip: the directory elsewhere": good[: end + 16]
        + struct.pack("<I", 2**31)
        + good[end + 20 :],
        "zip: a directory of 4 GiB": good[: end + 12] + b"\xff" * 4 + good[end + 16 :],
        "zip: 65535 entries": good[: end + 10] + b"\xff\xff" + good[end + 12 :],
        "zip: a local header elsewhere": good[: first + 42]
        + b"\xf0\xff\xff\x7f"
        + good[first + 46 :],
        "zip: sizes of 4 GiB": good[: first + 20] + b"\xff" * 8 + good[first + 28 :],
        "zip64: a locator to nowhere": good[:end]
        + struct.pack("<4sIQI", b"PK\x06\x07", 0, 2**63, 1)
        + good[end:],
        "zip64: 2**63 entries": good[:end]
        + struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**63, 2**63, 2**63, 0)
        + struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
        + good[end:],
        "older format": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        "tar": b"archive/data.pkl" + bytes(1_000),
        "empty": b"",
        "a raw pickle": pickles()["os.system"],
        "safetensors": struct.pack("<Q", 2) + b"{}",
        "html": b"<!DOCTYPE html><html>404</html>",
    }
    return found


def _zip(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for entry, content in entries.items():
            file.writestr(entry, content)
    return stream.getvalue()


def _twice(entry: str, content: bytes) -> bytes:
    """An archive with two entries of the same name, about which `zipfile` warns."""
    other = entry[:-1] + "1"
    return _zip({entry: content, other: content}).replace(other.encode(), entry.encode())


def main() -> None:
    """Writes every file to the directory given on the command line."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for suffix, files in ((".pkl", pickles()), (".pth", torch_files())):
        for what, content in files.items():
            (directory / f"{what.replace('/', '_')}{suffix}").write_bytes(content)


if __name__ == "__main__":
    main()
