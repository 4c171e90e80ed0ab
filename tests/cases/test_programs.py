"""Every program has the reference's expression graph and computes the same outputs.

`tests/golden/cases.jsonl` lists each case's graph: a node has an operation, the ids of its
arguments, and its definition (a table over its possible inputs, a predicate, factors, a default, an
encoding, a name).
"""

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import case_names, get_case

GOLDEN = Path(__file__).parents[1] / "golden" / "cases.jsonl"
REFERENCES = {
    reference["case"]: reference
    for reference in map(json.loads, GOLDEN.read_text(encoding="utf-8").splitlines())
}

COMPRESSION = {
    **{"5": 1.8, "18": 1.6, "21": 1.3, "25": 1.5, "34": 1.5, "7": 1.5, "23": 1.5},
    **{"35": 3, "36": 2.5, "37": 2.2, "24": 1.2, "6": 1.2},
}
SIZED_BY_D_MODEL = "5 7 9 18 21 22 23 25 26 28 29 34 35 36 37".split()

all_cases = pytest.mark.parametrize("name", REFERENCES)


def test_cases_are_those_of_the_reference():
    """There are 129 of them; 16 and 27 do not exist."""
    assert set(case_names()) == set(REFERENCES)
    assert len(case_names()) == len(REFERENCES) == 129


def test_titles_and_programs_are_distinct():
    """No two cases have the same title or function name."""
    cases = [get_case(name) for name in case_names()]
    assert len({case.title for case in cases}) == len(cases)
    assert len({case.program.__name__ for case in cases}) == len(cases)


def test_loading_programs_is_cheap():
    """It loads neither Tracr's compiler nor Haiku."""
    check = (
        "import sys; from interpbench_jax.cases import case_names; case_names();"
        "assert not {'tracr.compiler', 'haiku'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=GOLDEN.parents[2])


@all_cases
def test_record_agrees(name):
    """Vocabulary, length, direction of attention and sizes are those of the reference."""
    case, reference = get_case(name), REFERENCES[name]
    assert [*map(typed, case.vocab)] == [*map(typed, reference["vocab"])]
    assert (case.n_ctx, case.causal) == (reference["max_seq_len"], reference["causal"])
    assert case.compression == COMPRESSION.get(name, 2)
    assert case.sized_by == ("d_model" if name in SIZED_BY_D_MODEL else "d_head")
    assert bool(case.realign) == (name == "3")


@all_cases
def test_graph_agrees(name):
    """Both graphs are walked in parallel from the output; shared nodes are shared in both."""
    reference = REFERENCES[name]
    nodes = {node["id"]: node for node in reference["program"]}
    pairs = pair_up(get_case(name).program(), reference["output"], nodes)
    assert set(pairs) == set(nodes)
    assert len({id(expr) for expr in pairs.values()}) == len(pairs)
    for i, expr in pairs.items():
        node, where = nodes[i], f"node {i} ({nodes[i]['name']}) of case {name}"
        assert expr.name == node["name"], where
        if isinstance(expr, rasp.SOp):
            assert rasp.get_encoding(expr).value == node["encoding"], where
        if isinstance(expr, rasp.Aggregate):
            assert typed(expr.default) == typed(node["default"]), where
        if isinstance(expr, rasp.LinearSequenceMap):
            assert [expr.fst_fac, expr.snd_fac] == node["factors"], where
        elif isinstance(expr, rasp.Map | rasp.SequenceMap):
            check_table(expr.f, node["table"], where)
        elif isinstance(expr, rasp.Select):
            check_predicate(expr.predicate, node, nodes, reference, where)


@all_cases
def test_outputs_agree(name):
    """The RASP interpreter gives the listed outputs, `None` where they are undefined."""
    reference = REFERENCES[name]
    program = get_case(name).program()
    examples = reference["examples"] + reference.get("custom_sampler_examples", [])
    assert examples
    for tokens, expected in examples:
        assert program(tokens) == [
            pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
            for value in expected
        ]


@all_cases
def test_expressions_are_not_shared_between_calls(name):
    """Two calls share only `tokens` and `indices`."""
    reference = REFERENCES[name]
    nodes = {node["id"]: node for node in reference["program"]}
    first, second = (
        pair_up(get_case(name).program(), reference["output"], nodes) for _ in range(2)
    )
    shared = [first[i] for i in nodes if first[i] is second[i]]
    assert all(isinstance(expr, rasp.TokensType | rasp.IndicesType) for expr in shared)


def pair_up(
    output: rasp.RASPExpr, output_id: int, nodes: dict[int, dict]
) -> dict[int, rasp.RASPExpr]:
    """Matches our expressions with the nodes of the reference.

    Fails if operations or numbers of arguments differ, or one node matches two expressions.
    """
    pairs: dict[int, rasp.RASPExpr] = {}
    waiting = [(output, output_id)]
    while waiting:
        expr, i = waiting.pop()
        if i in pairs:
            assert pairs[i] is expr, f"node {i} is one in the reference, but not in ours"
            continue
        pairs[i] = expr
        args = nodes[i].get("args", [])
        assert type(expr).__name__.removesuffix("Type") == nodes[i]["op"], f"node {i}"
        assert len(expr.children) == len(args), f"node {i}"
        waiting += zip(expr.children, args, strict=True)
    return pairs


def check_table(f, table: list[list], where: str) -> None:
    """Our function has the listed value on every listed input."""
    assert table, where
    for *inputs, expected in table:
        inputs = [decoded(value) for value in inputs]
        value = f(*inputs)
        assert agree(value, decoded(expected)), f"{where}: f{tuple(inputs)} is {value!r}"


def check_predicate(predicate, node: dict, nodes: dict, reference: dict, where: str) -> None:
    """Our predicate is the same comparison, or true exactly for the listed keys and queries."""
    if node["predicate"] != "table":
        assert predicate is rasp.Comparison[node["predicate"]], where
        return
    assert not isinstance(predicate, rasp.Comparison), where
    true_pairs = {(decoded(k), decoded(q)) for k, q in node["table_keys_queries_true"]}
    keys, queries = (set(possible_values(i, nodes, reference)) for i in node["args"])
    assert true_pairs <= set(itertools.product(keys, queries)), where
    for pair in itertools.product(keys, queries):
        assert bool(predicate(*pair)) == (pair in true_pairs), f"{where}: {pair}"


def possible_values(i: int, nodes: dict, reference: dict) -> Iterator:
    """The values that a node of the reference can take, except `None`."""
    node = nodes[i]
    match node["op"]:
        case "Tokens":
            yield from reference["vocab"]
        case "Indices":
            yield from range(reference["max_seq_len"] - 1)
        case "SelectorWidth":
            yield from range(reference["max_seq_len"])
        case "Map" | "SequenceMap" if not node.get("table_sampled"):
            yield from (decoded(row[-1]) for row in node["table"] if row[-1] is not None)
        case op:
            raise NotImplementedError(f"a selector over {op}")


def agree(ours, expected) -> bool:
    """Same type and value; floats may differ in the last digits, as C libraries do."""
    if type(ours) is not type(expected):
        return False
    if isinstance(ours, float):
        return math.isclose(ours, expected, rel_tol=5e-16, abs_tol=0)
    return ours == expected


def typed(value):
    """The value with its type, since `1 == True == 1.0`."""
    return type(value), value


def decoded(value):
    """A value read from JSON, in which tuples are wrapped."""
    return tuple(map(decoded, value["tuple"])) if isinstance(value, dict) else value
