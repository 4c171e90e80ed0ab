"""Tests that an installed wheel is complete and works on its own; run by `make wheel`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import interpbench_jax as ib

INSTALLED = Path(ib.__file__).parent
SOURCE = Path(__file__).parent.parent / "interpbench_jax"


def files(folder: Path) -> set[Path]:
    """All files below a folder, relative to it, except Python's bytecode."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file for file in found if "__pycache__" not in file.parts}


def main() -> None:
    """Finds a circuit in a bundled model, and writes a report by the command line."""
    assert INSTALLED.is_relative_to(sys.prefix), f"{INSTALLED} is not in {sys.prefix}"
    missing = files(SOURCE) - files(INSTALLED)
    assert not missing, f"not in the wheel: {', '.join(map(str, sorted(missing)))}"

    model = ib.load_model("13")
    batch = ib.benchmark.make_contrast(model, 0, n_inputs=200)
    loss = ib.discovery.usual_loss("eap", categorical=True)
    scores = ib.discovery.eap(model.params, model.config, batch, loss)
    auroc = ib.scoring.edge_roc(scores, model.circuit).auroc
    assert auroc > 0.9, f"EAP has an edge AUROC of {auroc} on case 13"

    command = str(Path(sys.prefix) / "bin" / "interpbench")
    subprocess.run(
        [command, *"benchmark --cases 13 --methods eap --n-inputs 200 --out results".split()],
        check=True,
    )
    subprocess.run([command, "report", "results"], check=True)
    assert Path("results/report/index.html").exists()
    print(f"interpbench-jax {ib.__version__} on Python {sys.version.split()[0]}: AUROC {auroc:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["INTERPBENCH_CACHE"] = str(Path(folder) / "cache")
        os.environ.pop("INTERPBENCH_CASES", None)
        main()
        os.chdir(sys.prefix)
