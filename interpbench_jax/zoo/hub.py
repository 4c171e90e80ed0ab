"""The published models on the Hugging Face Hub: downloaded once, checked, and cached.

Needs the optional package `huggingface_hub`: `pip install 'interpbench-jax[hub]'`.
"""

import contextlib
import hashlib
import re
import warnings
from pathlib import Path
from reprlib import repr as short

from interpbench_jax.files import opened
from interpbench_jax.zoo.published import CONFIG, EDGES, META, WEIGHTS
from interpbench_jax.zoo.torch_files import LARGEST

REPOSITORY = "cybershiptrooper/InterpBench"
REVISION = "a1242a84f8a4d07d1be9a8f5ec710415198016b2"
"""The default commit."""

_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256, _GIT_SHA1 = 64, 40  # hexadecimal digits


def fetch_published(case: str, *, revision: str = REVISION) -> Path:
    """The folder with the files of a published model, downloaded if the cache lacks them.

    Every file is compared with its checksum on the Hub, whether it was downloaded now or earlier.
    If the revision is a commit, cached files are used without contacting the Hub; for a branch the
    Hub is contacted, and the cache is used, with a warning, if it cannot be reached.

    Args:
      case: folder of the model in the repository, such as `3` or `ioi`.
      revision: a commit, or a branch or tag, which may change.

    Raises:
      ValueError: the package is not installed, the Hub cannot be reached, it has no such model, or
        a file differs from its checksum.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", case):
        raise ValueError(f"hub:{short(case)} names no folder of {REPOSITORY}, such as hub:3")
    places = {name: _fetch(case, name, revision) for name in (WEIGHTS, CONFIG, EDGES, META)}
    for name, place in places.items():
        if place is not None:
            _check(place)
        elif name != META:
            raise ValueError(f"{REPOSITORY} has no {case}/{name} at {revision}")
    weights = places[WEIGHTS]
    assert weights is not None
    return weights.parent


def _fetch(case: str, name: str, revision: str) -> Path | None:
    """The path of a file in the cache; None if the repository does not have the file."""
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise ValueError(
            f"hub:{case} needs the package huggingface_hub: pip install 'interpbench-jax[hub]', or "
            "give a folder with the files"
        ) from error
    file = f"{case}/{name}"
    cached = hub.try_to_load_from_cache(REPOSITORY, file, revision=revision)
    if cached is not None and _COMMIT.fullmatch(revision):
        return Path(cached) if isinstance(cached, str) else None  # known to be missing
    try:
        # Contacts the Hub once before the download, which would retry many times.
        with contextlib.suppress(EntryNotFoundError):  # the download records that in the cache
            hub.get_hf_file_metadata(hub.hf_hub_url(REPOSITORY, file, revision=revision))
        return Path(hub.hf_hub_download(REPOSITORY, file, revision=revision))
    except (AttributeError, TypeError):  # no fault of the connection
        raise
    except Exception as error:  # depends on the HTTP library
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(cached, str):
            warnings.warn(
                f"hub:{case} cannot be fetched ({reason}); the cached copy of {revision!r} is used,"
                " which may be older",
                stacklevel=4,
            )
            return Path(cached)
        raise ValueError(
            f"hub:{case} is not in the cache and cannot be fetched ({reason}); give a folder with "
            "the files"
        ) from error


def _check(file: Path) -> None:
    """Compares a file with its checksum, which is the name of its content in the cache.

    Raises:
      ValueError: they differ.
    """
    expected = file.resolve().name
    if len(expected) not in (_SHA256, _GIT_SHA1) or not re.fullmatch("[0-9a-f]+", expected):
        return  # on a system without links, the content has the file's name instead
    with opened(file, limit=LARGEST) as (stream, size):
        if len(expected) == _SHA256:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        else:
            found = hashlib.sha1(b"blob %d\0" % size + stream.read()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{file.resolve()} does not match its checksum, which is its name: it was damaged; "
            "delete it to fetch it again"
        )
