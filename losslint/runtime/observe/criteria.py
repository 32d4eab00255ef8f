"""The loss functions of torch: which are watched, how each reduces, and how many of its targets count."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch.nn import functional

CLASSES = ("cross_entropy", "nll_loss")
ELEMENTWISE = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "soft_margin_loss",
)
BATCHWISE = (
    "ctc_loss",
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
    "hinge_embedding_loss",
    "triplet_margin_with_distance_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
)
WATCHED = tuple(name for name in (*CLASSES, *ELEMENTWISE, *BATCHWISE) if hasattr(functional, name))


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


def arguments(function: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without defaults."""
    return dict(_signature(function).bind(*given, **named).arguments)


def reduction(call: Mapping[str, Any]) -> str:
    """`mean`, `sum` or `none`; KL's `batchmean` is a mean over other items."""
    if call.get("size_average") is not None or call.get("reduce") is not None:
        from torch.nn import _reduction

        return _reduction.legacy_get_string(call.get("size_average"), call.get("reduce"), emit_warning=False)
    name: str = call.get("reduction", "mean")
    return "mean" if name == "batchmean" else name


def items(name: str, call: Mapping[str, Any]) -> int:
    """How many targets count in a call."""
    predicted = call.get("input", call.get("input1", call.get("anchor", call.get("log_probs"))))
    target = call.get("target")
    if name in CLASSES and isinstance(target, torch.Tensor):
        if target.is_floating_point():
            return int(target.numel() // max(predicted.shape[1], 1)) if predicted.dim() > 1 else 1
        return int((target.detach() != call.get("ignore_index", -100)).sum())
    if name in ELEMENTWISE and isinstance(predicted, torch.Tensor) and isinstance(target, torch.Tensor):
        return predicted.numel() if predicted.dim() >= target.dim() else target.numel()
    return int(predicted.shape[0]) if isinstance(predicted, torch.Tensor) and predicted.dim() else 1
