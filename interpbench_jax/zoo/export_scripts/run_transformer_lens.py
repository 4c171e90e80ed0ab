"""Edge attribution patching with TransformerLens hooks; replace it with your own method."""

import csv

from adapter import gradients, outputs, reads_from
from load import HERE, clean, corrupted
from loss import loss

before, after, slopes = outputs(clean), outputs(corrupted), gradients(loss, clean)
scores = {
    f"{writer}->{reader}": ((after[writer] - before[writer]) * slopes[reader]).sum().item()
    for reader, writers in reads_from.items()
    for writer in writers
}

(HERE / "scores").mkdir(exist_ok=True)
with (HERE / "scores" / "eap.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("edge", "score"), *scores.items()])
