"""Folders that are damaged, inconsistent or of unsupported models: one clear error."""

import json
import shutil

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies

from interpbench_jax.zoo import load_hugging_face
from interpbench_jax.zoo.hugging_face.load import from_hugging_face
from interpbench_jax.zoo.mapped_safetensors import map_safetensors
from tests.golden_files import GOLDEN

MODELS = GOLDEN / "decoders"
SCALED = {"rope_type": "yarn", "factor": 2.0}


def state_of(name):
    return safetensors.numpy.load_file(MODELS / name / "model.safetensors")


def fields_of(name):
    return json.loads((MODELS / name / "config.json").read_text())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("llama", {"model_type": "bert"}, "model_type must be one of gpt2, .*, got 'bert'"),
        ("llama", {"model_type": ["llama"]}, "model_type must be one of"),
        ("llama", {"hidden_size": "16"}, "hidden_size must be an integer from 1 .*, got '16'"),
        ("llama", {"hidden_size": 2**40}, "hidden_size must be an integer from 1"),
        ("llama", {"num_hidden_layers": 10**6}, "1000000 layers of 1 heads .* are too many"),
        ("gemma2", {"num_hidden_layers": 10**6}, "1000000 layers of 1 heads .* are too many"),
        ("llama", {"num_key_value_heads": 3}, "multiple of n_kv_heads, got 4 and 3"),
        ("llama", {"hidden_act": "mish"}, "hidden_act must be one of gelu, .*, got 'mish'"),
        ("llama", {"rope_parameters": SCALED}, "rope_parameters: rope_type must be one of default"),
        ("llama", {"rope_parameters": [1]}, "rope_parameters must be an object"),
        ("llama", {"rope_parameters": {"beta_fast": 2}}, "unknown field 'beta_fast'"),
        ("llama", {"sliding_window": 4}, "unknown field 'sliding_window'; .* name it in `ignored`"),
        ("llama", {"quantization_config": {}}, "quantization_config = {} is not supported"),
        ("llama", {"is_encoder_decoder": True}, "is_encoder_decoder = True is not supported"),
        ("llama", {"rms_norm_eps": -1}, "rms_norm_eps must be a positive number, got -1"),
        ("llama", {"attention_bias": False}, "unknown weight '.*bias' of shape"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "is not supported; expected False"),
        ("gpt2", {"n_head": 5}, "n_embd must be a multiple of 5 heads, got 16"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention = True is not supported"),
        ("gpt2", {"vocab_size": 24}, r"'wte.weight' has shape \(23, 16\), expected \(24, 16\)"),
        ("gemma2", {"layer_types": ["full_attention"]}, "a kind for each of 2 layers"),
        ("gemma2", {"layer_types": ["linear_attention"] * 2}, "layer_types must be of"),
        ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ("gemma", {"attention_bias": True}, "attention_bias = True is not supported"),
        ("qwen3", {"head_dim": 8}, r"has shape \(24, 16\), expected \(32, 16\)"),
        ("qwen3", {"head_dim": 5}, "5 of the 5 dimensions .* cannot be rotated in pairs"),
    ],
)
def test_fields_that_are_wrong_or_unsupported_are_named(name, change, message):
    with pytest.raises(ValueError, match=message):
        from_hugging_face(state_of(name), fields_of(name) | change)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3"])
def test_fields_that_are_needed(name):
    fields = fields_of(name)
    needed = {"vocab_size", "hidden_size", "n_embd", "n_positions", "intermediate_size"}
    for field in needed & fields.keys():
        rest = {key: value for key, value in fields.items() if key != field}
        with pytest.raises(ValueError, match=f"field '{field}' is missing"):
            from_hugging_face(state_of(name), rest)


def test_an_unknown_field_can_be_declared_irrelevant():
    fields = fields_of("llama") | {"new": 1}
    from_hugging_face(state_of("llama"), fields | {"new": None})
    from_hugging_face(state_of("llama"), fields, ignored=["new"])
    with pytest.raises(ValueError, match="unknown field 'new'"):
        from_hugging_face(state_of("llama"), fields)


def test_weights_that_do_not_fit_are_named():
    name, state, fields = "model.layers.1.mlp.up_proj.weight", state_of("llama"), fields_of("llama")
    own = name.removeprefix("model.")
    for wrong, message in (
        (np.ones((3, 16), np.float32), rf"'{own}' has shape \(3, 16\), expected \(24, 16\)"),
        (np.full((24, 16), np.nan, np.float32), f"'{own}' holds numbers that are not finite"),
        (np.ones((24, 16), np.int32), f"'{own}' has type int32"),
    ):
        with pytest.raises(ValueError, match=message):
            from_hugging_face(state | {name: wrong}, fields)
    with pytest.raises(ValueError, match=rf"'{own}' is missing; expected shape \(24, 16\)"):
        from_hugging_face({key: w for key, w in state.items() if key != name}, fields)
    with pytest.raises(ValueError, match=r"unknown weight 'extra' of shape \(2,\)"):
        from_hugging_face(state | {"extra": np.ones(2, np.float32)}, fields)
    with pytest.raises(ValueError, match=f"'{own}' occurs twice"):
        from_hugging_face(state | {own: state[name]}, fields)


