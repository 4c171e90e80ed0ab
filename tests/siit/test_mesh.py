"""Training on several devices and processes gives the same as on one device."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from interpbench_jax.model import init_params
from interpbench_jax.model.network import as_network
from interpbench_jax.siit import cores_as_devices, device_mesh, members, train_siit, train_together
from interpbench_jax.siit.losses import interchange_losses
from interpbench_jax.siit.mesh import DATA, sum_over_devices
from interpbench_jax.siit.step import SiitBatch, draw_batch, share_of_device
from tests.siit import test_edges
from tests.siit.test_together import LARGER, larger_problem
from tests.siit.test_train import MODEL, QUICK, copy_problem

SEEDS = (0, 1, 2, 3)
# As in the programs below: large enough to be divided between two devices.
LARGE = dataclasses.replace(QUICK, batch_size=128)
# Joins another process, if there is one.
JOIN = """
import sys
import jax
if len(sys.argv) > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
"""
# Trains the same members on all devices and prints their losses and those of the best weights.
TRAIN = """
import dataclasses, json, jax
from interpbench_jax.siit import device_mesh, members, train_siit
from tests.siit.test_train import MODEL, QUICK, copy_problem
LARGE = dataclasses.replace(QUICK, batch_size=128)
mesh = device_mesh(4, LARGE.batch_size)
rounds = []
population = members(LARGE, seeds=(0, 1, 2, 3))
result = train_siit(copy_problem(), MODEL, population, mesh=mesh, on_round=rounds.append)
shape = dict(mesh.shape)
found = {"shape": shape, "losses": result.history.losses.tolist(), "rounds": len(rounds)}
# As read from a checkpoint: nothing is left to be done, and all is on one device.
finished = jax.device_put(jax.device_get(rounds[-1]._replace(key=0)), jax.local_devices()[0])
finished = finished._replace(key=jax.random.split(jax.random.key(0), 4))
again = train_siit(copy_problem(), MODEL, population, mesh=mesh, state=finished)
assert again.worst.tolist() == result.worst.tolist()
print(json.dumps(found | {"worst": result.worst.tolist()}))
"""
PROGRAM = JOIN + TRAIN
# The same for two cases in one program.
TOGETHER = """
import dataclasses, json
from interpbench_jax.siit import device_mesh, members, train_together
from tests.siit.test_together import LARGER, larger_problem
from tests.siit.test_train import MODEL, QUICK, copy_problem
LARGE = dataclasses.replace(QUICK, batch_size=128)
mesh = device_mesh(4, LARGE.batch_size)
population = members(LARGE, seeds=(0, 1, 2, 3))
problems, models = (copy_problem(), larger_problem()), (MODEL, LARGER)
results = train_together(problems, models, population, mesh=mesh)
print(json.dumps([result.history.losses.tolist() for result in results]))
"""
# By edges, with the batch divided between two devices.
BY_EDGES = (
    JOIN
    + """
import dataclasses, json
from interpbench_jax.siit import device_mesh, train_siit
from tests.siit.test_edges import CONFIG, MODEL, problem
LARGE = dataclasses.replace(CONFIG, batch_size=128, refine_batches=20, row_focus=0.5)
mesh = device_mesh(1, LARGE.batch_size)
assert dict(mesh.shape) == {"population": 1, "data": 2}
history = train_siit(problem(), MODEL, LARGE, validation=problem(), mesh=mesh).history
print(json.dumps([history.losses.tolist(), history.scores.edges.tolist()]))
"""
)


def start(n_devices: int, *arguments: str, program: str = PROGRAM) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={n_devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def two_processes(program: str) -> tuple[subprocess.Popen, subprocess.Popen]:
    """Starts a program in two processes with one device each; they get an address and a number."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return start(1, address, "0", program=program), start(1, address, "1", program=program)


def check(process: subprocess.Popen, shape: dict[str, int]) -> None:
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    found = json.loads(printed.splitlines()[-1])
    expected = train_siit(copy_problem(), MODEL, members(LARGE, seeds=SEEDS))
    assert found["shape"] == shape
    assert found["rounds"] == QUICK.n_rounds
    np.testing.assert_allclose(found["losses"], expected.history.losses, rtol=1e-3)
    np.testing.assert_allclose(found["worst"], expected.worst, atol=0.05)


@pytest.mark.slow
def test_members_and_batches_over_eight_devices() -> None:
    check(start(8), {"population": 4, "data": 2})


@pytest.mark.slow
def test_two_cases_over_eight_devices() -> None:
    printed, _ = start(8, program=TOGETHER).communicate(timeout=240)
    problems, models = (copy_problem(), larger_problem()), (MODEL, LARGER)
    expected = train_together(problems, models, members(LARGE, seeds=SEEDS))
    for losses, result in zip(json.loads(printed), expected, strict=True):
        np.testing.assert_allclose(losses, result.history.losses, rtol=1e-3)


