"""The plan of a benchmark: models x methods x ablations x seeds, each run with a stable id.

This module imports nothing heavy, so that a finished plan is recognised quickly. Only a user's own
case takes longer: its program must be built to detect changes.
"""

import functools
import itertools
import json
import numbers
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from interpbench_jax.benchmark.own_method import method_fingerprint, method_label
from interpbench_jax.files import fingerprint, read_bytes, read_json, source_fingerprint

# Seeds are below this: JAX gives seeds that differ by a multiple of it the same key.
_SEED_LIMIT = 2**32
_PACKAGE = Path(__file__).parent.parent
# As in `discovery`, which imports JAX and is not needed for planning. A test checks equality.
ABLATION_NAMES = ("resample", "mean", "mean_per_position", "zero", "optimal")
_SELECTIONS = ("usual", "top_n", "greedy")
_BUNDLED = _PACKAGE / "zoo" / "models"
# No compiled program depends on these fields; models that differ only in them share programs.
_NOT_SHAPE = ("init_std",)
_VOCABULARIES = ("d_vocab", "d_vocab_out")
_SMALLEST_VOCABULARY = 32
_MODEL_FILES = ("model.safetensors", "circuit.json", "config.json", "card.json")
_LARGEST_MODEL = 2**36
# The package's code that determines results: inputs, methods, scores and their dependencies.
_CODE = (
    *("alignment", "cases", "compiler", "discovery", "evaluation", "model", "scoring", "siit"),
    *("tasks", "zoo"),
    *(
        f"benchmark/{name}.py"
        for name in ("execution", "findings", "keys", "measure", "shared_shapes")
    ),
    "discovery/structural_prior.json",
)
_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "scikit-learn", "scipy", "tracr-pypi")


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The source of a model.

    Attributes:
      name: its name in tables: the case of a bundled model, otherwise the directory, or
        `3 (compiled)`.
      case: its case.
      directory: its directory; `None` for the compiled model of the case.
      fingerprint: changes with the model, and with the program and inputs of its case.
      shape: equal for models that can share a compiled program.
    """

    name: str
    case: str
    directory: str | None
    fingerprint: str
    shape: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method on one model.

    Attributes:
      model: the model.
      method: a name in `discovery.METHODS`, `module:function` or `file.py:function`.
      method_version: changes with a user's method; empty for methods of the package.
      environment: changes with the package's code and with the packages that it computes with.
      ablation: the source of patches.
      seed: seed of the inputs, and of the method's own randomness.
      n_inputs: number of clean and corrupted inputs.
      selection: how scores become circuits, `top_n` or `greedy`; `usual` is the selection of the
        method's paper.
    """

    model: ModelSource
    method: str
    method_version: str
    environment: str
    ablation: str
    seed: int
    n_inputs: int
    selection: str = "usual"

    @property
    def id(self) -> str:
        """A file name that describes the run, with a hash of everything the result depends on.

        The hash does not depend on the paths of the model and of a user's method, or on the model's
        name, since paths differ between machines.
        """
        method = method_label(self.method)
        digest = fingerprint(
            model=[self.model.case, self.model.fingerprint],
            method=[method, self.method_version],
            environment=self.environment,
            ablation=self.ablation,
            seed=self.seed,
            n_inputs=self.n_inputs,
            selection=self.selection,
        )
        parts = (self.model.case, method, self.ablation, str(self.seed), digest[:16])
        # A leading dot would hide the file.
        return "-".join(re.sub(r"[^\w.]+", ".", part) for part in parts).lstrip(".")

    @property
    def compile_group(self) -> tuple[str, str]:
        """Runs of one group share a compiled program: ablations and seeds change only arrays."""
        return self.model.shape, self.method


