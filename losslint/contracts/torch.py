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

FUNCTION_OF: dict[str, str] = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "KLDivLoss": "kl_div",
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "CosineEmbeddingLoss": "cosine_embedding_loss",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "PoissonNLLLoss": "poisson_nll_loss",
}
"""Class in `torch.nn` -> the function that it calls; a class that stands for none is known by its own name."""

FACTORIES = frozenset(
    "zeros zeros_like ones ones_like full full_like rand rand_like randn randn_like randint randint_like empty"
    " empty_like arange linspace eye".split()
)
"""Functions that make a tensor of numbers, outside of any graph."""

CLASSIFYING = frozenset({"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"})
"""Losses whose targets are labels."""

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

ENTRYWISE: dict[str, str] = {
    "softmax": "softmax",
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "softmin": "softmax",
    "log_softmax": "log_softmax",
    "LogSoftmax": "log_softmax",
    "sigmoid": "sigmoid",
    "Sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "logsigmoid": "logsigmoid",
    "LogSigmoid": "logsigmoid",
    "tanh": "tanh",
    "Tanh": "tanh",
    "relu": "relu",
    "ReLU": "relu",
    "leaky_relu": "leaky_relu",
    "LeakyReLU": "leaky_relu",
    "gelu": "gelu",
    "GELU": "gelu",
    "exp": "exp",
    "log": "log",
    "argmax": "argmax",
    "argmin": "argmax",
    "round": "round",
    "floor": "round",
    "ceil": "round",
    "sign": "round",
    "bernoulli": "round",
    "one_hot": "one_hot",
}
"""Function, method or layer -> what its result's entries are. `argmax`, `round` and `one_hot` have no gradient."""

WEIGHTED_LAYERS: dict[str, int | None] = {
    "Linear": 1,
    "LazyLinear": 0,
    "Bilinear": 2,
    "Conv1d": None,
    "Conv2d": None,
    "Conv3d": None,
    "ConvTranspose1d": None,
    "ConvTranspose2d": None,
    "ConvTranspose3d": None,
}
"""Layer in `torch.nn` whose result is raw scores -> the place of the argument that says how many there are last."""

PARAMETRIC_LAYERS = frozenset(WEIGHTED_LAYERS) | frozenset(
    "Embedding EmbeddingBag RNN LSTM GRU RNNCell LSTMCell GRUCell MultiheadAttention Transformer TransformerEncoder"
    " TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer BatchNorm1d BatchNorm2d BatchNorm3d"
    " SyncBatchNorm LayerNorm GroupNorm RMSNorm PReLU LazyConv1d LazyConv2d LazyConv3d".split()
)
"""Layers in `torch.nn` that have parameters."""

USUAL_RATES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"), (1e-7, 1e-2)),
    "SGD": (1e-6, 1.0),
}
"""Optimizer -> the lowest and the highest learning rate that is common with it: habits, no law."""

SCHEDULERS = frozenset(
    "LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR PolynomialLR CosineAnnealingLR"
    " SequentialLR ChainedScheduler CyclicLR OneCycleLR CosineAnnealingWarmRestarts".split()
)
"""Classes in `torch.optim.lr_scheduler` whose `step()` moves on by one."""

KEEPING = frozenset(
    "view reshape float double half bfloat16 to cpu cuda type contiguous flatten clone squeeze unsqueeze expand"
    " expand_as view_as type_as permute transpose t dropout Dropout Dropout2d Identity Flatten Unflatten requires_grad_"
    " masked_select gather repeat".split()
)
"""Functions, methods and layers that hand on their input's entries; the shape may change."""

NONLINEAR = frozenset("exp log log2 log10 sqrt pow square rsqrt sigmoid tanh log1p expm1 exp2".split())
