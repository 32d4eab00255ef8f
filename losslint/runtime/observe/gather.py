"""How what each rank saw reaches rank 0: through the store of the script's own process group."""

from __future__ import annotations

import json
from datetime import timedelta

import torch

from losslint.runtime.observe import ranks
from losslint.runtime.observe.facts import Fact
from losslint.runtime.observe.recorder import Recorder

_WAIT = timedelta(seconds=60)


def gather(recorder: Recorder, facts: list[Fact]) -> list[Fact]:
    """On rank 0 the facts of all ranks and those between them; elsewhere `facts`. No collective is called."""
    if recorder.shared is None:
        return facts
    shared, rank, world = recorder.shared
    parallel = any(isinstance(model, torch.nn.parallel.DistributedDataParallel) for model in recorder.models)
    own = {"facts": [fact.to_object() for fact in facts], **ranks.summary(recorder.run, parallel)}
    if rank:
        shared.set(f"losslint/{rank}", json.dumps(own))
        return facts
    keys = [f"losslint/{other}" for other in range(1, world)]
    try:
        shared.wait(keys, _WAIT)
    except RuntimeError:
        recorder.note("inconclusive: not every rank reported: nothing is said of what differs between ranks")
        return facts
    summaries = [own, *(json.loads(shared.get(key)) for key in keys)]
    between = list(ranks.judge(recorder.run, summaries))
    if any(fact.name == "wrong-loss-divisor" for fact in between):
        # where the window is as long as there are ranks, one rank alone takes the second divisor for the window
        facts = [fact for fact in facts if fact.name != "loss-scaled-twice"]
    return [*facts, *ranks.others(facts, summaries), *between]
