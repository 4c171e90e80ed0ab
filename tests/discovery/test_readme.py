"""The README of `discovery`: its code, and its table of methods."""

import contextlib
import io
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import interpbench_jax.discovery
from interpbench_jax.discovery import METHODS, cross_entropy
from interpbench_jax.model import Wires

README = (Path(interpbench_jax.discovery.__file__).parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", README, re.DOTALL)


def test_the_table_has_every_method():
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(METHODS)


@pytest.fixture(autouse=True)
def broadcasting():
    """Allows rank promotion, as for users."""
    with jax.numpy_rank_promotion("allow"):
        yield


def defined_and_printed(program):
    """The names that a program defines, and its printed output."""
    names, printed = {"__name__": __name__}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, names)
    return names, printed.getvalue()


@pytest.mark.parametrize("example", EXAMPLES, ids=["method", "transformer_lens", "network"])
def test_examples_print_the_output_shown(example):
    program, shown = example
    assert defined_and_printed(program)[1] == shown


@pytest.fixture(scope="module")
def own():
    """The network of the last example, with weights and inputs."""
    with jax.numpy_rank_promotion("allow"):
        names, _ = defined_and_printed(EXAMPLES[-1][0])
    return tuple(names[key] for key in ("params", "network", "batch"))


# In fast tests, one method of each kind.
OFTEN = {"eap", "nap", "eap_ig_inputs", "edge_patching", "acdc", "node_probing", "random"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
        for name in sorted(set(METHODS) - {"oracle", "structural_prior", "weight_magnitude"})
    ],
)
def test_methods_work_on_own_networks(own, name):
    """Edges into unused inputs have no effect."""
    params, network, batch = own
    scores = np.asarray(METHODS[name](params, network, batch, cross_entropy))
    assert scores.shape in ((4,), (4, 3)) and not np.isnan(scores).any()
    if name in ("eap_ig_masks", "eap_ig_inputs", "eap_ig_activations", "edge_patching"):
        used = {("x1", "and"), ("x2", "and"), ("and", "logits")}
        for w, r in network.graph.edges:
            edge = (network.graph.writers[w], network.graph.readers[r])
            assert (abs(scores[w, r]) > 1e-6) == (edge in used), edge


def test_wires_report_missing_writers(own):
    _, network, _ = own
    wires = Wires(network.graph, None)
    with pytest.raises(ValueError, match="and reads before x1 has written"):
        wires.read("and")
    wires.write(jnp.zeros((1, 1, 4)))
    with pytest.raises(ValueError, match="and reads before x2 has written"):
        wires.read("and")
    with pytest.raises(ValueError, match="1 outputs were written, .* x1, x2, and, or"):
        wires.written()


@pytest.mark.parametrize("name", ["eap_clean_corrupted", "eap_ig_inputs", "eap_gp", "nap_ig"])
def test_all_inputs_go_from_clean_to_corrupted(own, name):
    """AND is symmetric in its two inputs, and the inputs are all possible pairs."""
    params, network, batch = own
    scores = np.asarray(METHODS[name](params, network, batch, cross_entropy))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert (np.abs(scores[0]) > 1e-3).any()


@pytest.mark.parametrize("name", ["weight_magnitude", "structural_prior"])
def test_methods_that_use_weights_need_a_transformer(own, name, no_shape_checks):
    with pytest.raises(ValueError, match=f"{name} needs a transformer, got AndOr"):
        METHODS[name](*own, cross_entropy)
