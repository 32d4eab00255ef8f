"""Observes a script and each of its mutants in one process: `python observe_all.py SCRIPT FOLDER STEPS`.

Writes `{mutant: {"facts": […], "notes": […], "ledger": […]}}` to `FOLDER/result.json`.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from mutants import mutants

from losslint.runtime import Observer


def main() -> None:
    script, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    found = {}
    for name, text in mutants(script).items():
        path = folder / f"{script.stem}_{name.replace('-', '_')}.py"
        path.write_text(text, encoding="utf-8")
        sys.argv = [str(path)]
        with Observer(steps=steps) as observer:
            runpy.run_path(str(path), run_name="__main__")
        facts = [fact.to_object() for fact in observer.facts]
        found[name] = {"facts": facts, "notes": list(observer.notes), "ledger": observer.ledger}
    (folder / "result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
