"""Fuzzes the readers of foreign files, for a given time.

`python -m tests.zoo.fuzz_readers torch --seconds 600`; without a name, each reader in turn. A
reader must return a value or raise one clear error, run no code, and take less than a second and
1 GiB.
"""

import argparse
import json
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st

from interpbench_jax.zoo import (
    load_hugging_face,
    load_model,
    load_transformer_lens,
    save_model,
    save_transformer_lens,
)
from interpbench_jax.zoo.formats import (
    Discovered,
    read_discovered,
    to_eap_ig,
    to_edge_list,
    to_named_scores,
    write_edge_lines,
    write_score_arrays,
    write_table,
)
from interpbench_jax.zoo.hooked_config import decoder_options, read_hooked_config
from interpbench_jax.zoo.published import CONFIG, EDGES, WEIGHTS, read_published
from interpbench_jax.zoo.published_edges import read_published_edges
from interpbench_jax.zoo.store import inspect_model
from interpbench_jax.zoo.torch_files import read_torch
from tests.golden_files import GOLDEN
from tests.models import untrained_model
from tests.zoo.torch_bytes import archive, name, number, record, several, storage, tensor, text
from tests.zoo.watching import LONGEST, watched

PUBLISHED = GOLDEN / "published_format"
_ROUND = 100  # examples between checks of the time

# A change of a file: position (as a share of its length), inserted bytes, replaced length.
_change = st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 8))
_changes = st.lists(_change, min_size=1, max_size=4)


def changed(content: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """A file with some bytes replaced."""
    for share, piece, n in changes:
        place = int(share * len(content))
        content = content[:place] + piece + content[place + n :]
    return content


def _integers() -> st.SearchStrategy[int]:
    return st.one_of(st.integers(-2, 8), st.integers(-(2**63), 2**63 - 1))


def _values() -> st.SearchStrategy[bytes]:
    """Parts of pickles that usually leave a value on the stack."""
    names = st.sampled_from(
        [
            *(("collections", "OrderedDict"), ("torch", "FloatStorage"), ("torch", "Size")),
            *(("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")),
            *(("torch", "float32"), ("torch", "device"), ("_codecs", "encode"), ("os", "system")),
            *(("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("builtins", "eval")),
            ("transformer_lens.HookedTransformerConfig", "HookedTransformerConfig"),
        ]
    ).map(lambda pair: name(*pair))
    sizes = st.lists(_integers(), max_size=4).map(tuple)
    tensors = st.builds(
        tensor,
        st.builds(storage, st.sampled_from(["0", "1", "../0"]), _integers()),
        *(sizes, sizes, _integers()),
    )
    small = st.binary(max_size=8).map(lambda b: b"C" + bytes([len(b)]) + b)
    leaf = st.one_of(
        *(names, tensors, small, _integers().map(number), st.text(max_size=8).map(text)),
        *(st.sampled_from([b"N", b"\x88", b"]", b"}", b")", b"(", b"h\0", b"0"]),),
        st.floats().map(lambda x: b"G" + struct.pack(">d", x)),
    )

    def larger(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        some = st.lists(inner, max_size=4)
        keys = st.sampled_from(["a", "n_layers", "d_model", "act_fn", "eps"])
        return st.one_of(
            some.map(lambda parts: several(*parts)),
            some.map(lambda parts: b"](" + b"".join(parts) + b"e"),
            st.dictionaries(keys, inner, max_size=4).map(lambda entries: record(**entries)),
            st.tuples(inner, inner).map(lambda pair: pair[0] + several(pair[1]) + b"R"),
            st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1] + b"R"),
            st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1] + b"b"),
            inner.map(lambda part: part + b"q\0"),
            inner.map(lambda part: part + b"Q"),
        )

    return st.recursive(leaf, larger, max_leaves=20)


