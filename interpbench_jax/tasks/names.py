"""What a task may be called."""

from typing import Any

# With room for endings, within what file systems take.
_LONGEST_NAME = 100


def check_name(kind: str, name: Any) -> None:
    """Refuses a name that would not do as the name of a directory.

    Args:
      kind: what the message calls the thing that is named.
      name: it.

    Raises:
      ValueError: it is no text, too long, leads elsewhere, or has characters that are not printed.
    """
    if not isinstance(name, str) or not _is_file_name(name):
        raise ValueError(
            f"{kind} {name!r}: a name must do for a file: at most {_LONGEST_NAME} printable "
            "characters without / and \\, the first no dot, dash or space"
        )


def _is_file_name(name: str) -> bool:
    """Whether it names a file in whatever directory it is put, and is no option of a command."""
    return (
        0 < len(name) <= _LONGEST_NAME
        and name.isprintable()
        and not set(name) & set("/\\")
        and name[0] not in ".- "
    )
