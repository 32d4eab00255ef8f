"""What a model gives, told from its `forward`: the last function on the way to the loss, and how many scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from losslint.interpreter.blueprints import built_models
from losslint.interpreter.explore import Explorer
from losslint.interpreter.program import Program
from losslint.interpreter.values import Output, Tensor
from losslint.project import Project
from losslint.source import SourceFile

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=10, gated=False):
        super().__init__()
        self.body = nn.Linear(8, 4)
        self.head = nn.Linear(4, 1)
        self.activation = nn.Softmax(dim=-1)
        self.gated = gated
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.1))

    def last(self, x):
        return torch.sigmoid(self.head(x))
"""

LOOP = """
def main(loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, y), y)
        loss.backward()
        optimizer.step()
"""


def program(text: str) -> Program:
    project = Project(())
    return Program(project, project.add(SourceFile(Path("train.py"), "train.py", text)))


def given(forward: str) -> Output | None:
    """What is known of the first argument of the loss, for a body of `forward`."""
    body = "".join(f"        {line}\n" for line in forward.splitlines())
    text = f"{HEAD}\n    def forward(self, x, mask=None, extra=None):\n{body}{LOOP}"
    [loop] = Explorer(program(text)).explore()[:1]
    [call] = loop.base.loss_calls.values()
    assert call.function == "cross_entropy"
    prediction = call.arguments[0]
    assert type(prediction) is Tensor
    return prediction.output


@pytest.mark.parametrize(
    ("forward", "function", "features"),
    [
        ("return self.head(x)", "linear", 1),
        ("return self.head(x).squeeze(-1)", "linear", None),
        ("x = self.head(x)\nreturn self.activation(x)", "softmax", 1),
        ("return F.softmax(self.body(x), dim=1)", "softmax", 4),
        ("return torch.softmax(self.body(x).float(), dim=1)", "softmax", 4),
        ("return self.body(x).log_softmax(-1)", "log_softmax", 4),
        ("return self.layers(self.body(x))", "relu", 4),
        ("if mask is not None:\n    x = x * mask\nreturn F.softmax(self.head(x), dim=1)", "softmax", 1),
        ("return self.last(x)", "sigmoid", 1),
        ("return self.body(x).argmax(dim=1)", "argmax", 4),
    ],
)
def test_the_last_function_of_a_forward(forward: str, function: str, features: int | None) -> None:
    output = given(forward)
    assert output is not None
    assert (output.function, output.features, output.model) == (function, features, "Net")


@pytest.mark.parametrize(
    "forward",
    [
        # two ways that end differently: the loss may see either
        "if mode == 'probabilities':\n    return F.softmax(self.head(x), dim=1)\nreturn self.head(x)",
        "if self.training:\n    return self.head(x)\nreturn F.softmax(self.head(x), dim=1)",
        # arithmetic after the activation makes another value of it
        "return F.softmax(self.head(x), dim=1) * 2 - 1",
        "return somewhere_else(x)",
    ],
)
def test_what_is_not_the_same_on_every_way_is_not_known(forward: str) -> None:
    output = given(forward)
    assert output is not None
    assert (output.function, output.model) == ("", "Net")


def test_what_a_model_is_made_with_decides() -> None:
    forward = "        if self.gated:\n            return F.softmax(self.head(x), dim=1)\n        return self.head(x)\n"
    text = f"{HEAD}\n    def forward(self, x):\n{forward}{LOOP}"
    second = LOOP.replace("main", "other").replace("Net()", "Net(gated=True)")
    loops = Explorer(program(text + second)).explore()
    calls = [call for loop in loops for call in loop.base.loss_calls.values()]
    assert [call.arguments[0].output.function for call in calls] == ["linear", "softmax"]


@pytest.mark.parametrize(
    ("forward", "shape"),
    [
        ("return self.head(x)", "column"),
        ("return torch.sigmoid(self.head(x))", "column"),
        ("return self.head(x).squeeze(-1)", "flat"),
        ("return self.head(x).view(-1)", "flat"),
        ("return self.head(x).view(-1, 1)", "column"),
        ("return self.head(x).squeeze(-1).unsqueeze(1)", "column"),
        ("if mask.sum() > 0:\n    return self.head(x).squeeze(-1)\nreturn self.head(x)", ""),
        ("return self.body(x)", ""),
        ("return self.body(x).squeeze()", ""),
        ("if extra is not None:\n    return self.head(x).squeeze(-1)\nreturn self.head(x)", "column"),
    ],
)
def test_columns_and_flat_vectors(forward: str, shape: str) -> None:
    output = given(forward)
    assert output is not None
    assert output.shape == shape


def test_a_model_that_holds_itself_ends() -> None:
    output = given("return Net()(x)")
    assert output is not None
    assert output.function == ""


def test_models_are_built_with_their_layers() -> None:
    [model] = built_models(program(f"{HEAD}\n    def forward(self, x):\n        return x\n"))
    assert model.instance.cls.definition.name == "Net"
    assert model.instance.attributes["head"].path == "Linear"
