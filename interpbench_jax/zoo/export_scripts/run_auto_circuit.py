"""Runs an algorithm of auto-circuit 1.0; writes scores by the names of edges."""

import json

from adapter import loader, patchable
from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores
from load import HERE, target

against = ("logit", "mse") if target.is_floating_point() else ("logprob", "avg_val")
scores = mask_gradient_prune_scores(patchable, loader, None, *against, mask_val=0.0)

edges = {e.name: scores[e.dest.module_name][e.patch_idx].item() for e in patchable.edges}
(HERE / "scores").mkdir(exist_ok=True)
(HERE / "scores" / "eap.json").write_text(json.dumps(edges))
