"""The process that runs the user's script under observation: `python -m losslint.runtime.observe.child WISHES FD …`.

The result goes to a file descriptor of its own, so that nothing that the script prints can be mistaken for it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any, NoReturn

from losslint.runtime.observe.facts import Fact


def main(arguments: list[str]) -> int:
    """`arguments`: steps, file descriptor, `script` or `module`, its name, and its own arguments."""
    steps, descriptor, kind, target, *rest = arguments
    import torch

    from losslint.runtime.observe.observer import Observer
    from losslint.runtime.observe.recorder import StopObserving

    observer = Observer(int(steps))
    trouble = ""
    started = os.getpid()

    def swallowed() -> NoReturn:
        """The script has caught the exception that was to end it."""
        observer.close(ended=False)
        _send(int(descriptor), _result(observer, ""))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def out_of_time(*_: Any) -> None:
        if os.getpid() == started:
            observer.recorder.full = True
            observer.recorder.note("the time was up before all steps were seen")
            raise StopObserving

    observer.recorder.swallowed = swallowed
    signal.signal(signal.SIGTERM, out_of_time)
    sys.argv = [target, *rest]
    try:
        with observer:
            if kind == "module":
                sys.path.insert(0, os.getcwd())
                runpy.run_module(target, run_name="__main__", alter_sys=True)
            else:
                sys.path.insert(0, os.path.dirname(os.path.realpath(target)))
                runpy.run_path(target, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            trouble = f"the script ended with exit code {end.code}"
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _print_without_losslint(error)
        trouble = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
    if os.getpid() != started:
        # a worker that was forked off and fell through
        os._exit(0)
    result = _result(observer, trouble)
    result["torch"] = torch.__version__
    _send(int(descriptor), result)
    return 0


def _result(observer: Any, trouble: str) -> dict[str, Any]:
    run = observer.run
    facts: list[Fact] = list(observer.facts)
    return {
        "steps": len(run.steps),
        "backwards": len(run.micro_batches),
        "ended": run.ended,
        "trouble": trouble,
        "facts": [fact.to_object() for fact in facts],
        "notes": list(run.notes),
        "ledger": observer.ledger,
    }


def _send(descriptor: int, result: dict[str, Any]) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as stream:
        json.dump(result, stream)


def _print_without_losslint(error: BaseException) -> None:
    """The traceback as the user would see it, without the frames that started the script."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _is_ours(filename: str) -> bool:
    return os.path.dirname(filename) == os.path.dirname(__file__) or filename == "<frozen runpy>"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # what the script left running (threads, process groups, loader workers) does not hold the report up
    os._exit(code)
