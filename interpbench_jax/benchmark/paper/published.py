"""The paper's numbers."""

import functools
import json
from pathlib import Path
from typing import Any


@functools.cache
def published() -> dict[str, Any]:
    """The main table (edge AUROC by the staircase, `[case][method]`), its statistics, and more."""
    return json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))
