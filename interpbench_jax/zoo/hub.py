"""The published models on the Hugging Face Hub: fetched once, checked, then read from the cache.

Needs the package `huggingface_hub`, which is an extra: `pip install 'interpbench-jax[hub]'`.
"""

import hashlib
import re
from pathlib import Path
from reprlib import repr as short

from interpbench_jax.files import opened
from interpbench_jax.zoo.published import CONFIG, EDGES, META, WEIGHTS
from interpbench_jax.zoo.torch_files import LARGEST

REPOSITORY = "cybershiptrooper/InterpBench"
REVISION = "a1242a84f8a4d07d1be9a8f5ec710415198016b2"
"""The commit that is read if no other is asked for."""

_SHA256, _GIT_SHA1 = 64, 40  # hexadecimal digits


def fetch_published(case: str, *, revision: str = REVISION, cache: Path | None = None) -> Path:
    """The folder with the files of a published model, downloaded if the cache lacks them.

    Every file is compared with the checksum under which the Hub stores it, whether it was
    downloaded now or earlier. With a commit as revision, nothing that is in the cache is asked for.

    Args:
      case: its folder in the repository, such as `3` or `ioi`.
      revision: a commit, or a branch or tag, which may change.
      cache: the Hub's usual cache if not given.

    Raises:
      ValueError: the package is not installed, the Hub cannot be reached, it has no such model, or
        a file differs from its checksum.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", case):
        raise ValueError(f"hub:{short(case)} names no folder of {REPOSITORY}, such as hub:3")
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
        )
    except ImportError as error:
        raise ValueError(
            f"hub:{case} needs the package huggingface_hub: pip install 'interpbench-jax[hub]', or "
            "give a folder with the files"
        ) from error
    where = {"repo_id": REPOSITORY, "revision": revision, "cache_dir": cache}
    folder = None
    for name in (WEIGHTS, CONFIG, EDGES, META):
        known = hub.try_to_load_from_cache(filename=f"{case}/{name}", **where)
        if name == META and known is not None and not isinstance(known, str):
            continue  # known not to be there
        try:
            file = Path(hub.hf_hub_download(filename=f"{case}/{name}", **where))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise ValueError(
                f"the Hub cannot be reached, and its cache has no {case}/{name} of {REPOSITORY} at "
                f"{revision}; give a folder with the files"
            ) from error
        except EntryNotFoundError as error:
            if name == META:
                continue
            raise ValueError(f"{REPOSITORY} has no {case}/{name} at {revision}") from error
        except (HfHubHTTPError, OSError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(f"hub:{case} at {revision} cannot be fetched: {reason}") from error
        _check(file)
        folder = file.parent
    assert folder is not None
    return folder


def _check(file: Path) -> None:
    """Compares a file with its checksum: the cache keeps content under its name.

    Raises:
      ValueError: they differ.
    """
    expected = file.resolve().name
    if not re.fullmatch(f"[0-9a-f]{{{_GIT_SHA1}}}|[0-9a-f]{{{_SHA256}}}", expected):
        return  # a system without links: the content has no name there
    with opened(file, limit=LARGEST) as (stream, size):
        if len(expected) == _SHA256:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        else:
            found = hashlib.sha1(b"blob %d\0" % size + stream.read()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{file} does not match the checksum of the Hub, {expected}; delete it to fetch it anew"
        )
