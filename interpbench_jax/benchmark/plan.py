"""What shall be run: models x methods x ablations x seeds, each run with a name that stays.

Nothing heavy is imported here, so that a finished plan is recognised at once.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from interpbench_jax.benchmark.own_method import method_fingerprint

# As in `discovery` and `zoo`, which import JAX.
_ABLATIONS = ("resample", "mean", "mean_per_position", "zero", "optimal")
_SELECTIONS = ("usual", "top_n", "greedy")
_BUNDLED = Path(__file__).parent.parent / "zoo" / "models"
# Fields of a model's config that no compiled program depends on.
_NOT_SHAPE = ("init_std",)


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
      name: in tables: the case of a bundled model, the directory of another, or `3 (compiled)`.
      case: its case.
      directory: where it lies; `None` for the compiled model of the case.
      fingerprint: changes when the model does.
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
      method: a name in `discovery.METHODS`, or `module:function`.
      method_version: changes when the file of a user's method does.
      ablation: what patches put in.
      seed: of the inputs, and of the method's own randomness.
      n_inputs: how many clean and corrupted inputs.
      selection: how circuits are read off scores, `top_n` or `greedy`; `usual` is the one of the
        method's paper.
    """

    model: ModelSource
    method: str
    method_version: str
    ablation: str
    seed: int
    n_inputs: int
    selection: str = "usual"

    @property
    def id(self) -> str:
        """A file name that tells what was run, and a hash of all that the result depends on."""
        model = self.model  # but not its directory, which differs between machines
        content = asdict(self) | {"model": [model.name, model.case, model.fingerprint]}
        digest = _digest(json.dumps(content, sort_keys=True).encode())
        parts = (model.case, self.method, self.ablation, str(self.seed), digest)
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
    n_inputs: int,
    selection: str = "usual",
) -> list[Run]:
    """All combinations, in an order in which neighbours share what is compiled and drawn.

    Args:
      models: what to look at.
      methods: what to look with.
      ablations: what patches put in.
      seeds: one run each.
      n_inputs: clean and corrupted inputs to draw.
      selection: how circuits are read off scores, see `Run`.

    Raises:
      ValueError: nothing is to be run, something is named twice or does not exist, or a number is
        out of range.
    """
    names = [model.name for model in models]
    for kind, given in (
        ("model", names),
        ("method", methods),
        ("ablation", ablations),
        ("seed", seeds),
    ):
        if not given:
            raise ValueError(f"give at least one {kind}")
        if twice := [str(name) for name in dict.fromkeys(given) if given.count(name) > 1]:
            raise ValueError(f"{kind} given twice: {', '.join(twice)}")
    if unknown := [name for name in ablations if name not in _ABLATIONS]:
        raise ValueError(f"unknown ablation {unknown[0]!r}; known: {', '.join(_ABLATIONS)}")
    if selection not in _SELECTIONS:
        raise ValueError(f"unknown selection {selection!r}; known: {', '.join(_SELECTIONS)}")
    if n_inputs < 1:
        raise ValueError(f"n_inputs must be at least 1, got {n_inputs}")
    if min(seeds) < 0:
        raise ValueError(f"seeds must not be negative, got {min(seeds)}")
    versions = {method: method_fingerprint(method) for method in methods}
    first = {shape: place for place, shape in reversed(list(enumerate(m.shape for m in models)))}
    return [
        Run(
            model=model,
            method=method,
            method_version=versions[method],
            ablation=ablation,
            seed=seed,
            n_inputs=n_inputs,
            selection=selection,
        )
        for model, ablation, seed, method in itertools.product(
            sorted(models, key=lambda m: first[m.shape]), ablations, seeds, methods
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
    return [_stored_model(_BUNDLED / case, case) for case in cases or known]


def stored_models(places: Sequence[Path], cases: Sequence[str]) -> list[ModelSource]:
    """Models in directories, and in directories of these; all or those of some cases.

    Raises:
      ValueError: there is no model in a directory, or none of a case.
    """
    found = []
    for place in places:
        inside = sorted(place.glob("*/config.json")) if place.is_dir() else []
        directories = [place] if (place / "config.json").exists() else [f.parent for f in inside]
        if not directories:
            raise ValueError(f"no model in {place}")
        found += [_stored_model(directory, str(directory)) for directory in directories]
    there = {model.case for model in found}
    if missing := [case for case in cases if case not in there]:
        raise ValueError(f"no model of case {missing[0]!r} in {', '.join(map(str, places))}")
    return [model for model in found if not cases or model.case in cases]


def compiled_models(cases: Sequence[str]) -> list[ModelSource]:
    """The models that Tracr makes of cases, which are the high-level models themselves."""
    from interpbench_jax.cases import get_case  # Tracr takes a second to import

    own = "".join(
        Path(file).read_text()
        for file in filter(None, os.environ.get("INTERPBENCH_CASES", "").split(os.pathsep))
    )
    return [
        ModelSource(
            name=f"{case} (compiled)",
            case=get_case(case).name,
            directory=None,
            fingerprint=_digest(f"compiled {case}\n{own}".encode()),
            shape=f"compiled {case}",
        )
        for case in cases
    ]


def _stored_model(directory: Path, name: str) -> ModelSource:
    try:
        described = json.loads((directory / "config.json").read_text())
        shape = {k: v for k, v in described["model"].items() if k not in _NOT_SHAPE}
        files = [directory / file for file in ("model.safetensors", "circuit.json", "config.json")]
        return ModelSource(
            name=name,
            case=str(described["case"]),
            directory=str(directory),
            fingerprint=_digest(b"".join(file.read_bytes() for file in files)),
            shape=json.dumps(shape, sort_keys=True),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory} does not hold a model: {error!r}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
