"""Scores that are defined over a whole set: their mean over batches is another number.

Source: the documentation of scikit-learn 1.x (`sklearn.metrics`).
"""

from __future__ import annotations

SET_SCORES = frozenset(
    "f1_score fbeta_score precision_score recall_score jaccard_score roc_auc_score average_precision_score r2_score"
    " matthews_corrcoef cohen_kappa_score".split()
)
"""Functions of `sklearn.metrics` that are no mean over samples."""

PER_SAMPLE = frozenset({"micro", "samples"})
"""Values of `average` with which such a score is (or may be) a mean over samples: a micro F1 is the accuracy."""
