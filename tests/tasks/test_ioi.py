"""Indirect object identification: the algorithm by hand, the sentences, their corruptions."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.tasks.causal.ioi import (
    Sentences,
    ioi_model,
    tokenizer_language,
    words_language,
)

# Ids of a tiny language: names first.
MARY, JOHN, TOM, AND, GAVE, TO = range(6)
MODEL = ioi_model(np.array([True, True, True, False, False, False]))
ABBA = [MARY, AND, JOHN, GAVE, JOHN, TO]
BABA = [JOHN, AND, MARY, GAVE, JOHN, TO]


def values(tokens: list[int]) -> dict[str, list[int]]:
    _, found = MODEL.run(jnp.array(tokens))
    return {name: value.tolist() for name, value in found.items()}


def last(base: list[int], source: list[int], *edges: str) -> int:
    """The answer at the end when some edges carry the source's values."""
    graph = MODEL.graph
    mask = np.zeros((1, *graph.valid.shape), int)
    for edge in edges:
        writer, reader = edge.split("->")
        mask[0, graph.writer_index(writer), graph.reader_index(reader)] = 1
    return int(MODEL.answers(jnp.array([base]), jnp.array([source]), mask)[0, 0, -1])


def test_variables_worked_out_by_hand() -> None:
    found = values(ABBA)
    assert found["duplicate"] == [-1, -1, -1, -1, 2, -1]
    assert found["s_inhibition"] == [-1, -1, -1, -1, JOHN, -1]
    # Mary 10 from the start; John 10, then 20 - 15.
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
        ([TOM, AND, TOM, GAVE, TOM, TO], MARY),  # Tom is at 30 - 30 like everyone else
        ([AND, GAVE, TO, AND, GAVE, TO], MARY),  # no name: all are at 0
        ([JOHN, JOHN, JOHN, JOHN, JOHN, MARY], MARY),
        ([TO, TO, JOHN, TO, TO, TO], JOHN),  # what is inhibited need not be a name
    ],
)
def test_answers_worked_out_by_hand(tokens: list[int], answer: int) -> None:
    assert last(tokens, tokens) == answer


def test_edge_patches_worked_out_by_hand() -> None:
    other = [TOM, AND, JOHN, GAVE, TOM, TO]  # the duplicate points at position 0
    assert last(ABBA, other) == MARY
    # Position 0 of the base is Mary, who is inhibited then: John 20, Mary 10 - 15.
    assert last(ABBA, other, "duplicate->s_inhibition") == JOHN
    # Tom is inhibited, who does not occur: John occurs twice.
    assert last(ABBA, other, "s_inhibition->name_mover") == JOHN
    # The name mover sees Tom twice and John, and John is inhibited.
    assert last(ABBA, other, "all_tokens->name_mover") == TOM
    # At position 2 of the source there is John, too.
    assert last(ABBA, other, "all_tokens->s_inhibition") == MARY
    assert last(ABBA, other, "all_tokens->duplicate") == JOHN
    assert last(ABBA, other, "name_mover->output") == JOHN
    # Tokens are read from all_tokens; of the input the heads take positions, which never differ.
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


def test_sentences_read_as_sentences_and_the_algorithm_answers_them() -> None:
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
    assert (np.abs(np.corrcoef(drawn) - np.eye(4)) < 0.1).all()  # each on its own


@pytest.mark.parametrize("how", ["abc", "names", "flip", "order"])
def test_corruptions(how: str) -> None:
    clean = SENTENCES.choose(jax.random.key(2), 300)
    corrupted = SENTENCES.corrupt(clean, jax.random.key(3), how)  # type: ignore[arg-type]
    assert (corrupted.template == clean.template).all()
    assert (corrupted.place == clean.place).all() and (corrupted.object == clean.object).all()
    old = np.stack([clean.first, clean.second])
    new = np.stack([corrupted.first, corrupted.second, corrupted.subject])
    if how in ("abc", "names"):
        assert not (new[:, None] == old[None]).any()  # all of them other people
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


def test_templates_and_words_that_make_no_sense(no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=r"must have \{S\} once"):
        Sentences(templates=("{1} and {2} at the {place} with a {object} to",))
    with pytest.raises(ValueError, match="five different names are needed"):
        Sentences(names=("Mary", "John"))
    with pytest.raises(ValueError, match="corruption must be one of"):
        SENTENCES.corrupt(SENTENCES.choose(jax.random.key(0), 2), jax.random.key(0), "abd")  # type: ignore[arg-type]


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A byte-level tokenizer as GPT-2's, with some words as single tokens."""
    tokenizers = pytest.importorskip("tokenizers")
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
    said = language.vocabulary[tokens[0][sentences.lengths[choices.template[0]] - 1]]
    assert said == "Ġto"
    with pytest.raises(ValueError, match="'Simon' must be one token, but is"):
        Sentences(language=language).name_ids  # noqa: B018


def test_tokenizer_files_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    file = tmp_path / "bad.json"
    with pytest.raises(ValueError, match="bad.json cannot be read as a tokenizer"):
        tokenizer_language(file)
    file.write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ValueError, match="bad.json cannot be read as a tokenizer"):
        tokenizer_language(file)
