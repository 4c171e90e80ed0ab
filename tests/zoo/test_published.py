"""Models in the published format are read unchanged; all other files are refused."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.model import Circuit, TransformerConfig, transformer_graph
from interpbench_jax.zoo import load_model, read_published, read_torch, save_model
from interpbench_jax.zoo.hooked_config import decoder_options, read_hooked_config
from interpbench_jax.zoo.published import CONFIG, EDGES, META, WEIGHTS
from interpbench_jax.zoo.published_edges import edges_in, read_published_edges
from tests.golden_files import GOLDEN, arrays_of
from tests.zoo.torch_bytes import archive, program, record, storage, tensor
from tests.zoo.watching import refused

PUBLISHED = GOLDEN / "published_format"
CASES = ("3", "13")

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compiles everything that is compiled once, before anything is timed."""
    read_published(PUBLISHED / "3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the published case 3 that tests change."""
    shutil.copytree(PUBLISHED / "3", tmp_path / "3")
    return tmp_path / "3"


def fields_of(case: str) -> dict[str, Any]:
    return read_hooked_config((PUBLISHED / case / CONFIG).read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_original(case: str, run) -> None:
    """Case 13's logits reach 176, with a float32 error of 1e-3."""
    model = read_published(PUBLISHED / case).model
    expected = arrays_of(PUBLISHED / case / "expected.npz")
    logits, _ = run(model.params, model.config, expected["tokens"])
    np.testing.assert_allclose(logits, expected["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_bit_for_bit_those_in_the_file(case: str, tmp_path: Path) -> None:
    model = read_published(PUBLISHED / case).model
    save_model(model, tmp_path / "model")
    state = read_torch(PUBLISHED / case / WEIGHTS)
    for params in (model.params, load_model(tmp_path / "model").params):
        np.testing.assert_array_equal(params["embed"]["W_E"], state["embed.W_E"])
        for kind in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
            found = params["blocks_1"]["attn"][kind]
            np.testing.assert_array_equal(found, state[f"blocks.1.attn.{kind}"], strict=True)


def test_edges_are_ours() -> None:
    """Except one of case 13 that the original's circuits lack; see the compiler's notes."""
    three, thirteen = (read_published(PUBLISHED / case, truth="published") for case in CASES)
    assert three.only_ours == three.only_published == thirteen.only_published == ()
    assert thirteen.only_ours == ("input->m0",)
    for found, case in ((three, "3"), (thirteen, "13")):
        ours = read_published(PUBLISHED / case).model.circuit
        differing = {("input", "m0")} if case == "13" else set()
        assert found.model.circuit.edges ^ ours.edges == differing


def test_a_saved_model_records_its_source(tmp_path: Path) -> None:
    save_model(read_published(PUBLISHED / "13").model, tmp_path / "13")
    model = load_model(tmp_path / "13")
    assert model.case == "13" and model.data.held_out is None
    assert [variable.node for variable in model.variables] == ["a0.h0", "m0"]
    imported = model.card["imported"]
    assert imported["from"] == str(PUBLISHED / "13") and imported["edges_read_in"] == "compiled"
    assert imported["only_ours"] == ["input->m0"] and imported["truth"] == "ours"
    assert (
        imported["config"]["initializer_range"] == 0.17457431218879393
    )  # a NumPy number in the file
    assert set(imported["sha256"]) == {WEIGHTS, CONFIG, EDGES}


def test_settings_of_the_training_are_kept(folder: Path) -> None:
    (folder / META).write_text('{"lr": 0.001, "epochs": 2000}')
    assert read_published(folder).model.card["imported"]["meta"] == {"lr": 0.001, "epochs": 2000}
    (folder / META).write_text("{")
    with refused(str(folder / META)):
        read_published(folder)


@pytest.mark.parametrize("file", ["config.pkl", "config_protocol_2.pkl"])
def test_configs_as_transformer_lens_pickles_them(file: str) -> None:
    fields = read_hooked_config((GOLDEN / "torch_files" / file).read_bytes())
    assert fields["initializer_range"] == 0.25 and fields["dtype"] == "float32"
    assert fields["d_vocab_out"] == 1
    options = decoder_options(fields)
    assert options == (True, None, "gelu", 1e-5)


UNKNOWN = [
    ("normalization_type", "RMS"),
    ("normalization_type", "LNn"),
    ("act_fn", "silu"),
    ("act_fn", "solu_ln"),
    ("positional_embedding_type", "rotary"),
    ("attention_dir", "sideways"),
    ("attn_only", True),
    ("parallel_attn_mlp", True),
    ("gated_mlp", True),
    ("use_attn_scale", False),
    ("attn_scale", 1.0),
    ("n_key_value_heads", 2),
    ("num_experts", 8),
    ("scale_attn_by_inverse_layer_idx", True),
    ("attn_scores_soft_cap", 50.0),
    ("use_local_attn", True),
    ("final_rms", True),
    ("post_embedding_ln", True),
    ("something_new", 1),
    ("n_layers", 0),
    ("n_layers", True),
    ("n_layers", 10**9),
    ("n_heads", -1),
    ("d_model", 10**12),
    ("d_vocab", None),
    ("d_mlp", "48"),
    ("eps", 0.0),
    ("eps", float("nan")),
    ("eps", "1e-5"),
]


@pytest.mark.parametrize(("field", "value"), UNKNOWN)
def test_configs_that_our_network_does_not_support(folder: Path, field: str, value: Any) -> None:
    (folder / CONFIG).write_bytes(pickle.dumps(fields_of("3") | {field: value}))
    with refused(str(folder / CONFIG), field):
        read_published(folder)


@pytest.mark.parametrize("field", ["act_fn", "normalization_type", "attention_dir", "d_mlp"])
def test_incomplete_configs(folder: Path, field: str) -> None:
    fields = fields_of("3")
    del fields[field]
    (folder / CONFIG).write_bytes(pickle.dumps(fields))
    with refused(str(folder / CONFIG), field):
        read_published(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_vocab": 7}, "d_vocab is 7, the task '3' needs 6"),
        ({"d_vocab_out": 3}, "d_vocab_out is 3, the task '3' needs 1"),
        ({"attention_dir": "bidirectional"}, "causal is False, the task '3' needs True"),
        ({"n_ctx": 4}, "n_ctx is 4, the task '3' needs 5 at least"),
    ],
)
def test_models_of_another_task(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / CONFIG).write_bytes(pickle.dumps(fields_of("3") | changes))
    with refused(message):
        read_published(folder)


@pytest.mark.parametrize(
    "changes",
    [{"d_model": 13}, {"n_layers": 3}, {"n_heads": 2}, {"n_ctx": 6}, {"normalization_type": "LN"}],
)
def test_weights_of_another_shape(folder: Path, changes: dict[str, Any]) -> None:
    (folder / CONFIG).write_bytes(pickle.dumps(fields_of("3") | changes | {"attn_scale": -1.0}))
    with refused(str(folder / WEIGHTS)):
        read_published(folder)


def test_a_file_larger_than_its_config_implies_is_not_read(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as stream:
        stream.truncate(2**32)
    with refused(str(folder / WEIGHTS), "4294967296 bytes, expected at most"):
        read_published(folder)


@pytest.mark.parametrize(
    "content",
    [
        program(b"N"),
        program(record(a=b"N")),
        program(b"}"),
        program(b"}" + b"N" + tensor(storage("0", 6), (2, 3), (3, 1)) + b"s"),
        program(record(a=tensor(storage("0", 6), (2, 3), (3, 1)))),
        program(record(**{"embed.W_E": tensor(storage("0", 6), (10**6, 5), (0, 1))})),
    ],
)
def test_files_that_are_not_weights(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(archive(content, {"0": bytes(24)}))
    with refused(str(folder / WEIGHTS)):
        read_published(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    content = (folder / WEIGHTS).read_bytes()
    weight = read_torch(folder / WEIGHTS)["unembed.b_U"]
    broken = content.replace(weight.tobytes(), np.full_like(weight, value).tobytes(), 1)
    assert broken != content
    (folder / WEIGHTS).write_bytes(broken)
    with refused(str(folder / WEIGHTS), "its checksum differs"):
        read_published(folder)


@pytest.mark.parametrize(
    "edges",
    [
        *(3, {}, "text", [3], ["ab"], [("hook_embed",)], [("hook_embed", 3)]),
        [("hook_embed", "nowhere")],
        [("hook_embed", "blocks.0.hook_mlp_in[0]")],
        [("blocks.1.hook_mlp_out", "blocks.0.hook_mlp_in")],
        [("hook_embed", "blocks.9.hook_mlp_in")],
        [("hook_embed", "blocks.0.hook_q_input[9]")],
        [("hook_embed", "x" * 10**5)],
        [("blocks.1.hook_resid_post", "blocks.1.hook_mlp_in")],
    ],
)
def test_files_that_are_not_edges(folder: Path, edges: Any) -> None:
    (folder / EDGES).write_bytes(pickle.dumps(edges))
    with refused(str(folder / EDGES)):
        read_published(folder)


def test_names_of_hooks_in_either_style() -> None:
    """With embeddings and inputs separate, and by nodes."""
    graph = transformer_graph(2, 4)
    apart = [
        ("hook_embed", "blocks.0.hook_mlp_in"),
        ("hook_pos_embed", "blocks.1.hook_q_input[2]"),
        ("blocks.1.hook_q_input[2]", "blocks.1.attn.hook_q[2]"),
        ("blocks.1.attn.hook_result[2]", "blocks.1.hook_q_input[2]"),  # within the head
        ("blocks.0.hook_mlp_in", "blocks.0.hook_mlp_out"),
        ("blocks.0.hook_mlp_out", "blocks.1.hook_v_input[2]"),
        ("blocks.1.attn.hook_result[2]", "blocks.1.hook_resid_post"),
    ]
    names = "input->m0 input->a1.h2<q> m0->a1.h2<v> a1.h2->logits".split()
    assert edges_in(graph, apart) == circuit_of(names)
    by_node = [
        ("blocks.0.hook_mlp_out", "blocks.1.attn.hook_result[2]"),
        ("blocks.0.hook_resid_pre", "blocks.0.hook_mlp_out"),
        ("blocks.1.attn.hook_result[2]", "blocks.1.hook_resid_post"),
    ]
    names = [f"m0->a1.h2<{kind}>" for kind in "qkv"] + ["input->m0", "a1.h2->logits"]
    assert edges_in(graph, by_node) == circuit_of(names)


def circuit_of(names: list[str]) -> Circuit:
    return Circuit.from_json(json.dumps({"n_layers": 2, "n_heads": 4, "edges": names}))


def test_edges_of_the_trained_model_are_read_as_such(folder: Path) -> None:
    """The compiled model of case 3 has its head elsewhere."""
    hooks = read_published_edges((folder / EDGES).read_bytes())
    moved = [tuple(name.replace("[0]", "[2]") for name in pair) for pair in hooks]
    (folder / EDGES).write_bytes(pickle.dumps(moved))
    found = read_published(folder)
    assert found.only_ours == found.only_published == ()
    assert found.model.card["imported"]["edges_read_in"] == "trained"


def test_a_model_under_another_name(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))
    with pytest.raises(ValueError, match="renamed"):
        read_published(folder.with_name("renamed"))
    assert read_published(folder.with_name("renamed"), case="3").model.case == "3"


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, EDGES])
@pytest.mark.parametrize("damage", ["missing", "folder", "cut", "empty"])
def test_damaged_files_are_named(folder: Path, file: str, damage: str) -> None:
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    does: dict[str, Callable[[], Any]] = {
        "missing": lambda: None,
        "folder": (folder / file).mkdir,
        "cut": lambda: (folder / file).write_bytes(content[: len(content) // 2]),
        "empty": lambda: (folder / file).write_bytes(b""),
    }
    does[damage]()
    with refused(str(folder / file)):
        read_published(folder)


def test_a_missing_folder(tmp_path: Path) -> None:
    with refused("no directory"):
        read_published(tmp_path / "nowhere")


def test_layer_norm_and_the_tanh_form_of_gelu_as_in_ioi(folder: Path) -> None:
    """The published IOI models have both, with folded scales."""
    fields = fields_of("3") | {"normalization_type": "LNPre", "act_fn": "gelu_new"}
    (folder / CONFIG).write_bytes(pickle.dumps(fields))
    config = read_published(folder).model.config
    expected = TransformerConfig(
        n_layers=2,
        n_heads=4,
        d_model=12,
        d_head=3,
        d_mlp=48,
        n_ctx=5,
        d_vocab=6,
        d_vocab_out=1,
        causal=True,
        activation="gelu_tanh",
        layer_norm=True,
    )
    assert config == expected
