"""Two oracles of one ledger: generated training loops are read by the static side and run with PyTorch."""
