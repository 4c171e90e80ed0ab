"""Safe paths from names, and moving existing files aside."""

from pathlib import Path

_OLDER = "older"


def inside(directory: Path, name: str) -> Path:
    """The path of a name within a directory.

    Args:
      directory: the directory.
      name: name of a file or directory in it.

    Raises:
      ValueError: the name is empty, hidden, or a path that could lead elsewhere.
    """
    if not name or name.startswith(".") or "\0" in name or Path(name).name != name:
        raise ValueError(
            f"{name!r} cannot name a directory in {directory}: expected a name without slashes "
            "that does not start with a dot"
        )
    return directory / name


def set_aside(place: Path) -> Path:
    """Renames a file or directory, so that another can be written in its place.

    `out/3` becomes `out/older/3-1`, or `-2` and so on if there are older ones.

    Returns:
      The new path.

    Raises:
      OSError: it cannot be renamed.
    """
    older = place.parent / _OLDER
    older.mkdir(exist_ok=True)
    number = 1
    while (aside := older / f"{place.name}-{number}").exists():
        number += 1
    return place.rename(aside)
