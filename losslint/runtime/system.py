"""The standard library where it is not let through as it is: the system, the command line, progress bars."""

from __future__ import annotations

import types
from typing import Any

from losslint.runtime.front import Front
from losslint.runtime.objects import Loader
from losslint.runtime.things import ANY, Guess, Thing, world
from losslint.runtime.world import Enough


def tqdm_bar(iterable: Any = None, *arguments: Any, **options: Any) -> Any:
    return Bar(iterable)


class Bar:
    """A progress bar around what it iterates."""

    def __init__(self, iterable: Any) -> None:
        self.iterable = iterable

    def __iter__(self) -> Any:
        return iter(self.iterable if self.iterable is not None else ())

    def __next__(self) -> Any:
        return next(self.iterable)

    def __len__(self) -> int:
        return len(self.iterable)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets errors through."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.iterable, name) if isinstance(self.iterable, Loader) else Thing(f"bar.{name}")


class Arguments:
    """`argparse.ArgumentParser`: the parsed arguments are things, with the defaults that the code gives."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.defaults: dict[str, Any] = {}

    def add_argument(self, *names: str, **options: Any) -> Thing:
        """Keeps the default."""
        if names:
            name = str(options.get("dest") or next((n for n in names if n.startswith("--")), names[0]))
            default = options.get("default", False if options.get("action") == "store_true" else None)
            self.defaults[name.lstrip("-").replace("-", "_")] = default
        return Thing("argument")

    def add_argument_group(self, *arguments: Any, **options: Any) -> Arguments:
        """Itself."""
        return self

    add_mutually_exclusive_group = add_argument_group

    def set_defaults(self, **options: Any) -> None:
        """Keeps defaults."""
        self.defaults.update(options)

    def parse_args(self, *arguments: Any, **options: Any) -> Thing:
        """The arguments."""
        parsed = Thing("args")
        for name, default in self.defaults.items():
            known = world().role(name)
            unknown = isinstance(known, Thing) and known._kind == ANY
            if unknown and isinstance(default, (int, float, str)):
                parsed._kept[name] = Guess(default) if isinstance(default, bool) else default
        return parsed

    def parse_known_args(self, *arguments: Any, **options: Any) -> tuple[Thing, list[str]]:
        """The arguments, and no rest."""
        return self.parse_args(), []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"parser.{name}")


class _Environment(dict[str, str]):
    """An environment of one process."""

    def __missing__(self, key: str) -> str:
        return "1" if "WORLD_SIZE" in key else "0"


def system(name: str) -> Any:
    if name == "os":
        import os

        path = Front("os.path", os.path, {"exists": lambda *a: Guess(0), "isfile": lambda *a: Guess(0)})
        path.__dict__["join"] = lambda *parts: "/".join(str(p) for p in parts)
        return Front("os", None, {"environ": _Environment(), "getenv": lambda k, d=None: d, "path": path, "sep": "/"})
    if name == "sys":
        return Front("sys", None, {"argv": ["train.py"], "exit": stop, "maxsize": 2**63 - 1, "version_info": (3, 12)})
    if name == "time":
        import time

        clocks = dict.fromkeys(("time", "perf_counter", "monotonic", "process_time"), lambda: float(world().drawn))
        return Front("time", time, {**clocks, "sleep": lambda *a: None})
    return None


def stop(*arguments: Any) -> None:
    raise Enough


def namespace(values: dict[str, Any]) -> Thing:
    thing = Thing("args")
    thing._kept.update(values)
    return thing


class Tqdm(types.ModuleType):
    tqdm = staticmethod(tqdm_bar)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return tqdm_bar
