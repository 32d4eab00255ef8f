"""Bridge: `losslint.rules.<name>` is the file `rules/<name>.py` of a checkout, or `losslint/_rules` once installed."""

from pathlib import Path

_here = Path(__file__).resolve().parent
_installed = _here / "_rules"
__path__ = [str(_installed if _installed.is_dir() else _here.parent / "rules")]
