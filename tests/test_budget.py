"""How much of a file is run: the end of a pass is walked also where the forks have spent the budget of the file."""

from __future__ import annotations

from pathlib import Path

from losslint.interpreter.explore import Explorer
from losslint.interpreter.program import Program
from losslint.project import Project
from losslint.source import SourceFile

STATEMENTS = 100
BODY = "\n".join("        note = note + 1" for _ in range(STATEMENTS))
LOOP = f"""
import torch.nn.functional as F

def train(model, loader, optimizer, window):
    for i, (x, y) in enumerate(loader):
        note = i
{BODY}
        loss = F.cross_entropy(model(x), y) / window
        loss.backward()
        if (i + 1) % window == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


def test_the_end_of_a_pass_is_walked_when_the_budget_is_spent() -> None:
    project = Project(())
    explorer = Explorer(Program(project, project.add(SourceFile(Path("train.py"), "train.py", LOOP))))
    [loop] = explorer.explore()
    explorer.fuel = 0
    assert loop.leftover is not None
    assert loop.leftover.batches == 1
    assert loop.again(None, False).unclear, "no other run goes on for so long"
