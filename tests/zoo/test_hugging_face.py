"""Decoders in the format of Hugging Face do what `transformers` does, patched or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import EdgePatch
from interpbench_jax.zoo import load_hugging_face
from tests.golden_files import GOLDEN

FOLDERS = sorted(folder.parent.name for folder in (GOLDEN / "decoders").glob("*/config.json"))
# Between them, these have every option but normalised queries.
SPREAD = ("gpt2", "gpt_neox", "llama", "gemma2")


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=[] if f in SPREAD else pytest.mark.slow) for f in FOLDERS],
)
def golden(request):
    folder = GOLDEN / "decoders" / request.param
    with np.load(folder / "expected.npz") as expected:
        return *load_hugging_face(folder), dict(expected)


def test_logits_and_what_is_written(golden):
    network, params, expected = golden
    logits, written = network.run(params, expected["clean"])
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4, rtol=0)
    for index, writer in enumerate(network.graph.writers):
        theirs = expected[f"written/{writer}"]
        np.testing.assert_allclose(written[:, :, index], theirs, atol=1e-4, rtol=0, err_msg=writer)


def test_single_edges_patched(golden):
    """Each key and value reader of a head alone, also where heads share the weights."""
    network, params, expected = golden
    graph = network.graph
    _, source = network.run(params, expected["corrupted"])
    masks = np.zeros((len(expected["edges"]), *graph.valid.shape), np.float32)
    for mask, edge in zip(masks, expected["edges"], strict=True):
        writer, reader = edge.split("->")
        mask[graph.writer_index(writer), graph.reader_index(reader)] = 1
    logits = jax.vmap(
        lambda mask: network.run(params, expected["clean"], EdgePatch(mask, source))[0]
    )(jnp.asarray(masks))
    for edge, ours, theirs in zip(expected["edges"], logits, expected["patched"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0, err_msg=edge)
