"""Indirect object identification: the algorithm by hand, sentences, and corruptions."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

import interpbench_jax as ib
from interpbench_jax.alignment import align, observability
from interpbench_jax.compiler import get_task
from interpbench_jax.model import init_params
from interpbench_jax.siit import problem_of_pairs
from interpbench_jax.siit.step import draw_batch
from interpbench_jax.tasks import CausalTask
from interpbench_jax.tasks.causal import registry
from interpbench_jax.tasks.causal.ioi import (
    Sentences,
    ioi_model,
    ioi_task,
    tokenizer_language,
    words_language,
)
from interpbench_jax.tasks.causal.ioi import task as task_module
from interpbench_jax.zoo import load_model, read_published, save_model, to_transformer_lens
from interpbench_jax.zoo.torch_writing import write_torch

# Token ids of a tiny language, names first.
MARY, JOHN, TOM, AND, GAVE, TO = range(6)
MODEL = ioi_model(np.array([True, True, True, False, False, False]))
ABBA = [MARY, AND, JOHN, GAVE, JOHN, TO]
BABA = [JOHN, AND, MARY, GAVE, JOHN, TO]


def values(tokens: list[int]) -> dict[str, list[int]]:
    _, found = MODEL.run(jnp.array(tokens))
    return {name: value.tolist() for name, value in found.items()}


@pytest.mark.parametrize("d_vocab", [3, 12, 200])
def test_the_name_with_the_largest_sum_over_the_whole_vocabulary(d_vocab: int) -> None:
    rng = np.random.default_rng(d_vocab)
    is_name = rng.random(d_vocab) < 0.6
    mover = ioi_model(is_name).variables["name_mover"]
    for _ in range(50):
        tokens, inhibited = rng.integers(0, d_vocab, (2, 8)) % rng.integers(1, d_vocab + 1)
        inhibited = np.where(rng.random(8) < 0.4, inhibited, -1)
        sums, expected = np.zeros(d_vocab, int), []
        for token, other in zip(tokens, inhibited, strict=True):
            sums[token] += 10 * is_name[token]
            sums[other] -= 15 * (other >= 0)
            expected.append(sums.argmax())
        found = mover(*map(jnp.asarray, (tokens, tokens, inhibited)))
        np.testing.assert_array_equal(found, expected)


def last(base: list[int], source: list[int], *edges: str) -> int:
    """The answer at the end if some edges carry the source's values."""
    graph = MODEL.graph
    mask = np.zeros((1, *graph.valid.shape), int)
    for edge in edges:
        writer, reader = edge.split("->")
        mask[0, graph.writer_index(writer), graph.reader_index(reader)] = 1
    return int(MODEL.answers(jnp.array([base]), jnp.array([source]), mask)[0, 0, -1])


def test_variables_computed_by_hand() -> None:
    found = values(ABBA)
    assert found["duplicate"] == [-1, -1, -1, -1, 2, -1]
    assert found["s_inhibition"] == [-1, -1, -1, -1, JOHN, -1]
    # Mary has 10 from the start; John has 10, then 20 - 15.
    assert found["name_mover"] == [MARY] * 6
    assert values(BABA)["name_mover"] == [JOHN, JOHN, MARY, MARY, MARY, MARY]  # the first of equals


@pytest.mark.parametrize(
    ("tokens", "answer"),
    [
        (ABBA, MARY),
        (BABA, MARY),
        ([MARY, AND, JOHN, GAVE, MARY, TO], JOHN),
        ([MARY, AND, JOHN, GAVE, TOM, TO], MARY),  # no name twice: the first of equals
        ([JOHN, AND, TOM, GAVE, JOHN, TO], TOM),
        ([MARY, JOHN, TOM, MARY, JOHN, TO], TOM),  # two inhibited, the third is left
        ([TOM, AND, TOM, GAVE, TOM, TO], MARY),  # Tom has 30 - 30, like all others
        ([AND, GAVE, TO, AND, GAVE, TO], MARY),  # no name: all have 0
        ([JOHN, JOHN, JOHN, JOHN, JOHN, MARY], MARY),
        ([TO, TO, JOHN, TO, TO, TO], JOHN),  # the inhibited token need not be a name
    ],
)
def test_answers_computed_by_hand(tokens: list[int], answer: int) -> None:
    assert last(tokens, tokens) == answer


