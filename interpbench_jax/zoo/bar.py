"""The bar: scores that a model of the suite must reach on held-out sequences."""

from collections.abc import Mapping

BAR: Mapping[str, float] = {
    "accuracy": 0.995,
    "iia_worst": 0.995,
    "siia_worst": 0.995,
    "inert": 0.995,
    "edge_single_worst": 0.995,
    "edge_agreement_worst": 0.99,
}
"""Required values, by the names of a card's metrics.

These are accuracy, the IIA of every variable, the SIIA of every node outside the circuit, and
agreement with the algorithm when all edges outside the circuit are patched at once, when any single
edge is patched, and under the worst of 1,000 random sets of edges.
"""


def below_bar(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """The metrics that miss the bar; empty for a model that meets it.

    Args:
      metrics: metrics of a card; a metric that is missing or not a number misses the bar.
    """
    found = {name: metrics.get(name) for name in BAR}
    return {name: share for name, share in found.items() if share is None or not share >= BAR[name]}
