"""A network that computes through free nodes can have an IIT loss of 0.

The network is that of the README of `siit`, whose code and tables are tested here. It is not a
transformer, which shows that losses and scores work for any network with writers.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import interpbench_jax.siit
from interpbench_jax.model import EdgePatch, Network, NodePatch, forward, init_params
from interpbench_jax.model.network import as_network
from interpbench_jax.model.wiring import patch_nodes
from interpbench_jax.siit import Scores, SiitProblem, agreement, interchange_losses, validate
from interpbench_jax.siit.train import worst_that_counts

README = (Path(interpbench_jax.siit.__file__).parent / "README.md").read_text()
OWN_NETWORK = README.split("## Your own network")[1].split("\n## ")[0]
BITS = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]], jnp.float32)


@pytest.fixture(scope="module")
def readme() -> dict:
    """The names defined by the README's code."""
    program = re.findall(r"```python\n(.*?)```", OWN_NETWORK, re.DOTALL)[0]
    names: dict = {"print": lambda *_: None, "__name__": __name__}
    exec(program, names)
    return names


@pytest.fixture
def network(readme: dict) -> Network:
    return readme["HiddenUnits"](3)


@pytest.fixture
def problem(readme: dict) -> SiitProblem:
    return readme["x1_problem"](3)


def losses(
    params: dict, network: Network, problem: SiitProblem, free: list[float]
) -> Float[Array, "3"]:
    """Behaviour, IIT and strict loss on all pairs; `free` are the patched free units."""
    strict = jnp.array(free) @ problem.free_nodes
    nothing, variable = jnp.zeros_like(strict), problem.variable_nodes[0]
    return interchange_losses(
        params,
        network,
        problem.base,
        problem.source,
        jnp.stack([nothing, variable, strict])[:, None],
        jnp.stack([problem.base_target, problem.variable_targets[0], problem.base_target]),
        problem.position_weights,
    )


def right(
    params: dict, network: Network, problem: SiitProblem, mask: list[float], target: Array
) -> float:
    _, written = network.run(params, problem.source)
    logits, _ = network.run(params, problem.base, NodePatch(jnp.array(mask), written))
    return float(agreement(logits, target, problem.position_weights))


def table(header: str) -> list[list[str]]:
    """The cells of the README's table with a given header."""
    rows = README.split(header)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_example_prints_the_output_shown(capsys: pytest.CaptureFixture) -> None:
    match = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", OWN_NETWORK, re.DOTALL)
    assert match
    exec(match[1], {"__name__": __name__})
    assert capsys.readouterr().out == match[2]


def test_units_and_logit_are_those_of_the_text(readme: dict, network: Network) -> None:
    logits, written = network.run(readme["params"], jnp.arange(4)[:, None])
    x1, x2 = BITS.T
    units = jnp.diagonal(written[:, 0], axis1=1, axis2=2)  # each along a direction of its own
    np.testing.assert_array_equal(units, jnp.stack([x1, x2, x2], 1))
    np.testing.assert_array_equal(logits[:, 0, 1] - logits[:, 0, 0], x1 - 0.5)


def test_all_iit_scores_are_perfect_but_free_units_matter(
    readme: dict, network: Network, problem: SiitProblem
) -> None:
    scores = validate(readme["params"], network, problem)
    assert scores.accuracy == 1 and scores.iia.tolist() == [1]
    assert scores.siia.tolist() == [0.75, 0.75]


def test_h2_alone_flips_the_output_if_the_sources_x2_opposes_it(
    readme: dict, network: Network, problem: SiitProblem
) -> None:
    params = readme["params"]
    _, written = network.run(params, problem.source)
    patch = NodePatch(jnp.array([0.0, 1.0, 0.0]), written)
    logits, _ = network.run(params, problem.base, patch)
    (x1, x2), (_, other) = BITS[problem.base[:, 0]].T, BITS[problem.source[:, 0]].T
    np.testing.assert_array_equal(logits[:, 0, 1], x1 - 0.5 + 2 * (other - x2))
    flipped = (logits.argmax(-1) != problem.base_target)[:, 0]
    np.testing.assert_array_equal(flipped, other - x2 == 1 - 2 * x1)


