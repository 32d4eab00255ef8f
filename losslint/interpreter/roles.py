"""What a name suggests. Evidence of last resort: a contract or a value that was followed always wins."""

from __future__ import annotations

import re
from functools import lru_cache

_OPTIMIZER = re.compile(r"optim|(^|(?<!^local)_)(opt|opts|solver|sgd|adam\w*)(_?\w)?$", re.IGNORECASE)
_SCHEDULER = re.compile(r"sched|warmup|lr_?decay", re.IGNORECASE)
_SCALER = re.compile(r"(^|_)(grad_?)?scaler$", re.IGNORECASE)
_LOSS = re.compile(
    r"(^|_)(loss|losses|nll|cost|elbo|objective)(_|\d|$)|loss$|^loss|^err[DG]?$|^(l|ce|mse|bce)$", re.IGNORECASE
)
_CRITERION = re.compile(
    r"^(criterion\w*|crit|criteria|loss|objective|cost|loss_?(fn|func|function|f|op|module|layer|computer?)\w*"
    r"|\w*_?(loss|criterion|loss_?(fn|func|function))\d?)$",
    re.IGNORECASE,
)
_NOT_CRITERION = re.compile(
    r"^(get|make|build|create|init|load|save|plot|print|log|write|update|record|reset|reduce|sync|gather|is|has|add|append)_"
    r"|average|meter|track|hist|scal|backward",
    re.IGNORECASE,
)
_LOADER = re.compile(
    r"load|(^|_)(dl|iter|iterator|batches|dataset|dataiter)$|batches$|data_?(iter|gen)|generator$"
    r"|^(train|valid|val|test|training)_?(data|set|iter|ds)$|^(data|dl|dataset)$",
    re.IGNORECASE,
)
_WINDOW = re.compile(r"accum|grad_?acc|update_?(freq|every)|iter_?size|micro", re.IGNORECASE)
_BATCHES = re.compile(r"batch|chunk|micro|shard|split", re.IGNORECASE)
_BATCH = re.compile(r"^(x|y|xs|ys|data|(\w+_)?(batch|inputs?|images?|imgs?|samples?|targets?|labels?))$", re.IGNORECASE)
_DATASET = re.compile(
    r"dataset$|(^|_)(set|ds|samples|sampler|subset|examples)$|(train|val|valid|test)_?set$", re.IGNORECASE
)
_BATCH_SIZE = re.compile(r"(^|_)(batch_?size|bs|bsz|bsize|train_batch_size)$", re.IGNORECASE)
_REPORT = re.compile(
    r"^(print|log|info|debug|warning|warn|add_scalars?|set_postfix(_str)?|set_description(_str)?|log_metrics?|log_dict"
    r"|write|scalar_summary|log_value|log_scalars?|report_scalar|print_log|master_print|print_rank_0|log_info|plot"
    r"|track|logkv|record|add_scalar_dict|desc)$"
)
_DEBUG = re.compile(
    r"debug|verbose|print|(^|_)log(_|$|ging)|profil|dry_?run|sanity|rank|is_main|master|first|resum|distributed|ddp"
    r"|(^|[._])dist([._]|$)|world|tensorboard|wandb|plot|visuali[sz]e|(^|_)vis($|_)|freeze|dump",
    re.IGNORECASE,
)
_METER = re.compile(r"(AverageMeter|RunningAverage\w*|MeanMetric|SmoothedValue|AvgMeter|AverageValueMeter)$")
_BRACKETS = re.compile(r"\([^()\[\]]*\)|\[[^()\[\]]*\]")
_MODEL = re.compile(
    r"(^|_)(model|net|network|module|encoder|decoder|student|teacher|generator|discriminator)\d?$|^net[A-Z]\w*$",
    re.IGNORECASE,
)
_ADVERSARY = re.compile(
    r"discriminator|adversar|critic|(^|_)gan(_|$)|(^|_)(fake|real(?!path))|(^|_)net_?[DG]$|(?-i:^[DG]$)|domain",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(r"(^|_)(images?|imgs?|frames?|videos?|clips?|sequences?|slices?|volumes?)$", re.IGNORECASE)
_TARGET = re.compile(
    r"(^|_)(y|ys|targets?|labels?|gts?|ground_?truth)(_(true|train|batch|ids?|[a-z\d]))?$", re.IGNORECASE
)
_GET_BATCH = re.compile(r"(get|next|sample|load|fetch)_?\w*(batch|minibatch|data|samples?)$", re.IGNORECASE)


@lru_cache(maxsize=8192)
def last(path: str) -> str:
    """The last plain name of a dotted path: `self.args.lr` gives `lr`, `make(model.parameters())` gives `make`."""
    while "(" in path or "[" in path:
        shorter = _BRACKETS.sub("", path)
        if shorter == path:
            break
        path = shorter
    # an argument list that was cut in the middle of a long path stays open
    return path.split("(", 1)[0].split("[", 1)[0].rsplit(".", 1)[-1]


@lru_cache(maxsize=8192)
def is_optimizer(path: str) -> bool:
    """Whether a path reads like an optimizer (and not like its scheduler)."""
    return bool(_OPTIMIZER.search(last(path))) and not _SCHEDULER.search(last(path))


@lru_cache(maxsize=8192)
def outer_optimizer(path: str) -> str:
    """The optimizer that holds the one at a path: of `self.optimizer.optimizer`, `self.optimizer`."""
    outer, _, name = path.rpartition(".")
    return outer_optimizer(outer) if name in ("optimizer", "_optimizer", "optim") and is_optimizer(outer) else path


@lru_cache(maxsize=8192)
def is_scheduler(path: str) -> bool:
    """Whether a path reads like a learning-rate scheduler."""
    return bool(_SCHEDULER.search(last(path)))


@lru_cache(maxsize=8192)
def is_scaler(path: str) -> bool:
    """Whether a path reads like a GradScaler."""
    return bool(_SCALER.search(last(path)))


@lru_cache(maxsize=8192)
def is_loss(name: str) -> bool:
    """Whether a variable reads like a loss."""
    return bool(_LOSS.search(name)) and not _NOT_CRITERION.search(name)


@lru_cache(maxsize=8192)
def is_criterion(name: str) -> bool:
    """Whether something called reads like a loss function."""
    return bool(_CRITERION.match(name)) and not _NOT_CRITERION.search(name)


@lru_cache(maxsize=8192)
def is_loader(path: str) -> bool:
    """Whether a path reads like a data loader."""
    return bool(_LOADER.search(last(path)))


@lru_cache(maxsize=8192)
def is_window(path: str) -> bool:
    """Whether a number reads like an accumulation window: never what finds one, only what tells two settings apart."""
    return bool(_WINDOW.search(last(path)))


@lru_cache(maxsize=8192)
def is_batches(path: str) -> bool:
    """Whether a path reads like the micro-batches of a batch."""
    return bool(_BATCHES.search(last(path)))


@lru_cache(maxsize=8192)
def is_batch(name: str) -> bool:
    """Whether a parameter reads like the data of one batch."""
    return bool(_BATCH.match(name))


@lru_cache(maxsize=8192)
def is_target(path: str) -> bool:
    """Whether a path reads like what a prediction is compared with."""
    return bool(_TARGET.search(last(path)))


@lru_cache(maxsize=8192)
def is_dataset(path: str) -> bool:
    """Whether a path reads like the samples behind a loader."""
    return bool(_DATASET.search(last(path)))


@lru_cache(maxsize=8192)
def is_batch_size(path: str) -> bool:
    """Whether a path reads like a batch size."""
    return bool(_BATCH_SIZE.search(last(path)))


@lru_cache(maxsize=8192)
def is_report(name: str) -> bool:
    """Whether a method shows its arguments to a person."""
    return bool(_REPORT.match(name))


@lru_cache(maxsize=8192)
def is_debug(text: str) -> bool:
    """Whether a condition reads like debugging, logging or rank: not a mode that changes the training."""
    return bool(_DEBUG.search(text))


@lru_cache(maxsize=8192)
def is_meter(name: str) -> bool:
    """Whether a class outside the project reads like a running average."""
    return bool(_METER.search(name))


@lru_cache(maxsize=8192)
def is_model(path: str) -> bool:
    """Whether a path reads like a model."""
    return bool(_MODEL.search(last(path)))


@lru_cache(maxsize=8192)
def is_sequence(path: str) -> bool:
    """Whether a path reads like images in a row."""
    return bool(_SEQUENCE.search(last(path)))


@lru_cache(maxsize=8192)
def is_engine(name: str) -> bool:
    """Whether something reads like a training engine that wraps model and optimizer."""
    return name == "engine" or name.endswith(("_engine", "Engine"))


@lru_cache(maxsize=8192)
def is_adversarial(name: str) -> bool:
    """Whether a name speaks of adversaries: models whose targets are constant by design."""
    return bool(_ADVERSARY.search(name))


@lru_cache(maxsize=8192)
def gives_batch(name: str) -> bool:
    """Whether a function reads like one that draws the next batch."""
    return bool(_GET_BATCH.search(name))
