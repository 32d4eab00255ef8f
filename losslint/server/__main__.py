"""`python -m losslint.server WORKING-DIRECTORY`: the analysing process that the language server starts."""

from __future__ import annotations

from losslint.server.analysis import main

if __name__ == "__main__":
    main()