def _pickles(*good: bytes) -> st.SearchStrategy[bytes]:
    """Changed pickles, and new ones."""
    new = st.tuples(st.sampled_from([2, 4, 5]), _values())
    return st.one_of(
        st.builds(changed, st.sampled_from(good), _changes),
        new.map(lambda pair: b"\x80" + bytes([pair[0]]) + pair[1] + b"."),
        st.binary(max_size=200),
    )


def _try(read: Callable[[], Any]) -> None:
    """Reads a file within the limits; an error must be a clear one."""
    with watched():
        try:
            read()
        except ValueError as error:
            message = str(error)
    if "message" in locals():
        assert message and len(message.splitlines()) == 1 and len(message) < LONGEST, message


def _torch(directory: Path) -> Callable[[st.DataObject], None]:
    good = (PUBLISHED / "3" / WEIGHTS).read_bytes()
    small = tensor(storage("0", 6), (2, 3), (3, 1))
    file = directory / "file.pth"
    with zipfile.ZipFile(PUBLISHED / "3" / WEIGHTS) as entries:
        pickled = entries.read("ll_model/data.pkl")
        storages = {
            entry.rsplit("/", 1)[1]: entries.read(entry)
            for entry in entries.namelist()
            if "/data/" in entry
        }
    archives = [good, archive(b"\x80\x02" + small + b".", {"0": bytes(24)})]
    contents = st.one_of(
        st.builds(changed, st.sampled_from(archives), _changes),
        _pickles(pickled, b"\x80\x02" + small + b".").map(lambda p: archive(p, storages)),
    )

    def one(data: st.DataObject) -> None:
        file.write_bytes(data.draw(contents))
        _try(lambda: read_torch(file))

    return one


def _config(_: Path) -> Callable[[st.DataObject], None]:
    contents = _pickles(*((PUBLISHED / case / CONFIG).read_bytes() for case in ("3", "13")))

    def one(data: st.DataObject) -> None:
        content = data.draw(contents)
        _try(lambda: decoder_options(read_hooked_config(content)))

    return one


def _edges(_: Path) -> Callable[[st.DataObject], None]:
    contents = _pickles(*((PUBLISHED / case / EDGES).read_bytes() for case in ("3", "13")))

    def one(data: st.DataObject) -> None:
        content = data.draw(contents)
        _try(lambda: read_published_edges(content))

    return one


def _published(directory: Path) -> Callable[[st.DataObject], None]:
    read_published(PUBLISHED / "3")  # compiles everything that is compiled once

    def one(data: st.DataObject) -> None:
        shutil.copytree(PUBLISHED / "3", directory / "3", dirs_exist_ok=True)
        file = directory / "3" / data.draw(st.sampled_from([WEIGHTS, CONFIG, EDGES]))
        file.write_bytes(changed(file.read_bytes(), data.draw(_changes)))
        _try(lambda: read_published(directory / "3"))

    return one


def _own(directory: Path) -> Callable[[st.DataObject], None]:
    model = directory / "model"
    save_model(untrained_model(), model)
    (model / "checksums.json").unlink()  # so that changes reach the reader
    files = {file: file.read_bytes() for file in sorted(model.iterdir())}

    def one(data: st.DataObject) -> None:
        for file, content in files.items():
            file.write_bytes(content)
        file = data.draw(st.sampled_from(sorted(files)))
        file.write_bytes(changed(files[file], data.draw(_changes)))
        _try(lambda: load_model(model))
        _try(lambda: inspect_model(model))

    return one


