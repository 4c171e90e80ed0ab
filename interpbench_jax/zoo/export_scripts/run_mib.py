"""Runs a method of EAP-IG's `attribute` with MIB's metric; writes to MIB's folders."""

import json

from adapter import attribute
from eap.graph import Graph
from load import HERE, model

METHOD, ABLATION, SETTINGS = "EAP", "patching", {}  # or "EAP-IG-inputs", ..., {"ig_steps": 5}

graph = Graph.from_model(model)
attribute(model, graph, METHOD, ABLATION, **SETTINGS)

facts = json.loads((HERE / "export.json").read_text())
place = HERE / "circuits" / f"{METHOD}_{ABLATION}_edge" / facts["mib_name"]
place.mkdir(parents=True, exist_ok=True)
graph.to_json(place / "importances.json")
