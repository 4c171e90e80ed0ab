"""`interpbench audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from interpbench_jax.benchmark.evaluation_settings import EvaluationSettings
from interpbench_jax.benchmark.plan import check_seed
from interpbench_jax.cli.models import load_models
from interpbench_jax.files import to_json

if TYPE_CHECKING:
    from interpbench_jax.evaluation import Audit, Certificate
    from interpbench_jax.model import Circuit
    from interpbench_jax.zoo import BenchmarkModel


def audit(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    circuit: Path | None = None,
    n_pairs: int = EvaluationSettings.n_pairs,
    n_sets: int = EvaluationSettings.n_sets,
    n_runs: int = EvaluationSettings.edge_runs,
    seed: int = EvaluationSettings.seed,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Patch sets of edges, and check that answers agree with the circuit.

    Without --circuit, each model is compared with the algorithm of its task: with every edge of its
    circuit patched alone, every edge outside, all edges outside at once, random sets of both, and a
    set found by a greedy search. This is part of `interpbench evaluate`.

    With --circuit, any claimed circuit is tested, without an algorithm: edges outside the claimed
    circuit are patched, all at once, alone and in random sets, and the model's answers must not
    change. Edges in the circuit are not tested: a circuit with all edges except one passes if that
    edge has no effect.

    Args:
      models: bundled models by name, or directories.
      circuit: a file with a circuit: a model's `circuit.json`, a graph of EAP-IG, or a list of
        edges in the names of EAP-IG, auto-circuit or TransformerLens.
      n_pairs: (base, source) pairs to draw, from test sequences.
      n_sets: random sets of edges.
      n_runs: approximate number of patched runs for each part; if there are more sets times pairs,
        every set is evaluated on some pairs, and the worst sets on all.
      seed: seed of the pairs and sets.
      as_json: print JSON instead of tables.
    """
    from interpbench_jax.benchmark.evaluate import audit_claim, certify_model
    from interpbench_jax.cli.certificates import print_audits, print_certificates

    check_seed(seed)
    settings = {"n_pairs": n_pairs, "n_random": n_sets, "n_runs": n_runs, "seed": seed}
    certificates: dict[str, Certificate] = {}
    audits: dict[str, Audit] = {}
    loaded = load_models(models)
    claims = {} if circuit is None else {n: _read_claim(circuit, m) for n, m in loaded.items()}
    for name, model in loaded.items():
        with Console(stderr=True).status(f"auditing {name}"):
            if circuit is None:
                certificates[name] = certify_model(model, **settings)
            else:
                audits[name] = audit_claim(model, claims[name], **settings)
    if as_json:
        described = {name: one.describe() for name, one in certificates.items()}
        described |= {name: one.describe() for name, one in audits.items()}
        rows = [{"model": name, **one} for name, one in described.items()]
        print(to_json(rows, indent=1))
    elif circuit is None:
        print_certificates(certificates)
    else:
        print_audits(audits)


def _read_claim(file: Path, model: "BenchmarkModel") -> "Circuit":
    """The circuit in a file of any known format.

    Raises:
      ValueError: the file cannot be read, is of another model, or has scores only.
    """
    from interpbench_jax.zoo.formats import read_discovered

    try:
        found = read_discovered(file, model).values()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    circuits = [one.circuit for one in found if one.circuit is not None]
    if not circuits:
        raise ValueError(f"{file} has scores but no circuit; `interpbench score` judges scores")
    return circuits[0]
