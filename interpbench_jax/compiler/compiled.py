"""A compiled case: weights that compute its algorithm exactly, and their circuit."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

from interpbench_jax.cases import PADDING, Case, CaseInputs, Value, get_case, sequences
from interpbench_jax.compiler import cache
from interpbench_jax.compiler.answers import CompiledAnswers, TabulatedAnswers
from interpbench_jax.compiler.codec import NOTHING, Codec, Output
from interpbench_jax.compiler.content import case_fingerprint
from interpbench_jax.compiler.disagreement import find_disagreement
from interpbench_jax.compiler.ground_truth import ground_truth, written_after_bos
from interpbench_jax.compiler.haiku_to_params import haiku_to_params
from interpbench_jax.compiler.program_graph import BOS, PAD
from interpbench_jax.compiler.program_text import program_text
from interpbench_jax.compiler.rasp_on_arrays import RaspArrays, Step, find_wires, rasp_on_arrays
from interpbench_jax.compiler.sizes import trained_config
from interpbench_jax.compiler.stored_values import from_stored, to_stored
from interpbench_jax.compiler.tracr_stages import TracrModel, compile_with_tracr
from interpbench_jax.compiler.variables import Variable, find_variables
from interpbench_jax.files import fingerprint
from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.tasks.splits import HELD_OUT, Part, Split
from interpbench_jax.tasks.task import Contrast, Pairs

# The most inputs of each length from which the circuit is determined.
_CIRCUIT_INPUTS = 1_000
# The most inputs on which the compiled model is compared with RASP's interpreter.
_COMPARED_INPUTS = 200
_TABLES = "program"
# Compiled models with more parameters are not run: the tables are faster.
_HEAVY = 50_000
_SIZES = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp")


@dataclass(frozen=True, kw_only=True)
class CompiledCase:
    """The high-level model of a case: a RASP program as a `Task`.

    Attributes:
      case: the case it was compiled from.
      params: weights, ported from Tracr.
      config: shape of the compiled model.
      codec: converts sequences to token ids and logits to values.
      variables: what each node of the compiled model computes.
      circuit: the edges that carry information.
      tabulated: the program as lookup tables, equivalent to the weights.
      disagreement: where the compiled model differs from the program; None if nowhere.
      min_length: length of the shortest inputs, which are padded; full length by default.
      same_size: whether the model to be trained is as large as the compiled model.
    """

    case: Case
    params: Params = field(repr=False)
    config: TransformerConfig
    codec: Codec = field(repr=False)
    variables: tuple[Variable, ...]
    circuit: Circuit = field(repr=False)
    tabulated: RaspArrays = field(repr=False)
    disagreement: str | None = None
    min_length: int | None = None
    same_size: bool = False

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.case.name

    @property
    def title(self) -> str:
        """What the program computes."""
        return self.case.title

    @property
    def fingerprint(self) -> str:
        """A digest of everything that determines inputs, answers, circuit and places."""
        return fingerprint(
            program=case_fingerprint(self.case),
            compression=self.case.compression,
            sized_by=self.case.sized_by,
            realign=self.case.realign,
            min_length=self.min_length,
            same_size=self.same_size,
        )

    @property
    def contents(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the expressions that each node of the compiled model writes."""
        return {variable.node: variable.values for variable in self.variables}

    @property
    def vocabulary(self) -> tuple[Value, ...]:
        """The tokens of the case, without BOS."""
        return self.case.vocab

    @property
    def network(self) -> TransformerConfig:
        """The shape of the model to be trained; see `trained_config`."""
        network = trained_config(self.case, self.config)
        if self.same_size:
            network = replace(network, **{size: getattr(self.config, size) for size in _SIZES})
        return network if self.min_length is None else replace(network, pad=self.codec.pad)

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:
        """Nodes keep their names, except where the case says otherwise."""
        # A model of the compiled model's size keeps all nodes.
        moved = {} if self.same_size else dict(self.case.realign)
        nodes = [variable.node for variable in self.variables]
        return {"input": ("input",), **{node: (moved.get(node, node),) for node in nodes}}

    @property
    def answers(self) -> CompiledAnswers | TabulatedAnswers:
        """The algorithm's answers, computed from tables if the compiled model is large."""
        return self.answers_by()

    @property
    def defined_answers(self) -> TabulatedAnswers:
        """The answers from the tables, which mark positions without a single answer."""
        answers = self.answers_by(tabulated=True)
        assert isinstance(answers, TabulatedAnswers)
        return answers

    def answers_by(self, *, tabulated: bool | None = None) -> CompiledAnswers | TabulatedAnswers:
        """The algorithm's answers.

        Args:
          tabulated: whether to use the tables instead of the compiled model; by default if the
            model is large.
        """
        if tabulated is None:
            sizes = (weight.size for weight in flatten_dict(self.params).values())
            tabulated = sum(sizes) > _HEAVY
        if not tabulated:
            return CompiledAnswers(self.params, self.config, self.categorical)
        program, codec = self.tabulated, self.codec
        indices = np.zeros(self.config.d_vocab, np.int32)
        indices[list(codec.token_ids)] = np.arange(len(codec.token_ids))
        return TabulatedAnswers(
            tables=program.tables,
            places=indices,
            pad=codec.pad,
            n_readers=self.graph.n_readers,
            steps=program.steps,
            wires=find_wires(program, self.variables, self.graph),
            causal=program.causal,
            categorical=program.categorical,
        )

    @property
    def inputs(self) -> CaseInputs:
        """The source of its sequences."""
        return CaseInputs(self.case, self.min_length)

    def split(self, held_out: float = HELD_OUT) -> Split:
        """Which sequences are for training and which are held out."""
        return Split.of(self.inputs, held_out=held_out)

    def pairs(self, split: Split, part: Part, at_most: int, key: jax.Array) -> Pairs:
        """Distinct pairs of sequences from one part, as token ids."""
        return self.encode_pairs(*split.pairs(part, at_most, key))

    def encode_pairs(
        self, base: Int[np.ndarray, "pair length"], source: Int[np.ndarray, "pair length"]
    ) -> Pairs:
        """Encodes pairs of index sequences; all positions except BOS and padding count."""
        tokens = self.codec.encode_indices(base)
        return Pairs(tokens, self.codec.encode_indices(source), self.position_weights_of(tokens))

    def position_weights_of(
        self, tokens: Int[np.ndarray, "input pos"]
    ) -> Float[np.ndarray, "input pos"]:
        """The weight of every position of encoded inputs: 1, or 0 at BOS and padding."""
        counted = (tokens != self.codec.pad).astype(np.float32)
        counted[:, 0] = 0
        return counted

    def behaviour(self, pairs: Pairs) -> None:
        """None: the model is trained on the program's outputs alone."""

    def contrast(self, n: int, key: jax.Array) -> Contrast:
        """Clean sequences and others of the same lengths."""
        return Contrast(*self.encode_pairs(*self.inputs.sample_pairs(n, key)))

    def describe(self) -> Sequence[str]:
        """The program, one expression per line."""
        return program_text(self.case)

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
        """Weights biased towards the first output: after BOS their argmax is `compiled_labels`.

        For code that takes the argmax of logits, which are 0 up to rounding where the program is
        undefined.
        """
        if not self.categorical:
            return self.params
        unembed = dict(self.params["unembed"])
        unembed["b_U"] = unembed["b_U"] + NOTHING * (np.arange(self.config.d_vocab_out) == 0)
        unembed["b_U"] = unembed["b_U"].astype(np.float32)
        return {**self.params, "unembed": unembed}

    def encode(self, inputs: Sequence[Sequence[Value]]) -> Int[np.ndarray, "batch pos"]:
        """See `Codec.encode`."""
        return self.codec.encode(inputs)

    def decode(self, logits: Float[Array, "batch pos d_vocab_out"]) -> list[list[Output | None]]:
        """See `Codec.decode`."""
        return self.codec.decode(logits)


