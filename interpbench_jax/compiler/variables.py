"""High-level variables: intermediate values of the program, and the nodes that write them."""

from collections.abc import Iterator
from dataclasses import dataclass

from tracr.craft import bases, transformers

from interpbench_jax.compiler.program_graph import held_values
from interpbench_jax.compiler.tracr_stages import TracrModel


@dataclass(frozen=True)
class Variable:
    """Everything that one node of the compiled model writes; interchanged as a whole.

    Attributes:
      node: the writer in the compiled model.
      labels: Tracr's names of what it writes, as in `RaspArrays.steps`.
      values: readable names of the RASP expressions it holds, as in `("bools_open", "map_7")`.
    """

    node: str
    labels: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The values, joined."""
        return "+".join(self.values)


def find_variables(tracr: TracrModel) -> tuple[Variable, ...]:
    """Finds the directions that each component of the compiled model writes.

    If two components write the same direction (a selector width's MLP clears what its head wrote at
    BOS), both have its label.
    """
    found = []
    for node, space in _written_spaces(tracr.craft):
        labels = tuple(dict.fromkeys(str(direction.name) for direction in space.basis))
        found.append(Variable(node, labels, held_values(labels, tracr.names)))
    return tuple(found)


def _written_spaces(
    craft: transformers.SeriesWithResiduals,
) -> Iterator[tuple[str, bases.VectorSpaceWithBasis]]:
    """Each component's node name and output space, in the order Tracr places them.

    Half-layers alternate attention, MLP, attention, ...; a block goes to the next one of its kind.
    """
    half_layer = 0
    for block in craft.blocks:
        is_mlp = isinstance(block, transformers.MLP)
        half_layer += half_layer % 2 != is_mlp
        layer = half_layer // 2
        if isinstance(block, transformers.MLP):
            yield f"m{layer}", block.snd.output_space
        elif isinstance(block, transformers.MultiAttentionHead):
            for head, part in enumerate(block.heads()):
                yield f"a{layer}.h{head}", part.w_ov.output_space
        half_layer += 1
