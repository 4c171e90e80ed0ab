"""Valid names of tasks."""

from typing import Any

# Leaves room for suffixes within the limits of file systems.
_LONGEST_NAME = 100


def check_name(kind: str, name: Any) -> None:
    """Checks that a name can be the name of a file or directory.

    Args:
      kind: what the message calls the named thing.
      name: the name.

    Raises:
      ValueError: it is not a string, too long, a path, or has characters that are not printable.
    """
    if not isinstance(name, str) or not _is_file_name(name):
        raise ValueError(
            f"{kind} {name!r}: a name must be a valid file name: at most {_LONGEST_NAME} bytes of "
            "printable characters without / and \\, not starting with a dot, dash or space"
        )


def _is_file_name(name: str) -> bool:
    """Whether it names a file within any directory, and cannot be mistaken for an option."""
    return (
        name.isprintable()
        and 0 < len(name.encode()) <= _LONGEST_NAME
        and not set(name) & set("/\\")
        and name[0] not in ".- "
    )