def make_plan(
    models: Sequence[ModelSource],
    methods: Sequence[str],
    ablations: Sequence[str],
    seeds: Sequence[int],
    n_inputs: Sequence[int],
    selection: str = "usual",
) -> list[Run]:
    """All combinations, ordered so that neighbours share compiled programs and inputs.

    Args:
      models: the models.
      methods: names of methods.
      ablations: sources of patches.
      seeds: seeds, one run each.
      n_inputs: numbers of clean and corrupted inputs, one run each.
      selection: how scores become circuits, see `Run`.

    Raises:
      ValueError: the plan is empty, an entry is given twice or does not exist, or a number is out
        of range.
    """
    for kind, names in (("methods", methods), ("ablations", ablations)):
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{kind} must be a sequence of names, got {names!r}")
    _check_once("model", [(m.name, f"{m.case} {m.fingerprint}") for m in models])
    _check_once("method", [(name, method_label(name)) for name in methods])
    _check_once("ablation", [(name, name) for name in ablations])
    _check_once("seed", [(str(seed), str(seed)) for seed in seeds])
    if unknown := [name for name in ablations if name not in ABLATION_NAMES]:
        raise ValueError(f"unknown ablation {unknown[0]!r}; known: {', '.join(ABLATION_NAMES)}")
    if selection not in _SELECTIONS:
        raise ValueError(f"unknown selection {selection!r}; known: {', '.join(_SELECTIONS)}")
    _check_once("number of inputs", [(str(number), str(number)) for number in n_inputs])
    for number in n_inputs:
        if not isinstance(number, numbers.Integral) or isinstance(number, bool):
            raise ValueError(f"n_inputs must be whole numbers, got {number!r}")
        if number < 1:
            raise ValueError(f"n_inputs must be at least 1, got {number}")
    for seed in seeds:
        check_seed(seed)
    method_versions = {method: method_fingerprint(method) for method in methods}
    first = {shape: place for place, shape in reversed(list(enumerate(m.shape for m in models)))}
    return [
        Run(
            model=model,
            method=method,
            method_version=method_versions[method],
            environment=environment(),
            ablation=ablation,
            seed=int(seed),  # not NumPy's: the id must not depend on the type
            n_inputs=int(number),
            selection=selection,
        )
        for model, ablation, number, seed, method in itertools.product(
            sorted(models, key=lambda m: first[m.shape]), ablations, n_inputs, seeds, methods
        )
    ]