def compile_case(
    case: Case | str | int, *, min_length: int | None = None, same_size: bool = False
) -> CompiledCase:
    """Compiles a case, or loads the result of an earlier call (in any process) from the cache.

    Warns if the compiled model differs from RASP's interpreter on the compared inputs.

    Args:
      case: the case or its name.
      min_length: see `CompiledCase`.
      same_size: see `CompiledCase`.

    Raises:
      ValueError: there is no such case, it has no inputs of that length, or it cannot be compiled;
        the message names the case and the expression.
    """
    compiled = _compile(case if isinstance(case, Case) else get_case(case))
    if compiled.disagreement:
        warnings.warn(f"case {compiled.case.name!r}: {compiled.disagreement}", stacklevel=2)
    CaseInputs(compiled.case, min_length)  # checks the length
    return replace(compiled, min_length=min_length, same_size=same_size)


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
    all_same = np.repeat(np.arange(n_tokens)[:, None], case.n_ctx - 1, 1)  # has the largest counts
    drawn = sequences(case, _CIRCUIT_INPUTS, jax.random.key(0))
    inputs = np.concatenate([all_same, drawn])
    shorter = inputs.copy()  # so that values that depend on the length vary
    shorter[:, case.n_ctx // 2 :] = PADDING
    tokens = codec.encode_indices(np.concatenate([inputs, shorter]))
    written = np.asarray(written_after_bos(params, replace(config, pad=codec.pad), tokens))
    full, padded = np.split(written, 2, axis=1)
    every = -(-len(drawn) // _COMPARED_INPUTS)
    some = np.r_[:n_tokens, n_tokens : len(inputs) : every]
    differs = find_disagreement(case, tracr, inputs[some], full[:, some].sum(0))
    return CompiledCase(
        case=case,
        params=params,
        config=config,
        codec=codec,
        variables=find_variables(tracr),
        circuit=ground_truth(params, config, (full, padded[:, :, : case.n_ctx // 2])),
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
