"""Runtime shape checks, and tiny models shared by several folders of tests."""

import functools
import gc
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import jax
import jaxlib
import jaxtyping
import numpy as np
import pytest

if "INTERPBENCH_CACHE" not in os.environ:  # parallel workers inherit that of the main process
    _cache = tempfile.TemporaryDirectory()
    os.environ["INTERPBENCH_CACHE"] = _cache.name
jaxtyping.install_import_hook("interpbench_jax", "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile("tests", deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("tests")

from interpbench_jax.model import TransformerConfig, forward, init_params  # noqa: E402


def pytest_configure() -> None:
    """Shortens compilation, which takes most of the tests' time."""
    flags = ["--xla_backend_optimization_level=0"]
    if jaxlib.__version__.startswith("0.10."):  # an unknown flag is fatal
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))


def pytest_collection_finish() -> None:
    """Makes garbage collection rare: tracing creates many objects, and few of them are cycles.

    At Python's usual pace, it takes 7% of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 5)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Runs the tests of a file in one worker: they share fixtures and compiled functions."""
    if item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


CAUSAL = TransformerConfig(
    n_layers=2,
    n_heads=2,
    d_model=6,
    d_head=3,
    d_mlp=8,
    n_ctx=5,
    d_vocab=4,
    d_vocab_out=3,
    causal=True,
)
VARIANTS = {
    "causal": CAUSAL,
    "bidirectional": replace(CAUSAL, causal=False, activation="relu"),
    "layer_norm": replace(CAUSAL, layer_norm=True, activation="gelu_tanh"),
}


# A process may have 65,530 memory mappings, and every compiled function takes some; beyond this
# limit the compiler crashes.
_MOST_MAPS = 40_000


@pytest.fixture(autouse=True)
def room_for_compiled_functions():
    """Clears compiled functions before a worker has too many."""
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > _MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def few_edge_sets():
    """Fewer sets and pairs for cards: without optimisation, all would take a minute per model."""
    from interpbench_jax.evaluation import edge_scores
    from interpbench_jax.zoo import make

    few = functools.partial(edge_scores, n_random=20, n_runs=3_000)
    usual = {"_EDGE_PAIRS": make._EDGE_PAIRS, "edge_scores": edge_scores}
    with pytest.MonkeyPatch.context() as patched:  # an error if a name does not exist
        patched.setattr(make, "_EDGE_PAIRS", 500)
        patched.setattr(make, "edge_scores", few)
        yield usual


@pytest.fixture
def all_edge_sets(few_edge_sets, monkeypatch):
    """All sets and pairs for cards, as outside the tests."""
    from interpbench_jax.zoo import make

    for name, usual in few_edge_sets.items():
        monkeypatch.setattr(make, name, usual)


@pytest.fixture
def run_in_parallel(monkeypatch):
    """A function that makes a compiled function's patched runs parallel, as on an accelerator.

    It takes the function and the number of runs at once.
    """
    changed = []

    def forget(module):
        for own in vars(module).values():
            if hasattr(own, "clear_cache"):
                own.clear_cache()

    def change(function, at_once):
        module = sys.modules[function.__module__]
        monkeypatch.setattr(module, "runs_at_once", lambda *_, **__: at_once)
        forget(module)
        changed.append(module)

    yield change
    monkeypatch.undo()
    for module in changed:
        forget(module)


@pytest.fixture(scope="session")
def variants():
    """The tiny models' configs by name; together they have every activation."""
    return VARIANTS


@pytest.fixture(scope="session", params=VARIANTS)
def config(request):
    """Each of the tiny models' configs in turn."""
    return VARIANTS[request.param]


@pytest.fixture(scope="session")
def make_params():
    """A function that draws weights so large that every part of a model matters."""

    @functools.cache
    def shapes(config):
        return jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))

    def draw(config, seed=0):
        rng = np.random.default_rng(seed)

        def leaf(path, shape):
            centre = 1.0 if path[-1].key == "w" else 0.0  # LayerNorm's scale
            return jax.numpy.asarray(centre + 0.5 * rng.standard_normal(shape.shape), "float32")

        return jax.tree_util.tree_map_with_path(leaf, shapes(config))

    return draw


@pytest.fixture(scope="session")
def params(config, make_params):
    """Weights for `config`."""
    return make_params(config)


@pytest.fixture(scope="session")
def tokens():
    """Three sequences of five tokens; no two are equal."""
    return jax.numpy.array([[0, 1, 2, 3, 1], [0, 3, 3, 2, 1], [0, 2, 1, 1, 3]])


@pytest.fixture(scope="session")
def other_tokens():
    """Sequences to patch from; each differs from its row of `tokens` in several places."""
    return jax.numpy.array([[0, 3, 1, 1, 2], [0, 1, 0, 3, 2], [0, 3, 2, 0, 0]])


@pytest.fixture(scope="session")
def run():
    """`forward`, compiled once per configuration and kind of patch for all tests."""
    return jax.jit(forward, static_argnums=1)


@pytest.fixture
def no_shape_checks(monkeypatch):
    """Disables runtime shape checks, so that the package's own checks are tested."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
