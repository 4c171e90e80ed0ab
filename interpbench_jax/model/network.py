"""The interface of a model to training, evaluation, discovery and scoring."""

import functools
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.decoders.config import DecoderConfig
from interpbench_jax.model.decoders.shapes import init_decoder
from interpbench_jax.model.forward import (
    forward,
    forward_edge_patches,
    forward_from,
    forward_interchanges,
)
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.indices import check_indices
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch
from interpbench_jax.model.transformer import Params, init_params

Logits = Float[Array, "batch pos d_vocab_out"]
Written = Float[Array, "batch pos writer d"]
Tokens = Int[Array | np.ndarray, "batch pos"]


@runtime_checkable
class Network(Protocol):
    """A pure function of weights, tokens and a patch that also returns what its writers wrote.

    A network holds no weights. It is hashable (a frozen dataclass of its sizes, for example), so it
    can be a static argument of `jit`. A subclass implements `graph` and `run`, in which `Wires`
    does the patching, and `init` if the network is to be trained.
    """

    @property
    def graph(self) -> Graph:
        """Its writers, readers and edges."""
        ...

    def init(self, key: Array) -> Params:
        """Draws initial weights.

        Raises:
          ValueError: the network does not implement it.
        """
        raise ValueError(f"{type(self).__name__} cannot be trained: it has no method `init`")

    def run(
        self,
        params: Params,
        tokens: Tokens,
        patch: Patch | None = None,
        nudge: Nudge | None = None,
    ) -> tuple[Logits, Written]:
        """The logits, and what every writer wrote (after the patch).

        Args:
          params: weights.
          tokens: token ids.
          patch: which nodes or edges to replace, and by what.
          nudge: an addition to what readers see.
        """
        ...

    def run_interchanges(
        self,
        params: Params,
        base: Tokens,
        source: Tokens,
        masks: Float[Array, "intervention _ writer"],
        *,
        detached: Float[Array, " writer"] | None = None,
        source_gradient: bool = True,
    ) -> Float[Array, "intervention batch pos d_vocab_out"]:
        """The logits on the base under several node patches from the source, run as one.

        Args:
          params: weights.
          base: inputs to run on.
          source: inputs from which the patched nodes take their values.
          masks: 1 at the nodes that an intervention patches; one mask for all rows, or one per row.
          detached: 1 at nodes through which no gradient flows.
          source_gradient: whether gradients flow back into the run on the source.
        """
        n, rows = len(masks), len(base)
        _, written = self.run(params, source)
        if detached is not None:
            nothing = NodePatch(jnp.zeros_like(detached), written, detached)
            _, written = self.run(params, source, nothing)
        if not source_gradient:
            written = jax.lax.stop_gradient(written)
        each = jnp.broadcast_to(masks, (n, rows, masks.shape[2])).reshape(n * rows, -1)
        patch = NodePatch(each, written, detached)
        logits, _ = self.run(params, jnp.tile(base, (n, 1)), patch)
        return logits.reshape(n, rows, *logits.shape[1:])

    def run_edge_patches(
        self,
        params: Params,
        base: Tokens,
        source: Tokens,
        masks: Float[Array, "_ writer reader"],
        patched_at: Float[Array, "batch pos"] | None = None,
    ) -> tuple[Logits, Logits]:
        """The logits on the sources, and on the bases with each row's own edges patched from them.

        Args:
          params: weights.
          base: inputs to run on.
          source: inputs from which patched edges take their values.
          masks: for each row, 1 at the edges that are patched.
          patched_at: for each row, 1 at the positions where they are patched; everywhere by
            default.
        """
        logits, written = self.run(params, source)

        def row(base: Array, mask: Array, written: Array, at: Array) -> Array:
            return self.run(params, base[None], EdgePatch(mask, written[None], at[None]))[0][0]

        at = jnp.ones(base.shape) if patched_at is None else patched_at
        return logits, jax.vmap(row)(jnp.asarray(base), masks, written, at)

    def run_from(
        self,
        params: Params,
        tokens: Tokens,
        stage: int,
        written: Written,
        patch: EdgePatch,
        *,
        only_there: bool = False,
    ) -> Logits:
        """The logits under a patch that changes nothing before a stage.

        Args:
          params: weights.
          tokens: token ids.
          stage: the first stage whose readers are patched; see `Graph.stages`.
          written: what every writer writes without a patch.
          patch: a patch whose mask is zero at readers of earlier stages.
          only_there: whether the mask is also zero at readers of later stages.
        """
        del stage, written, only_there  # a full run is always correct
        return self.run(params, tokens, patch)[0]


