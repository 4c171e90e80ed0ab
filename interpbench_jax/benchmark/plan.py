"""What shall be run: models x methods x ablations x seeds, each run with a name that stays.

Nothing heavy is imported here, so that a finished plan is recognised at once. Only a user's own
case costs more: its program has to be built before it can be told from an older version of it.
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

# Seeds lie below it: JAX makes one key of seeds that differ by a multiple of it.
_SEED_LIMIT = 2**32
_PACKAGE = Path(__file__).parent.parent
# As in `discovery`, which imports JAX; planning does not need it. A test holds them equal.
ABLATION_NAMES = ("resample", "mean", "mean_per_position", "zero", "optimal")
_SELECTIONS = ("usual", "top_n", "greedy")
_BUNDLED = _PACKAGE / "zoo" / "models"
# No compiled program depends on it, but models of one shape would not share programs.
_NOT_SHAPE = ("init_std",)
_VOCABULARIES = ("d_vocab", "d_vocab_out")
_SMALLEST_VOCABULARY = 32
_MODEL_FILES = ("model.safetensors", "circuit.json", "config.json", "card.json")
_LARGEST_MODEL = 2**36
# The package's own code that decides a result: inputs, methods, scores and what these rest on.
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
    """Where a model comes from.

    Attributes:
      name: in tables: the case of a bundled model, the directory of another, or `3 (compiled)`.
      case: its case.
      directory: where it lies; `None` for the compiled model of the case.
      fingerprint: changes when the model does, or the program and inputs of its case.
      shape: equal for models for which one compiled program will do.
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
      method_version: changes when a user's method does; empty for those of the package.
      environment: changes when the package's code does, or a package that it computes with.
      ablation: what patches put in.
      seed: of the inputs, and of the method's own randomness.
      n_inputs: how many clean and corrupted inputs.
      selection: how circuits are read off scores, `top_n` or `greedy`; `usual` is the one of the
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
        """A file name that tells what was run, and a hash of all that the result depends on.

        Where the model and a user's method lie does not count, nor what the model is called: a
        directory has many paths, and they differ between machines.
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
        return "-".join(re.sub(r"[^\w.]+", ".", part) for part in parts)

    @property
    def compile_group(self) -> tuple[str, str]:
        """Runs of one group share a compiled program: ablations and seeds change arrays alone."""
        return self.model.shape, self.method


def make_plan(
    models: Sequence[ModelSource],
    methods: Sequence[str],
    ablations: Sequence[str],
    seeds: Sequence[int],
    n_inputs: Sequence[int],
    selection: str = "usual",
) -> list[Run]:
    """All combinations, in an order in which neighbours share what is compiled and drawn.

    Args:
      models: what to look at.
      methods: what to look with.
      ablations: what patches put in.
      seeds: one run each.
      n_inputs: how many clean and corrupted inputs to draw, a run for each number.
      selection: how circuits are read off scores, see `Run`.

    Raises:
      ValueError: nothing is to be run, something is named twice or does not exist, or a number is
        out of range.
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
    if min(n_inputs) < 1:
        raise ValueError(f"n_inputs must be at least 1, got {min(n_inputs)}")
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
            seed=seed,
            n_inputs=number,
            selection=selection,
        )
        for model, ablation, number, seed, method in itertools.product(
            sorted(models, key=lambda m: first[m.shape]), ablations, n_inputs, seeds, methods
        )
    ]


def share_of(runs: Sequence[Run], share: str) -> list[Run]:
    """One of n parts of a plan, as even as can be: `1/4` is the second of four.

    Neighbours stay together, since they share what is compiled.

    Raises:
      ValueError: the share is not of that form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", share)
    place, parts = map(int, found.groups()) if found else (0, 0)
    if place >= parts:
        raise ValueError(f"a share is 0/4, 1/4, 2/4 or 3/4 of four, got {share!r}")
    return list(runs[len(runs) * place // parts : len(runs) * (place + 1) // parts])


def bundled_models(cases: Sequence[str]) -> list[ModelSource]:
    """The models that come with the package, all or those of some cases.

    Raises:
      ValueError: there is none of a case.
    """
    known = sorted(
        (f.parent.name for f in _BUNDLED.glob("*/config.json")), key=lambda n: (len(n), n)
    )
    for case in cases:
        if case not in known:
            raise ValueError(f"no bundled model of case {case!r}; there are {', '.join(known)}")
    return [stored_model(_BUNDLED / case, case) for case in cases or known]


def stored_models(places: Sequence[Path], cases: Sequence[str]) -> list[ModelSource]:
    """Models in directories, and in directories of these; all or those of some cases.

    Raises:
      ValueError: there is no model in a directory, or none of a case, or its case is not known.
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
    """A bundled model by its name (`3`, `siit/3`), or the one in a directory.

    Raises:
      ValueError: there is none, or its case is not known.
    """
    is_name = not Path(name).is_absolute() and ".." not in Path(name).parts
    if is_name and (_BUNDLED / name / "config.json").exists():
        return stored_model(_BUNDLED / name, name)
    if not (Path(name) / "config.json").exists():
        raise ValueError(f"no model {name!r}: neither bundled nor a directory that holds one")
    return stored_model(Path(name), _called(Path(name)))


