"""What can go wrong in an archive from an unknown source."""

import zipfile
import zlib

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""Exceptions that `zipfile` raises if an archive is damaged, encrypted or not supported."""