def test_edge_patches_computed_by_hand() -> None:
    other = [TOM, AND, JOHN, GAVE, TOM, TO]  # the duplicate points at position 0
    assert last(ABBA, other) == MARY
    # Position 0 of the base is Mary, who is then inhibited: John 20, Mary 10 - 15.
    assert last(ABBA, other, "duplicate->s_inhibition") == JOHN
    # Tom is inhibited but does not occur; John occurs twice.
    assert last(ABBA, other, "s_inhibition->name_mover") == JOHN
    # The name mover reads Tom twice and John, and John is inhibited.
    assert last(ABBA, other, "all_tokens->name_mover") == TOM
    # Position 2 of the source is John, too.
    assert last(ABBA, other, "all_tokens->s_inhibition") == MARY
    assert last(ABBA, other, "all_tokens->duplicate") == JOHN
    assert last(ABBA, other, "name_mover->output") == JOHN
    # Tokens are read from all_tokens; from the input, heads read only positions, which are equal.
    assert last(ABBA, other, "input->all_tokens") == JOHN
    for head in ("duplicate", "s_inhibition", "name_mover"):
        assert last(ABBA, other, f"input->{head}") == MARY


def test_the_circuit_is_that_of_the_literature() -> None:
    heads = ("duplicate", "s_inhibition", "name_mover")
    assert MODEL.circuit.edges == {
        *(("input", head) for head in heads),
        *(("all_tokens", head) for head in heads),
        *(("input", "all_tokens"), ("duplicate", "s_inhibition"), ("s_inhibition", "name_mover")),
        ("name_mover", "output"),
    }


SENTENCES = Sentences()


def text(tokens: np.ndarray) -> list[str]:
    vocabulary = SENTENCES.language.vocabulary
    return [" ".join(vocabulary[i] for i in row if i != SENTENCES.language.pad) for row in tokens]


def test_sentences_are_readable_and_the_algorithm_answers_them() -> None:
    choices = SENTENCES.choose(jax.random.key(0), 400)
    tokens = SENTENCES.tokens(choices)
    written = text(tokens)
    assert len(set(written)) > 390 and not any("{" in sentence for sentence in written)
    assert all(sentence.startswith("<bos> ") for sentence in written)
    assert all(sentence.endswith(" to") for sentence in written)
    ends = SENTENCES.lengths[choices.template] - 1
    model = ioi_model(SENTENCES.is_name)
    nothing = np.zeros((1, *model.graph.valid.shape), int)
    answers = np.asarray(model.answers(tokens, tokens, nothing))[0]
    right = SENTENCES.name_ids[choices.indirect_object]
    np.testing.assert_array_equal(answers[np.arange(400), ends], right)
    words = np.array(SENTENCES.names)
    for sentence, subject, other in zip(
        written, words[choices.subject], words[choices.indirect_object], strict=True
    ):
        assert sentence.split().count(subject) == 2 and sentence.split().count(other) == 1


def test_both_orders_all_templates_and_all_names_are_drawn() -> None:
    choices = SENTENCES.choose(jax.random.key(1), 2_000)
    acts_first = (choices.subject == choices.first).mean()
    assert 0.45 < acts_first < 0.55
    for drawn, known in (
        (choices.template, SENTENCES.templates),
        (choices.first, SENTENCES.names),
        (choices.second, SENTENCES.names),
        (choices.place, SENTENCES.places),
        (choices.object, SENTENCES.objects),
    ):
        counts = np.bincount(drawn, minlength=len(known))
        expected = 2_000 / len(known)
        assert (np.abs(counts - expected) < 5 * expected**0.5).all()
    assert (choices.first != choices.second).all()
    drawn = np.stack([choices.first, choices.place, choices.object, choices.template])
    assert (np.abs(np.corrcoef(drawn) - np.eye(4)) < 0.1).all()  # drawn independently


@pytest.mark.parametrize("how", ["abc", "names", "flip", "order"])
def test_corruptions(how: str) -> None:
    clean = SENTENCES.choose(jax.random.key(2), 300)
    corrupted = SENTENCES.corrupt(clean, jax.random.key(3), how)  # type: ignore[arg-type]
    assert (corrupted.template == clean.template).all()
    assert (corrupted.place == clean.place).all() and (corrupted.object == clean.object).all()
    old = np.stack([clean.first, clean.second])
    new = np.stack([corrupted.first, corrupted.second, corrupted.subject])
    if how in ("abc", "names"):
        assert not (new[:, None] == old[None]).any()  # all names are different
        assert (corrupted.first != corrupted.second).all()
    if how == "abc":
        assert ((new[2] != new[0]) & (new[2] != new[1])).all()
    if how == "names":
        same = (corrupted.subject == corrupted.first) == (clean.subject == clean.first)
        assert same.all()
    if how == "flip":
        assert (corrupted.indirect_object == clean.subject).all()
        assert (corrupted.first == clean.first).all()
    if how == "order":
        assert (corrupted.first == clean.second).all() and (corrupted.second == clean.first).all()
        assert (corrupted.indirect_object == clean.indirect_object).all()