def test_an_unembedding_in_addition_to_a_tied_one():
    state, fields = state_of("gpt2"), fields_of("gpt2")
    embedding = state["transformer.wte.weight"]
    buffer = {"transformer.h.0.attn.bias": np.ones((1, 1, 8, 8), np.uint8)}
    from_hugging_face(state | buffer | {"lm_head.weight": embedding}, fields)
    with pytest.raises(ValueError, match="'lm_head.weight' differs from the embedding"):
        from_hugging_face(state | {"lm_head.weight": embedding + 1}, fields)


def test_files_of_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"config.json is missing"):
        load_hugging_face(tmp_path)
    for content, message in (
        ("[]", "does not hold an object"),
        ("{", "config.json cannot be read"),
        ('{"hidden_size": NaN}', "NaN is not JSON"),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            (tmp_path / "model.safetensors").touch()
            load_hugging_face(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "config.json").write_text(json.dumps(fields_of("llama")))
    with pytest.raises(ValueError, match="has none of model.safetensors, pytorch_model.bin"):
        load_hugging_face(tmp_path)


def test_parts_and_their_index(tmp_path):
    folder = shutil.copytree(MODELS / "llama", tmp_path / "llama")
    (folder / "model.safetensors").unlink()
    state = state_of("llama")
    names, index = sorted(state), folder / "model.safetensors.index.json"
    places = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        part = {name: state[name] for name in names if places[name] == file}
        safetensors.numpy.save_file(part, folder / file)
    index.write_text(json.dumps({"weight_map": places}))
    network, params = load_hugging_face(folder)
    whole_network, whole = load_hugging_face(MODELS / "llama")
    assert network == whole_network
    np.testing.assert_array_equal(
        params["blocks_1"]["mlp"]["W_in"], whole["blocks_1"]["mlp"]["W_in"]
    )
    for changed, message in (
        ({names[0]: "../part-0.safetensors"}, "'../part-0.safetensors' is not the name of a"),
        ({names[0]: "part-9.safetensors"}, "part-9.safetensors is missing"),
        ({names[0]: places[names[1]]}, f"has no weight '{names[0]}', which"),
        ({names[0]: 3}, "weight_map must name a file for every weight"),
    ):
        index.write_text(json.dumps({"weight_map": places | changed}))
        with pytest.raises(ValueError, match=message):
            load_hugging_face(folder)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "its header is not an object"),
        ({"a": 1}, "weight 'a' is described by 1"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "cannot be at"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, "cannot be at"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "has shape"),
        ({"a": {"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}}, "has type 'F9'"),
        ({"a": {"dtype": "F32", "shape": [2**70], "data_offsets": [0, 4]}}, "cannot be at"),
        ({"a": {"dtype": "F32", "shape": [1] * 99, "data_offsets": [0, 4]}}, "cannot be at"),
    ],
)
def test_headers_that_lie(tmp_path, header, message):
    text, file = json.dumps(header).encode(), tmp_path / "w.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ValueError, match=message):
        map_safetensors(file)
    file.write_bytes((2**60).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="not a safetensors file: header of"):
        map_safetensors(file)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    file = tmp_path_factory.mktemp("safetensors") / "w.safetensors"
    safetensors.numpy.save_file({"a": np.ones((2, 3), np.float32), "b": np.zeros(4)}, file)
    return file


@hypothesis.given(place=strategies.integers(0, 200), byte=strategies.integers(0, 255))
def test_changed_bytes_are_arrays_or_an_error(written, place, byte):
    content = bytearray(written.read_bytes())
    content[place % len(content)] = byte
    file = written.with_name("changed.safetensors")
    file.write_bytes(content)
    try:
        arrays = map_safetensors(file)
    except ValueError as error:
        assert file.name in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_brain_floats_become_the_same_numbers(tmp_path):
    """Most of these models are published in this type, the upper half of a float32."""
    numbers = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    header = {"a": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]}}
    text, file = json.dumps(header).encode(), tmp_path / "w.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + halves.tobytes())
    expected = (halves.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(map_safetensors(file)["a"].astype(np.float32), expected)