def check_by_edges(process: subprocess.Popen) -> None:
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    losses, edges = json.loads(printed.splitlines()[-1])
    config = dataclasses.replace(
        test_edges.CONFIG, batch_size=128, refine_batches=20, row_focus=0.5
    )
    given = test_edges.problem()
    expected = train_siit(given, test_edges.MODEL, config, validation=given)
    np.testing.assert_allclose(losses, expected.history.losses, rtol=1e-3)
    np.testing.assert_allclose(edges, expected.history.scores.edges, atol=0.05)


@pytest.mark.slow
def test_training_by_edges_on_two_devices() -> None:
    check_by_edges(start(2, program=BY_EDGES))


@pytest.mark.slow
def test_training_by_edges_in_two_processes_that_divide_every_batch() -> None:
    first, second = two_processes(BY_EDGES)
    check_by_edges(first)
    second.communicate(timeout=60)
    assert second.returncode == 0


@pytest.mark.slow
def test_members_in_turn_on_each_of_two_devices() -> None:
    check(start(2), {"population": 2, "data": 1})


@pytest.mark.slow
def test_two_processes() -> None:
    first, second = two_processes(PROGRAM)
    check(first, {"population": 2, "data": 1})
    second.communicate(timeout=60)
    assert second.returncode == 0


@pytest.mark.parametrize("for_each", [False, True])
def test_losses_of_devices_add_up_to_that_of_one(for_each: bool) -> None:
    """Devices have other weights; one has none, for all losses or for one of them."""
    model, problem = as_network(MODEL), copy_problem(32)
    batch = draw_batch(
        problem,
        jax.random.key(0),
        batch_size=32,
        strict_sampling="all",
        variable_sampling="per_batch",
    )
    rng = np.random.default_rng(0)
    positions = jnp.asarray(rng.random((3, 32, 3)) if for_each else rng.random((32, 3)))
    empty = (1, slice(16)) if for_each else slice(16)
    masks = jnp.broadcast_to(batch.masks, (3, 32, batch.masks.shape[-1]))
    batch = batch._replace(masks=masks, position_weights=positions.at[empty].set(0))
    params = init_params(MODEL, jax.random.key(1))

    def losses(batch: SiitBatch) -> Array:
        return interchange_losses(
            params,
            model,
            batch.base,
            batch.source,
            batch.masks,
            batch.targets,
            batch.position_weights,
        )

    def on_a_device(part: SiitBatch) -> Array:
        part, share = share_of_device(part)
        return sum_over_devices(losses(part) * share)

    axes = (0, 0, 1, 1, 1 if for_each else 0)  # over pairs

    def halves(array: Array, axis: int) -> Array:
        return jnp.stack(jnp.split(array, 2, axis))

    parts = SiitBatch(*map(halves, batch, axes))
    found = jax.jit(jax.vmap(on_a_device, axis_name=DATA))(parts)
    np.testing.assert_allclose(found, np.stack([jax.jit(losses)(batch)] * 2), rtol=1e-5)


def test_one_device_needs_no_mesh() -> None:
    assert device_mesh(4, 16) is None


@dataclasses.dataclass(frozen=True)
class Device:
    """Stands for an accelerator of a process."""

    number: int
    process_index: int = 0


@pytest.mark.parametrize(
    ("n_devices", "n_members", "batch_size", "shape"),
    [
        (3, 1, 256, (1, 2)),
        (6, 4, 256, (4, 1)),
        (6, 1, 384, (1, 6)),
        (8, 1, 256, (1, 4)),  # parts of 32 pairs would be too small
        (8, 4, 256, (4, 2)),
        (7, 12, 256, (6, 1)),
        (8, 4, 16, (4, 1)),
    ],
)
def test_as_many_devices_as_fit_are_used_with_a_warning(
    n_devices: int, n_members: int, batch_size: int, shape: tuple[int, int], monkeypatch
) -> None:
    devices = [Device(number) for number in range(n_devices)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    n_used = shape[0] * shape[1]
    expected_warning = (
        pytest.warns(UserWarning, match=f"{n_used} of {n_devices} devices are used")
        if n_used < n_devices
        else contextlib.nullcontext()
    )
    with expected_warning:
        mesh = device_mesh(n_members, batch_size)
    assert mesh is not None
    assert (mesh.shape["population"], mesh.shape["data"]) == shape
    assert mesh.devices.ravel().tolist() == devices[:n_used]


def test_each_process_has_a_part(monkeypatch) -> None:
    devices = [Device(number, process_index=number // 3) for number in range(6)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.warns(UserWarning, match="4 of 6 devices are used"):
        mesh = device_mesh(1, 256)
    assert mesh is not None
    assert [device.number for device in mesh.devices.ravel()] == [0, 1, 3, 4]
    monkeypatch.setattr(jax, "devices", lambda: [Device(n, process_index=n) for n in range(3)])
    with pytest.raises(ValueError, match="cannot be divided among 3 processes"):
        device_mesh(1, 256)


def test_cores_that_do_not_fit_are_left_out(monkeypatch) -> None:
    """Of three cores, two are used; the third is left out without a warning."""
    given = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(jax.config, "update", lambda name, value: given.update({name: value}))
    cores_as_devices(1, 256)
    assert given == {"jax_num_cpu_devices": 2}