def test_invalid_templates_and_words(no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=r"must have \{S\} once"):
        Sentences(templates=("{1} and {2} at the {place} with a {object} to",))
    with pytest.raises(ValueError, match="five different names are needed"):
        Sentences(names=("Mary", "John"))
    with pytest.raises(ValueError, match="corruption must be one of"):
        SENTENCES.corrupt(SENTENCES.choose(jax.random.key(0), 2), jax.random.key(0), "abd")  # type: ignore[arg-type]


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A byte-level tokenizer like GPT-2's, with some words as single tokens."""
    words = ["Ġ" + word for word in words_language().vocabulary[2:]]
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {t: i for i, t in enumerate([*sorted(letters), *words, "<|endoftext|>"])}
    merges = {
        (token[:i], token[i])
        for token in words
        if token != "ĠSimon"  # not one token
        for i in range(1, len(token))
    }
    vocabulary |= {
        token[: i + 1]: len(vocabulary) + n
        for n, (token, i) in enumerate((t, i) for t in words for i in range(1, len(t)))
        if token[: i + 1] not in vocabulary
    }
    for place, token in enumerate(list(vocabulary)):
        vocabulary[token] = place
    ranked = sorted(merges, key=lambda pair: (len(pair[0]), pair))
    model = tokenizers.models.BPE(vocab=vocabulary, merges=ranked)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    return file


def test_a_tokenizer_from_a_file(tokenizer_file: Path) -> None:
    language = tokenizer_language(tokenizer_file)
    names = tuple(name for name in SENTENCES.names if name != "Simon")
    sentences = Sentences(language=language, names=names)
    choices = sentences.choose(jax.random.key(0), 50)
    tokens = sentences.tokens(choices)
    assert (tokens[:, 0] == language.bos).all()
    longest = sentences.lengths.max()
    assert tokens.shape == (50, longest) and tokens.max() == language.pad
    last_word = language.vocabulary[tokens[0][sentences.lengths[choices.template[0]] - 1]]
    assert last_word == "Ġto"
    with pytest.raises(ValueError, match="'Simon' must be one token, but is"):
        _ = Sentences(language=language).name_ids


def test_a_model_without_a_padding_token_is_imported(
    tokenizer_file: Path, tmp_path: Path, monkeypatch
) -> None:
    """As the published IOI models: their vocabulary is the tokenizer's, with nothing added."""
    monkeypatch.setattr(observability, "_PAIRS", 10)  # without optimisation, 500 take a minute
    monkeypatch.setattr(observability, "_N_PAIRS", 10)
    monkeypatch.setattr(registry, "_OWN", {})  # the task is not seen by other tests
    names = tuple(name for name in SENTENCES.names if name != "Simon")
    language = tokenizer_language(tokenizer_file, pad="!")
    ioi = ioi_task("ioi-words", Sentences(language=language, names=names))
    with_padding = tokenizer_language(tokenizer_file).vocabulary
    assert ioi.network.d_vocab == len(language.vocabulary) == len(with_padding) - 1

    @ib.task
    def words() -> ib.CausalTask:
        return ioi

    config = replace(ioi.network, pad=None)
    params = init_params(config, jax.random.key(0))
    folder = tmp_path / "published"
    folder.mkdir()
    write_torch(to_transformer_lens(params, folded=True), folder / "ll_model.pth")
    sizes = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out")
    fields = {size: getattr(config, size) for size in sizes}
    fields |= {"act_fn": "gelu_new", "normalization_type": "LNPre", "attention_dir": "causal"}
    (folder / "ll_model_cfg.pkl").write_bytes(pickle.dumps(fields))
    edges = [("blocks.0.hook_mlp_out", f"blocks.{n}.attn.hook_q[1]") for n in (1, 2, 4)]
    (folder / "edges.pkl").write_bytes(pickle.dumps(edges))
    model = read_published(folder, case="ioi-words").model
    assert model.config == config and model.case == "ioi-words"
    save_model(model, tmp_path / "model")
    back = load_model(tmp_path / "model")
    tokens = ioi.contrast(20, jax.random.key(1)).clean
    expected, _ = ib.forward(params, config, tokens)
    np.testing.assert_allclose(ib.forward(back.params, back.config, tokens)[0], expected, atol=1e-5)
    # The causal model does not read what follows, so that masking it changes no answer.
    masked, _ = ib.forward(params, ioi.network, tokens)
    here = np.asarray(ioi.position_weights_of(tokens)) > 0
    np.testing.assert_allclose(masked[here], expected[here], atol=1e-5)


