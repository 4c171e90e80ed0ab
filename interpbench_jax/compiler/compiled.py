"""A case, compiled: weights that compute its algorithm exactly, and their circuit."""

import functools
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from interpbench_jax.cases import Case, get_case, sequences
from interpbench_jax.compiler import cache
from interpbench_jax.compiler.codec import NOTHING, Codec
from interpbench_jax.compiler.content import case_fingerprint
from interpbench_jax.compiler.disagreement import find_disagreement
from interpbench_jax.compiler.ground_truth import ground_truth, written_after_bos
from interpbench_jax.compiler.haiku_to_params import haiku_to_params
from interpbench_jax.compiler.program_graph import BOS, PAD
from interpbench_jax.compiler.rasp_on_arrays import RaspArrays, Step, rasp_on_arrays
from interpbench_jax.compiler.stored_values import from_stored, to_stored
from interpbench_jax.compiler.tracr_stages import TracrModel, compile_with_tracr
from interpbench_jax.compiler.variables import Variable, find_variables
from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig
from interpbench_jax.model.graph import TransformerGraph

# Over how many inputs of each length the circuit is read off, when there are more.
_CIRCUIT_INPUTS = 1_000
# On how many of them, at most, the program is interpreted.
_COMPARED_INPUTS = 200
_TABLES = "program"


@dataclass(frozen=True, kw_only=True)
class CompiledCase:
    """The high-level model of a case.

    Attributes:
      case: the case it was compiled from.
      params: weights, ported from Tracr.
      config: their shape.
      codec: from sequences to token ids and from logits to values.
      variables: what each of its nodes computes.
      circuit: the edges that carry information.
      tabulated: the program as lookup tables, which say the same as the weights.
      disagreement: where the compiled model says something else than the program; mostly None.
    """

    case: Case
    params: Params = field(repr=False)
    config: TransformerConfig
    codec: Codec = field(repr=False)
    variables: tuple[Variable, ...]
    circuit: Circuit = field(repr=False)
    tabulated: RaspArrays = field(repr=False)
    disagreement: str | None = None

    @property
    def graph(self) -> TransformerGraph:
        """Writers and readers of the compiled model."""
        return Graph.of(self.config)

    @property
    def categorical(self) -> bool:
        """Whether the output is one of several values rather than a number."""
        return self.codec.categorical

    @property
    def deciding_params(self) -> Params:
        """The weights, biased to the first output: after BOS their argmax is `compiled_labels`.

        For whatever takes the argmax of a model's logits, which are 0 up to rounding where the
        program is undefined.
        """
        if not self.categorical:
            return self.params
        unembed = dict(self.params["unembed"])
        unembed["b_U"] = unembed["b_U"] + NOTHING * (np.arange(self.config.d_vocab_out) == 0)
        unembed["b_U"] = unembed["b_U"].astype(np.float32)
        return {**self.params, "unembed": unembed}

    @property
    def encode(self):
        """See `Codec.encode`."""
        return self.codec.encode

    @property
    def decode(self):
        """See `Codec.decode`."""
        return self.codec.decode


def compile_case(case: Case | str | int) -> CompiledCase:
    """Compiles a case, or returns what an earlier call, in this or another process, made of it.

    Warns where the compiled model does not say what RASP's interpreter says, on the inputs that
    were compared.

    Args:
      case: the case or its name.

    Raises:
      ValueError: there is no such case, or it cannot be compiled; the message names the case and
        the expression.
    """
    compiled = _compile(case if isinstance(case, Case) else get_case(case))
    if compiled.disagreement:
        warnings.warn(f"case {compiled.case.name!r}: {compiled.disagreement}", stacklevel=2)
    return compiled


@functools.cache
def _compile(case: Case) -> CompiledCase:
    content = case_fingerprint(case)
    stored = cache.read(content)
    if stored is not None:
        return _from_stored(case, *stored)
    compiled = _compile_anew(case)
    cache.write(content, *_to_stored(compiled))
    return compiled


def _compile_anew(case: Case) -> CompiledCase:
    tracr = compile_with_tracr(case)
    params, config = haiku_to_params(tracr)
    codec = _codec(case, tracr)
    n_tokens = len(case.vocab)
    all_same = np.repeat(np.arange(n_tokens)[:, None], case.n_ctx - 1, 1)  # the largest counts
    drawn = sequences(case, _CIRCUIT_INPUTS, jax.random.key(0))
    inputs = np.concatenate([all_same, drawn])
    shorter = inputs[:, : case.n_ctx // 2]  # so that what depends on the length varies
    written = [
        np.asarray(written_after_bos(params, config, codec.encode_indices(rows)))
        for rows in (inputs, shorter)
    ]
    every = -(-len(drawn) // _COMPARED_INPUTS)
    some = np.r_[:n_tokens, n_tokens : len(inputs) : every]
    differs = find_disagreement(case, tracr, inputs[some], written[0][:, some].sum(0))
    return CompiledCase(
        case=case,
        params=params,
        config=config,
        codec=codec,
        variables=find_variables(tracr),
        circuit=ground_truth(params, config, written),
        tabulated=rasp_on_arrays(tracr, case),
        disagreement=None if differs is None else str(differs),
    )


def _codec(case: Case, tracr: TracrModel) -> Codec:
    ids = {direction.value: place for place, direction in enumerate(tracr.tokens)}
    outputs = tuple(direction.value for direction in tracr.output) if tracr.categorical else None
    return Codec(case, ids[BOS], tuple(ids[token] for token in case.vocab), ids[PAD], outputs)


def _to_stored(compiled: CompiledCase) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {name: np.asarray(w) for name, w in flatten_dict(compiled.params, sep="/").items()}
    program = compiled.tabulated
    for number, step in enumerate(program.steps):
        for place, table in enumerate(program.tables[step.label]):
            arrays[f"{_TABLES}/{number}/{place}"] = table
    return arrays, {
        "steps": program.steps,
        "config": asdict(compiled.config),
        "bos": compiled.codec.bos,
        "pad": compiled.codec.pad,
        "token_ids": compiled.codec.token_ids,
        "outputs": to_stored(compiled.codec.outputs),
        "variables": [asdict(variable) for variable in compiled.variables],
        "circuit": compiled.circuit.to_json(),
        "disagreement": compiled.disagreement,
    }


def _from_stored(
    case: Case, arrays: dict[str, np.ndarray], description: dict[str, Any]
) -> CompiledCase:
    params = unflatten_dict(arrays, sep="/")
    tables = params.pop(_TABLES, {})
    steps = [Step(label, operation, tuple(args)) for label, operation, args in description["steps"]]
    by_label = {
        step.label: tuple(table for _, table in sorted(tables.get(str(number), {}).items()))
        for number, step in enumerate(steps)
    }
    return CompiledCase(
        case=case,
        params=params,
        config=TransformerConfig(**description["config"]),
        codec=Codec(
            case,
            description["bos"],
            tuple(description["token_ids"]),
            description["pad"],
            from_stored(description["outputs"]),
        ),
        variables=tuple(
            Variable(v["node"], tuple(v["labels"]), tuple(v["values"]))
            for v in description["variables"]
        ),
        circuit=Circuit.from_json(description["circuit"]),
        tabulated=RaspArrays(
            tuple(steps), by_label, case.causal, description["outputs"] is not None
        ),
        disagreement=description["disagreement"],
    )