def compiled_models(cases: Sequence[str]) -> list[ModelSource]:
    """The models that Tracr makes of cases, which are the high-level models themselves.

    Raises:
      ValueError: there is no such case, or Tracr cannot compile it.
    """
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
      directory: of the model.
      name: what tables call it.

    Raises:
      ValueError: there is none, or its case is not known.
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
            f"{directory} holds a model of a case that is not built in; INTERPBENCH_CASES must "
            f"name the file that defines it: {error}"
        ) from error
    return ModelSource(
        name=name,
        case=case,
        directory=str(directory),
        fingerprint=fingerprint(files=files, task=task),
        shape=shape,
    )


def shared_vocabulary(size: int) -> int:
    """How many tokens, or outputs, a model is run with: 32, 64, 128 and so on.

    Most tasks differ in their vocabularies and in nothing else. With equal ones, their models share
    compiled programs. It depends on the model alone, so that no result depends on others of its
    plan. The single output of a regression stays single.

    Args:
      size: how many the model has.
    """
    return 1 if size == 1 else max(_SMALLEST_VOCABULARY, 1 << (size - 1).bit_length())


def check_seed(seed: int) -> None:
    """Makes sure that a seed has random numbers of its own.

    Raises:
      ValueError: it is not a whole number, is negative, or so large that it stands for the same
        numbers as a smaller one.
    """
    if not isinstance(seed, numbers.Integral) or not 0 <= seed < _SEED_LIMIT:
        raise ValueError(f"a seed must be at least 0 and below 2**32, got {seed!r}")


def versions() -> dict[str, str]:
    """Of Python, of this package, and of the packages that results are computed with."""
    names = ("interpbench-jax", *_PACKAGES)
    return {"python": platform.python_version()} | {name: version(name) for name in names}


@functools.cache
def environment() -> str:
    """A digest of what computes results: the package's code, and the packages it rests on.

    Results of different environments may differ, and are never mixed. The programs of built-in
    cases are part of the code.
    """
    packages = {name: version(name) for name in _PACKAGES}
    return fingerprint(code=source_fingerprint(*_CODE), packages=packages)


@functools.cache
def _built_in_cases() -> frozenset[str]:
    """Names of the cases whose programs are part of the package, without building any."""
    return frozenset(read_json(_PACKAGE / "cases" / "catalogue.json"))


def _called(directory: Path) -> str:
    """A model's directory, written so that no bundled model has that name."""
    is_bundled_name = (_BUNDLED / directory / "config.json").exists()
    return f"./{directory}" if is_bundled_name and not directory.is_absolute() else str(directory)


def _described(directory: Path) -> tuple[str, str]:
    """Case and shape of the model in a directory, see `ModelSource`."""
    try:
        described = read_json(directory / "config.json")
        shape = {k: v for k, v in described["model"].items() if k not in _NOT_SHAPE}
        shape |= {name: shared_vocabulary(shape[name]) for name in _VOCABULARIES}
        return str(described["case"]), json.dumps(shape, sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory} does not hold a model: {error!r}") from error


def _built_task(case: str) -> str:
    """A digest of a case's program and of how its inputs are drawn.

    Raises:
      ValueError: there is no such case, or Tracr cannot compile it.
    """
    from interpbench_jax.compiler import get_task  # which imports Tracr and takes seconds

    return get_task(case).fingerprint


def _check_once(kind: str, given: Sequence[tuple[str, str]]) -> None:
    """Refuses an empty list, and what is given twice, though it may have been called otherwise.

    Args:
      kind: of things.
      given: what each is called, and what makes it the one that it is.
    """
    if not given:
        raise ValueError(f"give at least one {kind}")
    first: dict[str, str] = {}
    for name, identity in given:
        if identity in first:
            also = "" if name == first[identity] else f", which is the same as {first[identity]}"
            raise ValueError(f"{kind} given twice: {name}{also}")
        first[identity] = name
