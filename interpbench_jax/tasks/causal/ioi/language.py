"""From words to token ids: a closed vocabulary of whole words, or a tokenizer from a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from interpbench_jax.tasks.causal.ioi.words import NAMES, OBJECTS, PLACES, TEMPLATES

BOS, PAD = "<bos>", "<pad>"


@dataclass(frozen=True, kw_only=True)
class Language:
    """How words become token ids.

    Attributes:
      vocabulary: the text of every token, by id.
      bos: id of the token that starts every sentence.
      pad: id of the token that pads shorter sentences.
      encode: returns the ids of a text of whole words.
    """

    vocabulary: tuple[str, ...]
    bos: int
    pad: int
    encode: Callable[[str], list[int]]

    def single(self, word: str) -> int:
        """The id of a word that must be one token.

        Raises:
          ValueError: it is several tokens.
        """
        ids = self.encode(word)
        if len(ids) != 1:
            parts = [self.vocabulary[i] for i in ids]
            raise ValueError(f"{word!r} must be one token, but is {len(ids)}: {parts}")
        return ids[0]


def words_language(templates: Iterable[str] = TEMPLATES, *fillers: Iterable[str]) -> Language:
    """A closed vocabulary: every word of the templates and every filler is one token.

    Args:
      templates: see `words.py`.
      *fillers: names, places and objects; all built-in ones by default.
    """
    words = {word for t in templates for word in t.split() if not word.startswith("{")}
    for some in fillers or (NAMES, PLACES, OBJECTS):
        words.update(some)
    vocabulary = (BOS, PAD, *sorted(words))
    ids = {word: place for place, word in enumerate(vocabulary)}
    return Language(
        vocabulary=vocabulary, bos=0, pad=1, encode=lambda text: [ids[w] for w in text.split()]
    )


def tokenizer_language(
    file: str | Path, *, bos: str = "<|endoftext|>", pad: str | None = None
) -> Language:
    """A tokenizer in the format of the `tokenizers` package, such as GPT-2's `tokenizer.json`.

    Every word is encoded with a leading space, as inside a sentence.

    Args:
      file: the tokenizer's file.
      bos: the token that starts every sentence.
      pad: the token that pads shorter sentences; no sentence may contain it. By default an
        additional token after the vocabulary. A model that was trained elsewhere has no such token.

    Raises:
      ValueError: the package `tokenizers` is missing, the file cannot be read, it lacks `bos` or
        `pad`, or these are the same.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ValueError("a tokenizer from a file needs the package `tokenizers`") from error
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises plain Exception
        raise ValueError(f"{file} cannot be read as a tokenizer: {error}") from error
    size = tokenizer.get_vocab_size()
    texts = [tokenizer.id_to_token(place) or "" for place in range(size)]
    if pad == bos:
        raise ValueError(f"{bos!r} starts sentences, so it cannot pad them")

    def id_of(token: str) -> int:
        found = tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer in {file} has no token {token!r}")
        return int(found)

    def encode(text: str) -> list[int]:
        pieces = [tokenizer.encode(f" {word}", add_special_tokens=False) for word in text.split()]
        return [place for piece in pieces for place in piece.ids]

    return Language(
        vocabulary=(*texts, PAD) if pad is None else tuple(texts),
        bos=id_of(bos),
        pad=size if pad is None else id_of(pad),
        encode=encode,
    )
