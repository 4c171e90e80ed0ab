"""A notebook as a page: its text, its code, and the stored text and pictures of its output."""

import base64
import json
from pathlib import PurePosixPath
from typing import Any

from links import text_of


def notebook_page(path: str) -> tuple[str, dict[str, bytes]]:
    """The page of a notebook, and its pictures by file name."""
    parts, pictures = [], {}
    for cell in json.loads(text_of(path))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            picture = output.get("data", {}).get("image/png")
            if picture:
                name = f"{PurePosixPath(path).stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(picture))
                parts.append(f"![plot drawn by this cell]({name})")
            else:
                parts.append(f"```text\n{_text(output).rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _text(output: dict[str, Any]) -> str:
    return "".join(output["text"] if "text" in output else output["data"]["text/plain"])