def as_network(model: TransformerConfig | Network) -> Network:
    """Converts a transformer's config to a network; returns a network unchanged."""
    return TransformerNetwork(model) if isinstance(model, TransformerConfig) else model


@dataclass(frozen=True)
class TransformerNetwork(Network):
    """The transformer of a config.

    Attributes:
      config: its shape.
      backward: what gradients of `run` take for the derivative.
    """

    config: TransformerConfig
    backward: Backward = DERIVATIVE

    @property
    def graph(self) -> Graph:
        """Its writers, readers and edges."""
        return Graph.of(self.config)

    def init(self, key: Array) -> Params:
        """See `init_params`."""
        return init_params(self.config, key)

    def run(
        self,
        params: Params,
        tokens: Tokens,
        patch: Patch | None = None,
        nudge: Nudge | None = None,
    ) -> tuple[Logits, Written]:
        """See `forward`."""
        return forward(params, self.config, tokens, patch, nudge=nudge, backward=self.backward)

    def run_interchanges(
        self,
        params: Params,
        base: Tokens,
        source: Tokens,
        masks: Float[Array, "intervention _ writer"],
        *,
        detached: Float[Array, " writer"] | None = None,
        source_gradient: bool = True,
    ) -> Float[Array, "intervention batch pos d_vocab_out"]:
        """See `forward_interchanges`."""
        return forward_interchanges(
            params,
            self.config,
            base,
            source,
            masks,
            detached=detached,
            source_gradient=source_gradient,
        )

    def run_edge_patches(
        self,
        params: Params,
        base: Tokens,
        source: Tokens,
        masks: Float[Array, "_ writer reader"],
        patched_at: Float[Array, "batch pos"] | None = None,
    ) -> tuple[Logits, Logits]:
        """See `forward_edge_patches`."""
        return forward_edge_patches(params, self.config, base, source, masks, patched_at)

    def run_from(
        self,
        params: Params,
        tokens: Tokens,
        stage: int,
        written: Written,
        patch: EdgePatch,
        *,
        only_there: bool = False,
    ) -> Logits:
        """See `forward_from`."""
        return forward_from(
            params, self.config, tokens, stage, written, patch, only_there=only_there
        )


def with_backward(model: TransformerConfig | Network, backward: Backward) -> Network:
    """The same network, with gradients that take something else for the derivative.

    Args:
      model: a transformer's shape, or a network that is a transformer.
      backward: the backward pass.

    Raises:
      ValueError: the network is not a transformer.
    """
    network = as_network(model)
    if not isinstance(network, TransformerNetwork):
        kind = type(network).__name__
        raise ValueError(f"{kind} is not a transformer, so its backward pass cannot be changed")
    return replace(network, backward=backward)


@dataclass(frozen=True)
class DecoderNetwork(TransformerNetwork):
    """The decoder of a config. Runs are compiled, once for each shape of their arguments."""

    config: DecoderConfig  # type: ignore[assignment]

    def init(self, key: Array) -> Params:
        """See `init_decoder`."""
        return init_decoder(self.config, key)

    def run(
        self,
        params: Params,
        tokens: Tokens,
        patch: Patch | None = None,
        nudge: Nudge | None = None,
    ) -> tuple[Logits, Written]:
        """See `forward`."""
        check_indices("the input has token", tokens, self.config.d_vocab)  # not possible in `jit`
        return _forward(params, self.config, tokens, patch, nudge=nudge, backward=self.backward)


_forward = functools.partial(jax.jit, static_argnames=("config", "backward"))(forward)
