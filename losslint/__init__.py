"""losslint: finds broken loss arithmetic in PyTorch training code."""

__version__ = "0.1.0"
