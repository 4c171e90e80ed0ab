"""A second transformer, written to be easy to check: float64, names, one position at a time.

It shares only the names of weights, writers and readers with the package.
"""

import math

import numpy as np

ERF = np.vectorize(math.erf)
ACTIVATIONS = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "gelu": lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
}


def forward(params, config, tokens, *, edges=None, nodes=None, source=None):
    """Runs the model, replacing single edges or nodes by their name.

    Args:
      params: nested weights.
      config: the model's shape.
      tokens: `[batch, pos]`.
      edges: `{(writer, reader): share of the source}`, a number or an array `[batch, pos]`.
      nodes: `{writer: share of the source}`, a number or an array `[batch, pos]`.
      source: `{writer: [batch, pos, d_model]}`, like the second result.

    Returns:
      The logits, and what each writer wrote, by name and in order.
    """
    edges, nodes, tokens = edges or {}, nodes or {}, np.asarray(tokens)
    written: dict[str, np.ndarray] = {}
    constants: list[np.ndarray] = []

    def write(name, out):
        if name in nodes:
            share = np.broadcast_to(nodes[name], tokens.shape)[:, :, None]
            out = share * source[name] + (1 - share) * out
        return out

    def seen_by(reader):
        total = np.zeros((*tokens.shape, config.d_model))
        for writer, out in written.items():
            if (writer, reader) in edges:
                share = np.broadcast_to(edges[writer, reader], tokens.shape)[:, :, None]
                out = share * source[writer] + (1 - share) * out
            total += out
        return total + sum(constants)

    embedding = _float64(params["embed"]["W_E"])[tokens]
    position = _float64(params["pos_embed"]["W_pos"])[: tokens.shape[1]]
    written["input"] = write("input", embedding + position[None])
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        weights = {name: _float64(w) for name, w in block["attn"].items()}
        heads = {}
        for head in range(config.n_heads):
            projected = {}
            for x in "qkv":
                seen = seen_by(f"a{layer}.h{head}<{x}>")
                if config.layer_norm:
                    seen = layer_norm(seen, block["ln1"], config.layer_norm_eps)
                name = x.upper()
                projected[x] = seen @ weights[f"W_{name}"][head] + weights[f"b_{name}"][head]
            mixed = attention(**projected, causal=config.causal, padding=tokens == config.pad)
            heads[f"a{layer}.h{head}"] = write(f"a{layer}.h{head}", mixed @ weights["W_O"][head])
        written |= heads
        constants.append(weights["b_O"])
        seen = seen_by(f"m{layer}")
        if config.layer_norm:
            seen = layer_norm(seen, block["ln2"], config.layer_norm_eps)
        weights = {name: _float64(w) for name, w in block["mlp"].items()}
        hidden = ACTIVATIONS[config.activation](seen @ weights["W_in"] + weights["b_in"])
        written[f"m{layer}"] = write(f"m{layer}", hidden @ weights["W_out"] + weights["b_out"])
    final = seen_by("logits")
    if config.layer_norm:
        final = layer_norm(final, params["ln_final"], config.layer_norm_eps)
    unembed = {name: _float64(w) for name, w in params["unembed"].items()}
    return final @ unembed["W_U"] + unembed["b_U"], written


def attention(q, k, v, *, causal, padding):
    """One head's softmax attention, `[batch, pos, d_head]`, query by query; padding is not seen."""
    n_batch, n_pos, d_head = q.shape
    out = np.zeros_like(v)
    for b in range(n_batch):
        for p in range(n_pos):
            keys = [j for j in range(p + 1 if causal else n_pos) if not padding[b, j]]
            scores = np.array([q[b, p] @ k[b, j] for j in keys]) / math.sqrt(d_head)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            out[b, p] = sum(weight * v[b, j] for weight, j in zip(weights, keys, strict=True))
    return out


def layer_norm(x, weights, eps):
    """Mean 0 and variance 1 along the last axis, scaled and shifted."""
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * _float64(weights["w"]) + _float64(weights["b"])


def by_name(graph, writers):
    """`[batch, pos, writer, d_model]` as `{writer: [batch, pos, d_model]}`."""
    return {name: np.asarray(writers)[:, :, w] for w, name in enumerate(graph.writers)}


def stacked(written):
    """The inverse of `by_name`."""
    return np.stack(list(written.values()), axis=2)


def _float64(array):
    return np.asarray(array, np.float64)