def test_table_of_right_outputs(readme: dict, network: Network, problem: SiitProblem) -> None:
    masks = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]
    rows = table("| patched from another input | outputs that are right |")
    names = [" and ".join(f"h{1 + i}" for i, m in enumerate(mask) if m) for mask in masks]
    assert [row[0] for row in rows] == ["nothing", *names[1:]]
    for (name, shown), mask in zip(rows, masks, strict=True):
        target = problem.variable_targets[0] if name == "h1" else problem.base_target
        found = right(readme["params"], network, problem, list(map(float, mask)), target)
        assert f"{found:.0%}".replace("%", " %") == shown


def test_table_of_losses(readme: dict, network: Network, problem: SiitProblem) -> None:
    params = readme["params"]
    rows = table("| factor | behaviour loss | IIT loss | strict loss, h2 | ")
    assert len(rows) == 3
    for factor, *shown in rows:
        scaled = params | {name: float(factor) * params[name] for name in ("w_out", "b_out")}
        one = losses(scaled, network, problem, [1.0, 0.0])
        both = losses(scaled, network, problem, [1.0, 1.0])
        assert [f"{loss:.3f}" for loss in (*one, both[2])] == shown
        np.testing.assert_array_equal(both[2], both[0])  # patching all at once changes nothing


def test_iit_alone_cannot_change_what_the_strict_loss_removes(
    readme: dict, network: Network, problem: SiitProblem
) -> None:
    """300 steps of gradient descent on the readout: from the table's second row, and at random."""
    w_in, names = readme["params"]["w_in"], ("w_out", "b_out")
    starts = [network.init(key) for key in jax.random.split(jax.random.key(0), 4)]
    starts.insert(0, {name: 10 * readme["params"][name] for name in names})
    first = {name: jnp.stack([start[name] for start in starts]) for name in names}

    def train(readout: dict, strict_weight: float) -> tuple[dict, Scores]:
        weights = jnp.array([1.0, 1.0, strict_weight])

        def total(readout: dict) -> Array:
            return losses({**readout, "w_in": w_in}, network, problem, [1.0, 0.0]) @ weights

        def step(readout: dict, _: None) -> tuple[dict, None]:
            return jax.tree.map(jnp.subtract, readout, jax.grad(total)(readout)), None

        readout, _ = jax.lax.scan(step, readout, None, 300)
        return readout, validate({**readout, "w_in": w_in}, network, problem)

    def difference(readout: dict) -> Array:
        return readout["w_out"][:, 1] - readout["w_out"][:, 2]

    in_all = jax.jit(jax.vmap(train, (0, None)))
    by_iit, iit_scores = in_all(first, 0.0)
    by_siit, siit_scores = in_all(first, 1.0)
    for scores in (iit_scores, siit_scores):
        assert (scores.accuracy == 1).all() and (scores.iia == 1).all()
    np.testing.assert_allclose(difference(by_iit), difference(first), atol=1e-4)
    assert (jnp.abs(difference(by_siit)) < jnp.abs(difference(first))).all()
    assert iit_scores.siia[0].tolist() == [0.75, 0.75]
    assert (siit_scores.siia == 1).all()