# JSON values of any type, with numbers that are too large for a size.
_json = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), _integers(), st.floats(), st.text(max_size=8)),
        st.sampled_from(["gelu_new", "float16", "linear", "input", "m0", "input->m0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def _changed_json(draw: Callable[[Any], Any], content: bytes) -> bytes:
    """JSON with one value replaced, anywhere in it."""
    whole: Any = [json.loads(content)]
    container, place = whole, 0
    while (inner := container[place]) and isinstance(inner, dict | list) and draw(st.booleans()):
        places = list(inner) if isinstance(inner, dict) else range(len(inner))
        container, place = inner, draw(st.sampled_from(places))
    container[place] = draw(_json)
    return json.dumps(whole[0]).encode()


def _changed_file(draw: Callable[[Any], Any], file: Path, content: bytes) -> bytes:
    """The content of a file with some bytes replaced, or with one value if it is JSON."""
    if file.suffix == ".json" and draw(st.booleans()):
        return _changed_json(draw, content)
    return changed(content, draw(_changes))


def _hugging_face(directory: Path) -> Callable[[st.DataObject], None]:
    folders = sorted(file.parent for file in (GOLDEN / "decoders").glob("*/config.json"))
    for folder in folders:
        load_hugging_face(folder)  # compiles everything that is compiled once

    def one(data: st.DataObject) -> None:
        folder = data.draw(st.sampled_from(folders))
        shutil.copytree(folder, directory, dirs_exist_ok=True)
        file = directory / data.draw(st.sampled_from(["config.json", "model.safetensors"]))
        file.write_bytes(_changed_file(data.draw, file, file.read_bytes()))
        _try(lambda: load_hugging_face(directory))

    return one


def _transformer_lens(directory: Path) -> Callable[[st.DataObject], None]:
    model, files = untrained_model(), {}
    for suffix in (".npz", ".safetensors", ".pt"):
        file = directory / f"weights{suffix}"
        save_transformer_lens(model.params, file)
        files[file] = file.read_bytes()

    def one(data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(files)))
        file.write_bytes(changed(files[file], data.draw(_changes)))
        _try(
            lambda: load_transformer_lens(
                file, causal=model.config.causal, normalization=None, activation="gelu"
            )
        )

    return one


def _scores(directory: Path) -> Callable[[st.DataObject], None]:
    model = untrained_model()
    graph, scores = model.graph, np.where(model.graph.valid, 0.5, 0.0)
    discovered = Discovered(graph=graph, scores=scores)
    arrays = directory / "scores.npz"
    write_score_arrays(arrays, {"eap": scores}, graph)
    texts = {
        "graph.json": to_eap_ig(discovered, d_model=model.config.d_model),
        "names.json": to_named_scores(scores, graph),
        "list.json": to_edge_list(model.circuit),
        "circuit.json": model.circuit.to_json(),
        "table.csv": write_table(scores, graph),
        "lines.txt": write_edge_lines(model.circuit),
    }
    files = {directory / name: text.encode() for name, text in texts.items()}
    files[arrays] = arrays.read_bytes()

    def one(data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(files)))
        file.write_bytes(_changed_file(data.draw, file, files[file]))
        _try(lambda: read_discovered(file, model))

    return one


READERS = {
    "torch": _torch,
    "config": _config,
    "edges": _edges,
    "published": _published,
    "own": _own,
    "hugging-face": _hugging_face,
    "transformer-lens": _transformer_lens,
    "scores": _scores,
}


def fuzz(reader: str, seconds: float) -> int:
    """Tests a reader until the time is over; returns the number of files read.

    Raises:
      AssertionError: a file broke a rule; hypothesis prints the smallest one found.
    """
    n_files = 0
    with tempfile.TemporaryDirectory() as directory:
        one = READERS[reader](Path(directory))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:

            @hypothesis.seed(n_files)
            @hypothesis.settings(
                max_examples=_ROUND,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(st.data())
            def some(data: st.DataObject) -> None:
                nonlocal n_files
                n_files += 1
                one(data)

            some()
    return n_files


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}; all if none is named")
    parser.add_argument("--seconds", type=float, default=600, help="for each")
    given = parser.parse_args()
    for reader in given.readers or READERS:
        print(f"{reader}: {fuzz(reader, given.seconds)} files, no fault found", flush=True)


if __name__ == "__main__":
    main()
