"""The frameworks' contracts, each measured on the library that is installed.

The model is a vector of gains, one for each item, and the loss of an item is its gain: the gradient that an optimizer
finds is the weight with which each item entered the step.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from losslint.contracts.frameworks import (
    ACCELERATE,
    DEEPSPEED,
    FABRIC,
    FRAMEWORKS,
    LIGHTNING,
    LIGHTNING_MANUAL,
    SCALER_CALLABLES,
    TIMM,
    TRAINER,
    TRAINER_NUM_ITEMS,
    UPDATE_KEYWORDS,
    Framework,
)

torch = pytest.importorskip("torch", reason="the contracts are measured with torch")

pytestmark = pytest.mark.filterwarnings("ignore")

WINDOW = 4
ITEMS = 10
"""Two whole windows and a last one that is incomplete."""


class Gains(torch.nn.Module):  # type: ignore[misc, name-defined]
    """The loss of item `i` is `gain[i]`."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(ITEMS))

    def forward(self, index: Any) -> Any:
        return self.gain[index]


class Recorder(torch.optim.SGD):  # type: ignore[misc, name-defined]
    """Keeps the gradients that each real step finds."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.parameters(), lr=0.0)
        self.ledger: list[list[float]] = []
        self.zeroed = 0

    def step(self, closure: Any = None) -> Any:
        loss = closure() if closure is not None else None
        (gain,) = self.param_groups[0]["params"]
        self.ledger.append([round(weight, 6) for weight in gain.grad.tolist()])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.zeroed += 1
        super().zero_grad(set_to_none)


def loader(items: int = ITEMS) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(items)), batch_size=1)


def window(*items: int, weight: float = 1 / WINDOW) -> list[float]:
    """A step in which these items have a weight."""
    return [weight if item in items else 0.0 for item in range(ITEMS)]


def whole_windows(weight: float) -> list[list[float]]:
    return [window(0, 1, 2, 3, weight=weight), window(4, 5, 6, 7, weight=weight)]


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_the_installed_version_is_one_that_the_contract_speaks_of(framework: Framework) -> None:
    specifiers = pytest.importorskip("packaging.specifiers", reason="needs packaging")
    specifier = specifiers.SpecifierSet(framework.versions)
    try:
        installed = importlib.metadata.version(framework.package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{framework.package} is not installed")
    assert specifier.contains(installed, prereleases=True)


# ---------------------------------------------------------------- accelerate


@pytest.fixture
def accelerate() -> Iterator[Any]:
    module = pytest.importorskip("accelerate", reason="accelerate is not installed")
    yield module
    module.state.AcceleratorState._reset_state(True)
    module.state.GradientState._reset_state()


def accelerated(accelerate: Any, steps: int = WINDOW, *, nested: bool = False, prepare_loader: bool = True) -> Recorder:
    accelerator = accelerate.Accelerator(cpu=True, **{ACCELERATE.window_argument: steps})
    model = Gains()
    recorder = Recorder(model)
    model, optimizer = accelerator.prepare(model, recorder)
    batches = accelerator.prepare(loader()) if prepare_loader else loader()
    for (index,) in batches:
        with accelerator.accumulate(model):
            if nested:
                with accelerator.accumulate(model):
                    _accelerated_step(accelerator, model, optimizer, index)
            else:
                _accelerated_step(accelerator, model, optimizer, index)
    return recorder


def _accelerated_step(accelerator: Any, model: Any, optimizer: Any, index: Any) -> None:
    loss = model(index).mean()
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()


def test_accelerate_divides_and_steps_once_per_window(accelerate: Any) -> None:
    assert ACCELERATE.backward_divides
    assert ACCELERATE.last_window_steps
    recorder = accelerated(accelerate)
    assert recorder.ledger == [*whole_windows(1 / WINDOW), window(8, 9)]
    assert recorder.zeroed == 3, "`optimizer.zero_grad` is gated too"
    assert {"optimizer.step", "optimizer.zero_grad"} <= ACCELERATE.gated


def test_accelerate_without_a_window_does_not_divide(accelerate: Any) -> None:
    assert accelerated(accelerate, 1).ledger == [window(item, weight=1.0) for item in range(ITEMS)]


def test_accelerate_leaves_the_last_window_of_a_loader_that_it_does_not_know(accelerate: Any) -> None:
    assert accelerated(accelerate, prepare_loader=False).ledger == whole_windows(1 / WINDOW)


def test_nested_accumulate_fills_the_window_twice_as_fast(accelerate: Any) -> None:
    ledger = accelerated(accelerate, nested=True).ledger
    assert ledger[:2] == [window(0, 1), window(2, 3)]
    assert sum(ledger[0]) == 0.5


def test_accelerate_does_not_gate_the_zero_grad_of_the_model(accelerate: Any) -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=WINDOW)
    model = Gains()
    recorder = Recorder(model)
    prepared, optimizer, batches = accelerator.prepare(model, recorder, loader())
    for (index,) in batches:
        with accelerator.accumulate(prepared):
            prepared.zero_grad()
            accelerator.backward(prepared(index).mean())
            optimizer.step()
    assert "model.zero_grad" not in ACCELERATE.gated
    assert recorder.ledger == [window(3), window(7), window(9)]


def test_accelerate_gates_the_scheduler(accelerate: Any) -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=WINDOW)
    model = Gains()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    seen: list[int] = []

    def rate(epoch: int) -> float:
        seen.append(epoch)
        return 1.0

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model, optimizer, scheduler, batches = accelerator.prepare(model, optimizer, scheduler, loader())
    seen.clear()
    for (index,) in batches:
        with accelerator.accumulate(model):
            accelerator.backward(model(index).mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert "scheduler.step" in ACCELERATE.gated
    assert len(seen) == 3


def test_accelerate_clips_gradients_without_their_scale(accelerate: Any) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    model = Gains()
    recorder = Recorder(model)
    model, optimizer = accelerator.prepare(model, recorder)
    # fp16 is refused on a CPU, and torch's scaler for the CPU does what the one for CUDA does
    accelerator.native_amp = True
    accelerator.state._mixed_precision = "fp16"
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer.scaler = accelerator.scaler
    accelerator.backward(model(torch.tensor([0])).mean())
    norm = accelerator.clip_grad_norm_(model.parameters(), 1.0)
    assert "clip_grad_norm_" in ACCELERATE.clip
    assert ACCELERATE.clip_unscales
    assert norm.item() == pytest.approx(1.0)


# ---------------------------------------------------------------- lightning


@pytest.fixture(scope="module")
def lightning() -> Any:
    return pytest.importorskip("lightning", reason="lightning is not installed")


def trained(lightning: Any, tmp_path: Path, manual: bool, **settings: Any) -> Recorder:
    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = Gains()
            self.recorder = Recorder(self.model)
            self.automatic_optimization = not manual

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            (index,) = batch
            loss = self.model(index).mean()
            if manual:
                self.manual_backward(loss)
                if (batch_idx + 1) % WINDOW == 0:
                    optimizer = self.optimizers()
                    optimizer.step()
                    optimizer.zero_grad()
            return loss

        def configure_optimizers(self) -> Any:
            return self.recorder

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_model_summary=False, default_root_dir=tmp_path, **quiet, **settings
    )
    trainer.fit(module, loader())
    return module.recorder


def test_lightning_divides_what_training_step_returns(lightning: Any, tmp_path: Path) -> None:
    assert LIGHTNING.returned
    assert LIGHTNING.backward_divides
    assert LIGHTNING.last_window_steps
    recorder = trained(lightning, tmp_path, manual=False, **{LIGHTNING.window_argument: WINDOW})
    assert recorder.ledger == [*whole_windows(1 / WINDOW), window(8, 9)]


def test_lightning_does_not_divide_in_manual_optimisation(lightning: Any, tmp_path: Path) -> None:
    assert LIGHTNING_MANUAL.backward == {"manual_backward"}
    assert not LIGHTNING_MANUAL.backward_divides
    assert not LIGHTNING_MANUAL.gated
    assert trained(lightning, tmp_path, manual=True).ledger == whole_windows(1.0)


def test_lightning_refuses_a_window_in_manual_optimisation(lightning: Any, tmp_path: Path) -> None:
    assert LIGHTNING_MANUAL.window_argument == ""
    with pytest.raises(lightning.fabric.utilities.exceptions.MisconfigurationException, match="accumulat"):
        trained(lightning, tmp_path, manual=True, accumulate_grad_batches=WINDOW)


def test_fabric_does_not_divide_and_gates_nothing(lightning: Any) -> None:
    assert not FABRIC.backward_divides
    assert not FABRIC.gated
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    recorder = Recorder(gains := Gains())
    model, optimizer = fabric.setup(gains, recorder)
    for step, (index,) in enumerate(fabric.setup_dataloaders(loader())):
        full = (step + 1) % WINDOW == 0
        with fabric.no_backward_sync(model, enabled=not full):
            fabric.backward(model(index).mean())
        if full:
            optimizer.step()
            optimizer.zero_grad()
    assert recorder.ledger == whole_windows(1.0)


def test_fabric_clips_gradients_without_their_scale(lightning: Any) -> None:
    plugins = pytest.importorskip("lightning.fabric.plugins", reason="lightning is not installed")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    precision = plugins.MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    fabric = lightning.Fabric(accelerator="cpu", devices=1, plugins=precision)
    model, optimizer = fabric.setup(gains := Gains(), Recorder(gains))
    fabric.backward(model(torch.tensor([0])).float().mean())
    assert FABRIC.clip == {"clip_gradients"}
    assert FABRIC.clip_unscales
    norm = fabric.clip_gradients(model, optimizer, max_norm=1.0)
    assert norm.item() == pytest.approx(1.0)


# ---------------------------------------------------------------- transformers


def hf_trained(tmp_path: Path, *, loss_keywords: bool) -> Recorder:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    class Plain(Gains):
        def forward(self, index: Any, labels: Any = None) -> Any:
            return {"loss": self.gain[index].mean()}

    class WithKeywords(Gains):
        def forward(self, index: Any, labels: Any = None, **kwargs: Any) -> Any:
            return {"loss": self.gain[index].mean()}

    class MeanLoss(transformers.Trainer):  # type: ignore[misc, name-defined]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            return model(index=inputs["index"])["loss"]

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        max_grad_norm=0.0,
        remove_unused_columns=False,
        **{TRAINER.window_argument: WINDOW},
    )
    model = WithKeywords() if loss_keywords else Plain()
    recorder = Recorder(model)
    data = [{"index": item, "labels": item} for item in range(ITEMS)]
    trainer = MeanLoss(model=model, args=arguments, train_dataset=data, optimizers=(recorder, None))
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(data)
    trainer.train()
    return recorder


def test_the_trainer_divides_by_the_window_and_by_the_length_of_a_short_one(tmp_path: Path) -> None:
    assert TRAINER.backward_divides
    assert hf_trained(tmp_path, loss_keywords=False).ledger == [*whole_windows(1 / WINDOW), window(8, 9, weight=0.5)]


def test_the_trainer_leaves_the_division_to_the_number_of_items(tmp_path: Path) -> None:
    assert not TRAINER_NUM_ITEMS.backward_divides
    assert hf_trained(tmp_path, loss_keywords=True).ledger == [*whole_windows(1.0), window(8, 9, weight=1.0)]


# ---------------------------------------------------------------- timm, deepspeed


def timm_scalers(norms: list[float]) -> Any:
    """The module of timm's scalers. What clips stands in for the one that needs torchvision, and keeps the norms."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("timm is not installed: its documented behaviour is taken")

    def dispatch_clip_grad(parameters: Any, value: float, mode: str) -> None:
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, value).item())

    package, clip = types.ModuleType("timm_utils"), types.ModuleType("timm_utils.clip_grad")
    package.__path__ = [str(Path(place) / "utils") for place in spec.submodule_search_locations]
    vars(clip)["dispatch_clip_grad"] = dispatch_clip_grad
    sys.modules.update({"timm_utils": package, "timm_utils.clip_grad": clip})
    return importlib.import_module("timm_utils.cuda")


def test_the_scaler_of_timm_does_not_divide_and_clips_without_the_scale() -> None:
    norms: list[float] = []
    cuda = timm_scalers(norms)
    assert "NativeScaler" in SCALER_CALLABLES
    assert not TIMM.backward_divides
    scaler = cuda.NativeScaler(device="cpu")
    model = Gains()
    recorder = Recorder(model)
    for step, (index,) in enumerate(loader()):
        last = (step + 1) % WINDOW == 0
        scaler(model(index).mean(), recorder, 100.0, parameters=list(model.parameters()), **{UPDATE_KEYWORDS[0]: last})
        if last:
            recorder.zero_grad()
    assert recorder.ledger == whole_windows(1.0)
    assert scaler._scaler.get_scale() > 1
    assert TIMM.clip_unscales
    assert norms == [2.0, 2.0]


def test_deepspeed_is_marked_as_documented() -> None:
    assert [framework.name for framework in FRAMEWORKS if framework.evidence == "documented"] == [DEEPSPEED.name]