def test_a_hard_intervention_is_outside_all_three_losses(readme: dict) -> None:
    network, problem = readme["HiddenUnits"](2), readme["x1_problem"](2)
    params = {
        "w_in": jnp.array([[1.0, 0.0], [0.0, 0.0]]),
        "w_out": jnp.array([1.0, 2.0]),
        "b_out": jnp.array(-0.5),
    }
    scores = validate(params, network, problem)
    assert worst_that_counts(scores, jnp.ones(3)) == 1
    found = losses(params, network, problem, [1.0])
    np.testing.assert_array_equal(found[2], found[0])
    _, written = network.run(params, problem.base)
    patch = NodePatch(jnp.array([0.0, 1.0]), jnp.ones_like(written))
    logits, _ = network.run(params, problem.base, patch)
    assert (logits.argmax(-1) == 1).all()
    assert agreement(logits, problem.base_target, problem.position_weights) == 0.5


def test_gradients_flow_into_the_source_only_if_requested(
    readme: dict, network: Network, problem: SiitProblem
) -> None:
    def loss(params: dict, source_gradient: bool, detached: Array | None = None) -> Array:
        return interchange_losses(
            params,
            network,
            problem.base,
            problem.source,
            jnp.ones((1, 1, 3)),
            problem.source_target[None],
            problem.position_weights,
            detached=detached,
            source_gradient=source_gradient,
        )[0]

    # All units are patched, so gradients reach `w_in` only through the source.
    assert (jax.grad(loss)(readme["params"], False)["w_in"] == 0).all()
    assert (jax.grad(loss)(readme["params"], True)["w_in"] != 0).any()
    plain, closed = (
        jax.grad(
            lambda params, shut=shut: network.run(
                params,
                problem.base,
                NodePatch(jnp.zeros(3), jnp.zeros((16, 1, 3, 1)), jnp.array(shut)),
            )[0].sum()
        )(readme["params"])["w_in"]
        for shut in ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    )
    np.testing.assert_array_equal(closed, plain * jnp.array([[1.0, 0.0, 1.0]] * 2))


def test_patch_nodes_takes_masks_for_all_rows_each_row_and_each_position() -> None:
    rng = np.random.default_rng(0)
    written, source = jnp.asarray(rng.normal(size=(2, 4, 3, 5, 2)), jnp.float32)
    masks = jnp.asarray(rng.random((4, 3, 5)), jnp.float32)
    for mask in (masks, masks[:, 0], masks[0, 0]):
        full = mask if mask.ndim == 3 else mask[:, None] if mask.ndim == 2 else mask[None, None]
        expected = written + full[..., None] * (source - written)
        patch = NodePatch(mask, source)
        np.testing.assert_array_equal(patch_nodes(written, patch), expected)
        parts = [patch_nodes(written[:, :, i : i + 2], patch, start=i) for i in (0, 2)]
        np.testing.assert_array_equal(jnp.concatenate(parts, 2), expected[:, :, :4])
    np.testing.assert_array_equal(patch_nodes(written, None), written)
    with pytest.raises(ValueError, match="only nodes can be patched here, got EdgePatch"):
        patch_nodes(written, EdgePatch(jnp.zeros((5, 1)), source))


def test_a_transformer_is_a_network(config, params, tokens, other_tokens) -> None:
    network = as_network(config)
    assert isinstance(network, Network) and as_network(network) is network
    assert network == as_network(config) and hash(network) == hash(as_network(config))
    source = forward(params, config, other_tokens)[1]
    patch = NodePatch(jnp.full(source.shape[2], 0.3), source)
    for given in (None, patch):
        for ours, plain in zip(
            network.run(params, tokens, given), forward(params, config, tokens, given), strict=True
        ):
            np.testing.assert_array_equal(ours, plain)
    key = jax.random.key(3)
    jax.tree.map(np.testing.assert_array_equal, network.init(key), init_params(config, key))


def test_networks_of_one_shape_compile_once(readme: dict) -> None:
    problem = readme["x1_problem"](3)
    validate(readme["params"], readme["HiddenUnits"](3), problem)
    before = validate._cache_size()  # type: ignore[attr-defined]
    validate(readme["params"], readme["HiddenUnits"](3), problem)
    assert validate._cache_size() == before  # type: ignore[attr-defined]
