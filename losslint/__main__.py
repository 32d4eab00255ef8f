"""`python -m losslint`."""

from __future__ import annotations

from losslint.cli import run

if __name__ == "__main__":
    run()
