"""The language server: findings, units and fixes where the code is written. One purpose a file; `app` joins them."""