def test_tokens_that_cannot_pad(tokenizer_file: Path) -> None:
    with pytest.raises(ValueError, match="has no token '<pad>'"):
        tokenizer_language(tokenizer_file, pad="<pad>")
    with pytest.raises(ValueError, match="starts sentences, so it cannot pad them"):
        tokenizer_language(tokenizer_file, pad="<|endoftext|>")


def test_files_that_are_not_tokenizers(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    with pytest.raises(ValueError, match="bad.json cannot be read as a tokenizer"):
        tokenizer_language(file)
    file.write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ValueError, match="bad.json cannot be read as a tokenizer"):
        tokenizer_language(file)


def test_ioi_is_a_task() -> None:
    task = get_task("ioi")
    contrast = task.contrast(50, jax.random.key(4))
    ends = contrast.position_weights.argmax(1)
    assert (contrast.position_weights.sum(1) == 1).all()
    rows = np.arange(50)
    nothing = np.zeros((1, 5, 1))
    answers = np.asarray(task.answers(contrast.clean, contrast.clean, nothing))[0][rows, ends]
    assert contrast.foil is not None
    foils = contrast.foil[rows, ends]
    for sentence, right, wrong in zip(contrast.clean, answers, foils, strict=True):
        assert (sentence == right).sum() == 1 and (sentence == wrong).sum() == 2
    assert ((contrast.clean == 1) == (contrast.corrupted == 1)).all()  # padding
    alignment = align(task)
    assert alignment.circuit.head_edges == {
        *((writer, head) for writer in ("input", "m0") for head in ("a1.h1", "a2.h1", "a4.h1")),
        *(("input", "m0"), ("a1.h1", "a2.h1"), ("a2.h1", "a4.h1"), ("a4.h1", "logits")),
    }
    assert get_task("ioi-published").network.d_mlp == 3072
    assert task.fingerprint != get_task("ioi-published").fingerprint
    assert isinstance(task, CausalTask)
    others = (replace(task, foil=None), get_task("ioi_next_token"))
    assert len({task.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_sentences_are_read_back() -> None:
    reader = task_module._Reader(SENTENCES, "abc")
    choices = SENTENCES.choose(jax.random.key(5), 200)
    read = reader.choices(SENTENCES.tokens(choices))
    for name, values in choices._asdict().items():
        np.testing.assert_array_equal(getattr(read, name), values)
    with pytest.raises(ValueError, match="no template has the sentence"):
        reader.choices(np.full((1, SENTENCES.rows.shape[1]), 5))


@pytest.mark.slow
def test_next_tokens_are_trained_next_to_the_algorithm() -> None:
    plain, both = get_task("ioi"), get_task("ioi_next_token")
    pairs = both.pairs(both.split(0.2), "train", 20, jax.random.key(0))
    assert plain.behaviour(pairs) is None
    behaviour = both.behaviour(pairs)
    assert behaviour is not None
    lengths = (pairs.base != 1).sum(1)
    for row, length in enumerate(lengths):
        weights = np.zeros(pairs.base.shape[1])
        weights[: length - 1], weights[length - 1] = 1, 10
        np.testing.assert_array_equal(behaviour.position_weights[row], weights)
        target = behaviour.target[row]
        np.testing.assert_array_equal(target[: length - 1], pairs.base[row, 1:length])
        assert SENTENCES.is_name[target[length - 1]] and target[length - 1] in pairs.base[row]
    problem = problem_of_pairs(both, align(both), pairs)
    assert problem.behaviour is not None and problem.take(slice(5)).behaviour.target.shape[0] == 5  # type: ignore[union-attr]
    # Interventions only compare the last word.
    assert problem.position_weights.sum() == 20
    batch = draw_batch(
        problem,
        jax.random.key(1),
        batch_size=4,
        strict_sampling="all",
        variable_sampling="per_batch",
    )
    assert batch.position_weights.shape == (3, 4, 18)
    assert (batch.position_weights[1:].sum((1, 2)) == 4).all() and batch.position_weights[
        0
    ].sum() > 60
