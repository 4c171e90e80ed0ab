"""Cases for tests of the compiler: a selection by default, all of them in slow tests."""

import functools
import itertools
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from interpbench_jax.cases import Case, case_names, get_case, sequences
from interpbench_jax.compiler import compile_case, compiled
from interpbench_jax.compiler.tracr_stages import TracrModel, compile_with_tracr
from interpbench_jax.model import forward

# Every theme, both kinds of output, one to four layers, causal and not.
SPREAD = ("3", "8", "18", "21", "38", "57")


def _param(name: str):
    # Tests of one case run in one process and share its compiled model.
    marks = [pytest.mark.xdist_group(f"case {name}")]
    if name not in SPREAD:
        marks.append(pytest.mark.slow)
    if name == "113":
        marks.append(pytest.mark.filterwarnings("ignore:case '113'. expression"))
    return pytest.param(name, marks=marks)


_finished = itertools.count(1)
_forward = jax.jit(forward, static_argnums=1)


@functools.lru_cache(maxsize=1)
def _tracr(case: Case) -> TracrModel:
    return compile_with_tracr(case)


@functools.lru_cache(maxsize=1)
def _inputs(case: Case) -> np.ndarray:
    found = sequences(case, 10_000, jax.random.key(1))
    return found if len(found) < 10_000 else found[:2_000]


@functools.lru_cache(maxsize=1)
def _outputs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    made = compile_case(case)
    tokens = made.codec.encode_indices(_inputs(case))
    logits, writers = _forward(made.params, made.config, tokens)
    return np.asarray(logits), np.asarray(writers)


@pytest.fixture(scope="module", params=map(_param, case_names()))
def each_case(request) -> Iterator[Case]:
    """The selected cases; all of them in slow tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compiled, "compile_with_tracr", _tracr)  # `tracr` shares it
        yield get_case(request.param)
    if next(_finished) % 10 == 0:
        jax.clear_caches()  # compiled programs of 129 cases take more than 10 GB


@pytest.fixture(scope="module")
def tracr(each_case: Case) -> TracrModel:
    """Tracr's compiled model of each case."""
    return _tracr(each_case)


@pytest.fixture(scope="module")
def inputs(each_case: Case) -> np.ndarray:
    """All inputs if there are at most 10,000, else 2,000 drawn ones, as vocabulary indices."""
    return _inputs(each_case)


@pytest.fixture(scope="module")
def outputs(each_case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the compiled model on these inputs, and what its writers write."""
    return _outputs(each_case)
