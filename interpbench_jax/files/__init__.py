"""File handling: atomic writing, reading with size limits, locks, fingerprints, text of errors.

Uses only the standard library, so that commands which read a plan or a store start quickly.
"""

from interpbench_jax.files.bounded import opened, read_bytes, read_text
from interpbench_jax.files.directory import make_directory
from interpbench_jax.files.error_text import error_text
from interpbench_jax.files.fingerprint import fingerprint, source_fingerprint
from interpbench_jax.files.lock import locked
from interpbench_jax.files.places import inside, set_aside
from interpbench_jax.files.replacing import replacing
from interpbench_jax.files.strict_json import (
    finite_or_none,
    from_json,
    read_json,
    to_json,
    write_json,
)

__all__ = [
    "error_text",
    "fingerprint",
    "finite_or_none",
    "from_json",
    "inside",
    "locked",
    "make_directory",
    "opened",
    "read_bytes",
    "read_json",
    "read_text",
    "replacing",
    "set_aside",
    "source_fingerprint",
    "to_json",
    "write_json",
]
