"""Programs about brackets, palindromes and other patterns of tokens."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import gather, length, pair_balance, reverse, shift_by
from interpbench_jax.cases.registry import case
from interpbench_jax.cases.samplers import Mixture, palindromes, shuffled_brackets


@case("4", vocab="()abc", causal=True)
def bracket_balance() -> rasp.SOp:
    """Running share of opening brackets less that of closing ones."""
    return pair_balance("()")


@case(
    "5",
    vocab="()x{}",
    compression=1.8,
    sized_by="d_model",
    sampler=Mixture(((0.5, shuffled_brackets),)),
)
def shuffle_dyck_2() -> rasp.SOp:
    """Whether round and curly brackets are both balanced, each kind on its own; everywhere."""
    round_balance = pair_balance("()").named("balance_()")
    curly_balance = pair_balance("{}").named("balance_{}")

    all_closed = (round_balance == 0) & (curly_balance == 0)
    closed_at_end = gather(all_closed, length() - 1, "select_last").named("last_zero")

    is_negative = (round_balance < 0) | (curly_balance < 0)
    is_negative = rasp.numerical(rasp.Map(lambda flag: flag, is_negative)).named("any_negative")
    everywhere = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.TRUE).named("select_all")
    share_negative = rasp.numerical(rasp.Aggregate(everywhere, is_negative, default=0))
    never_negative = (~share_negative.named("has_neg")).named("not_has_neg")

    return (closed_at_end & never_negative).named("shuffle_dyck")


@case("12", vocab="abc", n_ctx=15, causal=True)
def ends_of_abc() -> rasp.SOp:
    """Whether the pattern a b c ends at each position; undefined at the first two."""
    a_before = shift_by(2, rasp.tokens == "a")
    b_before = shift_by(1, rasp.tokens == "b")
    return (a_before & b_before & (rasp.tokens == "c")).named("detect_pattern(abc)")


@case("17", vocab="abcdefghij", sampler=Mixture(((0.5, palindromes),)))
def equals_mirror_image() -> rasp.SOp:
    """Whether each token equals the one at the mirrored position."""
    return rasp.SequenceMap(
        lambda token, mirrored: token == mirrored, rasp.tokens, reverse(rasp.tokens)
    ).named("palindrome_detection")
