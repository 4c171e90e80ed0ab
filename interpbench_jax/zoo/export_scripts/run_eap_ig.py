"""Runs a method of EAP-IG's `attribute`; writes the graph with scores of all edges."""

from adapter import attribute
from eap.graph import Graph
from load import HERE, model

METHOD, SETTINGS = "EAP", {}  # or "EAP-IG-inputs", {"ig_steps": 5}, ...

graph = Graph.from_model(model)
attribute(model, graph, METHOD, **SETTINGS)

(HERE / "scores").mkdir(exist_ok=True)
graph.to_json(HERE / "scores" / f"{METHOD.lower()}.json")