def share_of(runs: Sequence[Run], share: str) -> list[Run]:
    """One of n nearly equal parts of a plan: `1/4` is the second of four.

    Each part is contiguous, since neighbours share compiled programs.

    Raises:
      ValueError: the share has another form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", share)
    place, parts = map(int, found.groups()) if found else (0, 0)
    if place >= parts:
        raise ValueError(f"a share must be one of 0/n to (n-1)/n, such as 1/4, got {share!r}")
    return list(runs[len(runs) * place // parts : len(runs) * (place + 1) // parts])


def bundled_models(cases: Sequence[str]) -> list[ModelSource]:
    """The models that come with the package: all, or those of some cases.

    Raises:
      ValueError: a case has no bundled model.
    """
    known = sorted(
        (f.parent.name for f in _BUNDLED.glob("*/config.json")), key=lambda n: (len(n), n)
    )
    for case in cases:
        if case not in known:
            raise ValueError(f"no bundled model of case {case!r}; there are {', '.join(known)}")
    return [stored_model(_BUNDLED / case, case) for case in cases or known]


def stored_models(places: Sequence[Path], cases: Sequence[str]) -> list[ModelSource]:
    """Models in directories, or in their subdirectories: all, or those of some cases.

    Raises:
      ValueError: a directory has no model, a case has no model, or a model's case is unknown.
    """
    found: list[Path] = []
    for place in places:
        inside = sorted(place.glob("*/config.json")) if place.is_dir() else []
        directories = [place] if (place / "config.json").exists() else [f.parent for f in inside]
        if not directories:
            raise ValueError(f"no model in {place}")
        found += directories
    case_of = {directory: _described(directory)[0] for directory in found}
    if missing := [case for case in cases if case not in case_of.values()]:
        raise ValueError(f"no model of case {missing[0]!r} in {', '.join(map(str, places))}")
    chosen = [directory for directory in found if not cases or case_of[directory] in cases]
    return [stored_model(directory, _called(directory)) for directory in chosen]


def named_model(name: str) -> ModelSource:
    """A bundled model by its name (`3`, `siit/3`), or the model in a directory.

    Raises:
      ValueError: there is no such model, or its case is unknown.
    """
    path = Path(name)
    # As in `load_model`, `./3` and `3/` are directories.
    is_name = name == path.as_posix() and not path.is_absolute() and ".." not in path.parts
    if is_name and (_BUNDLED / name / "config.json").exists():
        return stored_model(_BUNDLED / name, name)
    if not (Path(name) / "config.json").exists():
        raise ValueError(f"no model {name!r}: neither bundled nor a directory that holds one")
    return stored_model(Path(name), _called(Path(name)))


def compiled_models(cases: Sequence[str]) -> list[ModelSource]:
    """The models that Tracr compiles from cases.

    Raises:
      ValueError: there is no such case, it is not a program, or Tracr cannot compile it.
    """
    for case in cases:
        if not is_program(case) and (case in _built_in_cases() or not _is_compiled(case)):
            raise ValueError(f"task {case!r} has no compiled model: it is not a RASP program")
    return [
        ModelSource(
            name=f"{case} (compiled)",
            case=case,
            directory=None,
            fingerprint=fingerprint(compiled=case, task=_built_task(case)),
            shape=f"compiled {case}",
        )
        for case in cases
    ]


def stored_model(directory: Path, name: str) -> ModelSource:
    """The model in a directory.

    Args:
      directory: the model's directory.
      name: its name in tables.

    Raises:
      ValueError: there is no model, or its case is unknown.
    """
    case, shape = _described(directory)
    try:
        files = {file: read_bytes(directory / file, limit=_LARGEST_MODEL) for file in _MODEL_FILES}
    except FileNotFoundError as error:
        raise ValueError(f"{directory} does not hold a model: no {error.filename}") from error
    try:
        task = "" if case in _built_in_cases() else _built_task(case)
    except ValueError as error:
        raise ValueError(
            f"{directory} holds a model of a case that is not built in; add the file that defines "
            f"it to INTERPBENCH_CASES: {error}"
        ) from error
    return ModelSource(
        name=name,
        case=case,
        directory=str(directory),
        fingerprint=fingerprint(files=files, task=task),
        shape=shape,
    )


def shared_vocabulary(size: int) -> int:
    """The number of tokens, or outputs, that a model is padded to: 32, 64, 128 and so on.

    Most tasks differ only in their vocabularies. With padded vocabularies their models share
    compiled programs. The result depends only on the model, and not on other models of a plan. A
    regression keeps its single output.

    Args:
      size: the model's own number.
    """
    return 1 if size == 1 else max(_SMALLEST_VOCABULARY, 1 << (size - 1).bit_length())


def check_seed(seed: int) -> None:
    """Checks that a seed gives unique random numbers.

    Raises:
      ValueError: it is not a whole number, is negative, or is so large that it gives the same
        numbers as a smaller seed.
    """
    is_whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not is_whole or not 0 <= seed < _SEED_LIMIT:
        raise ValueError(f"a seed must be at least 0 and below 2**32, got {seed!r}")


def versions() -> dict[str, str]:
    """Versions of Python, of this package, and of the packages that results are computed with."""
    names = ("interpbench-jax", *_PACKAGES)
    return {"python": platform.python_version()} | {name: version(name) for name in names}


@functools.cache
def environment() -> str:
    """A digest of the package's code and of the packages that it computes with.

    Results of different environments may differ, and are never mixed. The programs of built-in
    cases are part of the code.
    """
    packages = {name: version(name) for name in _PACKAGES}
    return fingerprint(code=source_fingerprint(*_CODE), packages=packages)


def is_program(case: str) -> bool:
    """Whether a task of the package is a RASP program, which Tracr compiles."""
    return case in _catalogued()


@functools.cache
def _catalogued() -> frozenset[str]:
    return frozenset(read_json(_PACKAGE / "cases" / "catalogue.json"))


@functools.cache
def _built_in_cases() -> frozenset[str]:
    """Names of the tasks whose programs are in the package; builds no program.

    Models in the package are of such tasks, also those that are not compiled by Tracr.
    """
    bundled = (file.parent.name for file in _BUNDLED.glob("*/config.json"))
    return _catalogued() | frozenset(bundled)


def _called(directory: Path) -> str:
    """The name of a model in a directory, distinct from names of bundled models."""
    is_bundled_name = (_BUNDLED / directory / "config.json").exists()
    return f"./{directory}" if is_bundled_name and not directory.is_absolute() else str(directory)


def _described(directory: Path) -> tuple[str, str]:
    """The case and shape of the model in a directory; see `ModelSource`."""
    try:
        described = read_json(directory / "config.json")
        shape = {k: v for k, v in described["model"].items() if k not in _NOT_SHAPE}
        shape |= {name: shared_vocabulary(shape[name]) for name in _VOCABULARIES}
        return str(described["case"]), json.dumps(shape, sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory} does not hold a model: {error!r}") from error


def _built_task(case: str) -> str:
    """A digest of a case's program and of its inputs.

    Raises:
      ValueError: there is no such case, or Tracr cannot compile it.
    """
    from interpbench_jax.compiler import get_task  # takes seconds, as it imports Tracr

    return get_task(case).fingerprint


def _is_compiled(case: str) -> bool:
    """Whether an own task is a program.

    Raises:
      ValueError: there is no such task, or Tracr cannot compile it.
    """
    from interpbench_jax.compiler import CompiledCase, get_task

    return isinstance(get_task(case), CompiledCase)


def _check_once(kind: str, given: Sequence[tuple[str, str]]) -> None:
    """Checks that a list is not empty and has no duplicates, even under different names.

    Args:
      kind: the kind of its entries.
      given: name and identity of each entry.
    """
    if not given:
        raise ValueError(f"give at least one {kind}")
    first: dict[str, str] = {}
    for name, identity in given:
        if identity in first:
            also = "" if name == first[identity] else f", which is the same as {first[identity]}"
            raise ValueError(f"{kind} given twice: {name}{also}")
        first[identity] = name
