"""Programs that look inside each word."""

from tracr.rasp import rasp

from interpbench_jax.cases.registry import case

WORDS = ("J", "LB", "TPSI", "V", "b", "no", "oCLrZaW", "poiVg")
LONGER_WORDS = tuple(
    "ADUdRPP CHChpo DaUUq GFfWd GprQ JaRUhR JkqHMBn LoaeT MOkI MbJmTPSI MeyyMDH MuFb SBvrj TecQo "
    "UDIh WUSmTtzQ WlGgOtOG WrXPvhsB Wvgfy YEZAm bVrp dzUv eWIXiiQ fJsONxK fLBcbfno fogyrD gQBw "
    "iVgRV jOkY kDyrO kxwnQr mjxWkIXH nIiUKKE nPFzPD oCLrZaW oRuXXdoc oecv pKff pmmI qVLBLzxo "
    "qipVJ vbLJ wwMq xZtp zrenKT".split()
)
SENTIMENT = {"📘": "neutral", "😊": "positive", "😢": "negative"}


def _with(*more: str) -> tuple[str, ...]:
    """The common words and some more, sorted."""
    return tuple(sorted(WORDS + more))


def _mirrored(word: str) -> str:
    return word[::-1]


@case("10", vocab=_with("radar", "rotor"), causal=True)
def keep_symmetric_words() -> rasp.SOp:
    """Each word whose two halves mirror each other; undefined at other words."""
    half_length = rasp.Map(lambda word: len(word) // 2, rasp.tokens)
    is_symmetric = rasp.SequenceMap(
        lambda word, half: word[:half] == _mirrored(word)[:half], rasp.tokens, half_length
    )
    return rasp.SequenceMap(
        lambda word, symmetric: word if symmetric else None, rasp.tokens, is_symmetric
    )


@case("11", vocab=WORDS, causal=True)
def word_length_by_attention() -> rasp.SOp:
    """Length of each word, averaged over the words of that same length."""
    word_length = rasp.Map(len, rasp.tokens)
    same_length = rasp.Select(word_length, word_length, rasp.Comparison.EQ)
    return rasp.Aggregate(same_length, word_length)


@case("20", vocab=_with("click", "now", "offer", "spam"), causal=True)
def spam_words() -> rasp.SOp:
    """Whether each word is one of three spam words ("spam" itself is not)."""
    spam = ("click", "now", "offer")
    return rasp.Map(lambda word: "spam" if word in spam else "not spam", rasp.tokens)


@case("23", vocab=_with("noon", "racecar"), causal=True, compression=1.5, sized_by="d_model")
def keep_palindromes() -> rasp.SOp:
    """Each word that is a palindrome; undefined at other words."""
    return rasp.Map(lambda word: word if word == _mirrored(word) else None, rasp.tokens)


@case("28", vocab=LONGER_WORDS, causal=True, sized_by="d_model")
def mirror_longer_words() -> rasp.SOp:
    """Each of 45 words spelled backwards."""
    return rasp.Map(_mirrored, rasp.tokens)


@case("29", vocab=WORDS, causal=True, sized_by="d_model")
def abbreviate() -> rasp.SOp:
    """First three letters of each word."""
    return rasp.Map(lambda word: word[:3], rasp.tokens)


@case("30", vocab=sorted(str(number) for number in range(30)), causal=True)
def numeral_in_range() -> rasp.SOp:
    """Whether each numeral stands for a number from 10 to 20."""
    return rasp.Map(lambda numeral: 10 <= int(numeral) <= 20, rasp.tokens)


@case("31", vocab=_with("listen"), causal=True)
def anagram_of_listen() -> rasp.SOp:
    """Whether each word has the letters of "listen", in any order."""
    return rasp.Map(lambda word: sorted(word) == sorted("listen"), rasp.tokens)


@case("33", vocab=WORDS, causal=True)
def even_word_length() -> rasp.SOp:
    """Whether each word's length is even."""
    return rasp.Map(lambda word: len(word) % 2 == 0, rasp.tokens)


@case("34", vocab=WORDS, causal=True, compression=1.5, sized_by="d_model")
def vowels_per_consonant() -> rasp.SOp:
    """Number of vowels over number of consonants in each word."""

    def ratio(word: str) -> float:
        n_vowels = sum(letter in "aeiou" for letter in word.lower())
        return n_vowels / (len(word) - n_vowels)

    return rasp.Map(ratio, rasp.tokens)


@case("35", vocab=WORDS, causal=True, compression=3.0, sized_by="d_model")
def alternate_case() -> rasp.SOp:
    """Letters of each word in upper and lower case by turns, upper first."""

    def alternate(word: str) -> str:
        return "".join(x.lower() if i % 2 else x.upper() for i, x in enumerate(word))

    return rasp.Map(alternate, rasp.tokens)


@case("36", vocab=SENTIMENT, causal=True, compression=2.5, sized_by="d_model")
def emoji_sentiment() -> rasp.SOp:
    """Sentiment of each emoji: positive, neutral or negative."""
    return rasp.Map(lambda emoji: SENTIMENT[emoji], rasp.tokens)


@case("37", vocab=WORDS, causal=True, compression=2.2, sized_by="d_model")
def mirror_words() -> rasp.SOp:
    """Each of 8 words spelled backwards."""
    return rasp.Map(_mirrored, rasp.tokens)


@case("90", vocab=_with("-", "findme"), causal=True)
def replace_token() -> rasp.SOp:
    """Each word, "findme" replaced by "-"."""
    return rasp.Map(lambda word: "-" if word == "findme" else word, rasp.tokens)
