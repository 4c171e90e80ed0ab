"""`interpbench cases`."""

from pathlib import Path
from typing import Annotated, Any

import tyro

from interpbench_jax.cli.output import OUT, print_line, print_table
from interpbench_jax.files import replacing, to_json

Words = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[show CASE...]")]


def cases(
    words: Words = (),
    *,
    attention: bool = False,
    max_params: int | None = None,
    paper: bool = False,
    published: bool = False,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    out: Path = OUT / "cases",
) -> None:
    """List the cases, or show some of them: program, variables and circuit.

    Args:
      words: nothing to list all cases; `show` and names to show these.
      attention: only cases whose circuit has attention heads.
      max_params: only cases whose compiled model has at most this many parameters.
      paper: only the 16 cases of the paper's main table.
      published: only the 84 cases with models published by InterpBench.
      as_json: print JSON.
      out: directory for the drawings of `show`.

    Raises:
      ValueError: unknown words or cases, or a limit below 1.
    """
    if max_params is not None and max_params < 1:
        raise ValueError(f"max_params must be at least 1, got {max_params}")
    if words and (words[0] != "show" or len(words) == 1):
        raise ValueError(f"expected nothing or 'show CASE...', got {' '.join(words)!r}")
    if words:
        shown = [_facts(name, out) for name in words[1:]]
        if as_json:
            print(to_json(shown, indent=1))
        else:
            for facts in shown:
                _print_facts(facts)
        return
    rows = _rows(attention, max_params, paper, published)
    if as_json:
        print(to_json(rows, indent=1))
    else:
        headers = ("case", "computes", "tokens", "length", "kind", "edges", "shape")
        cells = [tuple(row.get(header, "") for header in headers) for row in rows]
        print_table(f"{len(rows)} tasks", headers, cells, if_wide=("tokens", "shape"))


def _rows(
    attention: bool, max_params: int | None, paper: bool, published: bool
) -> list[dict[str, Any]]:
    from interpbench_jax.cases import PAPER, PUBLISHED, case_names, get_case
    from interpbench_jax.cases.catalogue import read_catalogue

    names, catalogue = case_names(), read_catalogue()
    rows = []
    for name in names:
        if (paper and name not in PAPER) or (published and name not in PUBLISHED):
            continue
        case, entry = get_case(name), catalogue.get(name)
        if entry is None and (attention or max_params is not None):
            from interpbench_jax.alignment.make_catalogue import derive_entry

            entry = derive_entry(name)
        if entry is None:  # sizes of a user's own case are unknown before it is compiled
            rows.append({"case": name, "computes": case.title, "tokens": len(case.vocab)})
            continue
        if attention and entry.kind != "attention":
            continue
        if max_params is not None and entry.compiled_params > max_params:
            continue
        rows.append(
            {
                "case": name,
                "computes": case.title,
                "tokens": len(case.vocab),
                "length": case.n_ctx - 1,
                "kind": entry.kind,
                "nodes": entry.n_variables,
                "edges": f"{entry.circuit_edges}/{entry.n_edges}",
                "shape": entry.shape,  # layers x heads x width
                "parameters": entry.compiled_params,
            }
        )
    return rows if paper or published else [*rows, *_causal_rows(attention, max_params)]


def _causal_rows(attention: bool, max_params: int | None) -> list[dict[str, Any]]:
    """Tasks whose algorithm is a causal model; these have no compiled model."""
    from interpbench_jax.alignment import align
    from interpbench_jax.model.circuit import circuit_kind
    from interpbench_jax.tasks import causal_tasks

    rows = []
    for name, task in causal_tasks().items() if max_params is None else ():
        alignment, network = align(task), task.network
        kind = circuit_kind(alignment.circuit)
        if attention and kind != "attention":
            continue
        n_edges = int(alignment.graph.head_valid.sum()) - 1
        rows.append(
            {
                "case": name,
                "computes": task.title,
                "tokens": network.d_vocab,
                "length": network.n_ctx - 1,
                "kind": kind,
                "nodes": len(alignment.nodes),
                "edges": f"{len(alignment.circuit.head_edges)}/{n_edges}",
                "shape": network.size,
            }
        )
    return rows


def _facts(name: str, out: Path) -> dict[str, Any]:
    from interpbench_jax.alignment import align, observed_circuit
    from interpbench_jax.benchmark import draw_comparison
    from interpbench_jax.compiler import get_task
    from interpbench_jax.model.graph import edge_name

    task = get_task(name)
    alignment = align(task)
    circuit = observed_circuit(task, alignment)
    drawings = [out / f"{name}.png", out / f"{name}.svg"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in drawings:
            with replacing(file) as partial:
                draw_comparison(circuit, {}, partial, title=f"case {name}: {task.title}")
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror}") from error
    return {
        "case": name,
        "computes": task.title,
        "vocabulary": list(task.vocabulary),
        "length": task.network.n_ctx - 1,
        "causal": task.network.causal,
        "program": list(task.describe()),
        "variables": {
            node: list(task.contents[writer])
            for writer, node in zip(alignment.variables, alignment.nodes, strict=True)
        },
        "circuit": [edge_name(*edge) for edge in circuit],
        "unobservable": [edge_name(*edge) for edge in circuit if edge in circuit.unobservable],
        "drawings": [str(file) for file in drawings],
    }


def _print_facts(facts: dict[str, Any]) -> None:
    lines = [f"case {facts['case']}: {facts['computes']}", "", "program"]
    lines += [f"  {line}" for line in facts["program"]]
    lines += ["", "variables"]
    lines += [f"  {node}: {', '.join(values)}" for node, values in facts["variables"].items()]
    lines += ["", "circuit"]
    hidden = facts["unobservable"]
    lines += [f"  {edge}{' (unobservable)' * (edge in hidden)}" for edge in facts["circuit"]]
    if hidden:
        lines += ["unobservable: no patch from another input changes an answer; not scored"]
    lines += ["", f"drawn in {', '.join(facts['drawings'])}", ""]
    print_line("\n".join(lines))
