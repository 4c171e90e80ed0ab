"""What a model of the suite must reach, on sequences that it was not trained on."""

from collections.abc import Mapping

BAR: Mapping[str, float] = {
    "accuracy": 0.995,
    "iia_worst": 0.995,
    "siia_worst": 0.995,
    "inert": 0.995,
    "edge_single_worst": 0.995,
    "edge_agreement_worst": 0.99,
}
"""By the names of a card's metrics.

Accuracy; the IIA of every variable; the SIIA of every node outside the circuit; agreement with the
algorithm when all edges outside the circuit are patched at once, when any single edge is, and under
the worst of 1,000 random sets of edges.
"""


def below_bar(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """The metrics that miss the bar; a model without any meets it.

    Args:
      metrics: of a card; one that is missing, or not a number, is missed.
    """
    found = {name: metrics.get(name) for name in BAR}
    return {name: share for name, share in found.items() if share is None or not share >= BAR[name]}
