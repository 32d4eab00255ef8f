"""PyTorch: loss functions and their default reduction, and the names of what else the loop is made of.

Source: the documentation of torch 2.x (`torch.nn`, `torch.nn.functional`, `torch.optim`, `torch.amp`).
"""

from __future__ import annotations

_MEAN_CLASSES = (
    "L1Loss MSELoss CrossEntropyLoss CTCLoss NLLLoss PoissonNLLLoss GaussianNLLLoss KLDivLoss BCELoss"
    " BCEWithLogitsLoss MarginRankingLoss HingeEmbeddingLoss MultiLabelMarginLoss HuberLoss SmoothL1Loss"
    " SoftMarginLoss MultiLabelSoftMarginLoss CosineEmbeddingLoss MultiMarginLoss TripletMarginLoss"
    " TripletMarginWithDistanceLoss NLLLoss2d LinearCrossEntropyLoss"
)

CRITERIA: dict[str, str] = dict.fromkeys(_MEAN_CLASSES.split(), "mean")
"""Class in `torch.nn` -> default reduction."""

_MEAN_FUNCTIONS = (
    "binary_cross_entropy binary_cross_entropy_with_logits poisson_nll_loss cosine_embedding_loss cross_entropy"
    " ctc_loss gaussian_nll_loss hinge_embedding_loss kl_div l1_loss mse_loss margin_ranking_loss"
    " multilabel_margin_loss multilabel_soft_margin_loss multi_margin_loss nll_loss huber_loss smooth_l1_loss"
    " soft_margin_loss triplet_margin_loss triplet_margin_with_distance_loss linear_cross_entropy"
)

FUNCTIONAL: dict[str, str] = dict.fromkeys(_MEAN_FUNCTIONS.split(), "mean")
"""Function in `torch.nn.functional` -> default reduction."""

TOKEN_AVERAGING = frozenset({"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"})
"""Losses whose mean is over the targets that count: `ignore_index` makes that number uneven."""

NO_GRAD = frozenset({"no_grad", "inference_mode"})

SCALAR_PRESERVING = frozenset(
    "float double half bfloat16 to cpu cuda type view reshape squeeze unsqueeze contiguous flatten requires_grad_"
    " item_ expand view_as type_as nan_to_num retain_grad __float__ npu xpu".split()
)
"""Methods that leave the value of a scalar alone."""

CLIPPING = frozenset({"clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_grads_with_norm_"})

CURVED = frozenset("exp exp2 expm1 log log2 log10 log1p sqrt rsqrt".split())
"""Functions whose mean over batches is taken for the function of the mean (a mean of squares is its own figure)."""

BENDING = frozenset(
    "logsigmoid softplus relu elu gelu leaky_relu softmax log_softmax logsumexp clamp clip maximum minimum".split()
)
"""Functions that make another figure out of a value, and keep its graph."""

NONLINEAR = frozenset("exp log log2 log10 sqrt pow square rsqrt sigmoid tanh log1p expm1 exp2".split())
