"""NumPy's `.npz` archives from unknown sources: nothing in them is run, sizes are checked first."""

import math
import zipfile
from io import BytesIO, FileIO
from reprlib import repr as short  # a bad value may be as long as a file

import numpy as np

from interpbench_jax.files.archives import DAMAGED

_MOST_ARRAYS = 10_000
_MOST_AXES = 16
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(stream: FileIO | BytesIO, *, limit: int, kinds: str = "fiub") -> dict[str, np.ndarray]:
    """The arrays of an archive by name.

    Args:
      stream: the archive, from its start.
      limit: the largest size of all arrays together, in bytes.
      kinds: the allowed kinds of types, as in `dtype.kind`; by default numbers.

    Raises:
      ValueError: it is not such an archive, is damaged or too large, a name occurs twice, or an
        array has another kind or a length that does not fit its shape.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ARRAYS:
                raise ValueError(f"{len(entries)} arrays, expected at most {_MOST_ARRAYS}")
            if sum(entry.file_size for entry in entries) > limit:
                raise ValueError("it would be too large, uncompressed")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"array {short(name)} occurs twice")
                arrays[name] = _read_npy(archive, entry, name, kinds)
    except (OSError, *DAMAGED) as error:
        raise ValueError(f"not an npz file: {str(error)[:500]}") from error
    return arrays


def _read_npy(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, kinds: str
) -> np.ndarray:
    with archive.open(entry) as stream:
        try:
            shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{short(name)} is not an array: {str(error)[:200]}") from error
        array = f"array {short(name)} of {str(dtype)[:200]} and shape {short(shape)}"
        if dtype.kind not in kinds or len(shape) > _MOST_AXES or min(shape, default=0) < 0:
            raise ValueError(f"{array} is of another kind than expected")
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != entry.file_size - stream.tell():
            raise ValueError(f"{array} has another length in the file")
        flat = np.frombuffer(stream.read(n_bytes), dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")
