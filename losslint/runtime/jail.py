"""What keeps a slice to itself, as far as the system goes along: limits, Landlock, an audit hook, the group kill.

None of this makes it safe to run code that means harm, and nothing may call it a sandbox: it keeps training code that
does what training code does (write checkpoints, start processes, phone home) from doing it here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION, _RULE_PATH_BENEATH = 1, 1

# the rights of linux/landlock.h that change something; execution and reading stay free
_WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
_READING = 1 << 0 | 1 << 2 | 1 << 3
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_NEWEST_RIGHTS = 16
_NETWORK_FROM, _SCOPES_FROM = 4, 6
_TCP_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3

_DEVICES = ("/dev/null", "/dev/zero", "/dev/shm")
_FILE_BYTES = 64 << 20
_MORE_PROCESSES = 256
_ROUNDS_OF_REAPING = 200


@dataclass(frozen=True, slots=True)
class Level:
    """How far a process was shut in. `landlock` is the version of its interface, 0 where the kernel has none."""

    landlock: int
    limits: tuple[str, ...]

    def __str__(self) -> str:
        parts = ["a process and session of its own for each slice" if _LIBC else "a process"]
        if self.limits:
            parts.append(f"limits on {', '.join(self.limits)}")
        if self.landlock:
            denied = "writes outside a scratch folder"
            denied += " and TCP" if self.landlock >= _NETWORK_FROM else ""
            denied += " and signals to others" if self.landlock >= _SCOPES_FROM else ""
            parts.append(f"the kernel denies {denied} (Landlock {self.landlock})")
        else:
            parts.append("no Landlock here")
        parts.append("an audit hook in Python")
        return "; ".join(parts)


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant that loses its own; whether the system can do that."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when `parent` is gone, where it can."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def kill_group(leader: int) -> None:
    """Kill a process with all of its process group, and wait for the process itself."""
    # the group is empty, or the process has not come as far as to make one
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(leader, 0)


def kill_orphans(known: frozenset[int]) -> int:
    """Kill and reap the children of this process that are not among the `known` ones; how many there were.

    Each one killed may leave children of its own, which become this process's next; a process that forks faster than
    it is killed is given up after `_ROUNDS_OF_REAPING` rounds.
    """
    killed = 0
    for _ in range(_ROUNDS_OF_REAPING):
        orphans = _children() - known
        if not orphans:
            break
        # stopped first, so that a bomb does not refork while it is being killed
        for stop in (signal.SIGSTOP, signal.SIGKILL):
            for orphan in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, stop)
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
        killed += len(orphans)
    return killed


def enter(
    scratch: Path, memory: int | None = None, seconds: float | None = None, devices: tuple[str, ...] = ()
) -> Level:
    """Shut this process in: it may write below `scratch` and to `devices` only. There is no way back.

    `memory` is how many bytes of address space it may take beyond what it has, `seconds` how much more CPU time; None
    sets no limit.
    """
    scratch = scratch.resolve()
    os.chdir(scratch)
    limits = tuple(_limits(memory, seconds))
    landlock = _landlock((str(scratch), *_DEVICES, *devices))
    _watch(str(scratch), (*_DEVICES, *devices))
    return Level(landlock, limits)


def _limits(memory: int | None, seconds: float | None) -> Iterator[str]:
    """Set the limits that the system knows, and give their names in words."""
    try:
        import resource
    except ImportError:
        return
    wanted: list[tuple[str, str, int]] = [("", "RLIMIT_CORE", 0), ("file size", "RLIMIT_FSIZE", _FILE_BYTES)]
    if seconds is not None:
        # the wall clock is somebody else's; this is for when nobody is left to look at it
        wanted.append(("CPU time", "RLIMIT_CPU", int(time.process_time() + seconds) + 2))
    if memory is not None and (size := _address_space()) is not None:
        wanted.append(("memory", "RLIMIT_AS", size + memory))
    # the user's processes of all kinds count, and the superuser's not at all
    if os.getuid() != 0 and (tasks := _tasks(os.getuid())) is not None:
        wanted.append(("processes", "RLIMIT_NPROC", tasks + _MORE_PROCESSES))
    for words, name, value in wanted:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (value, value))
            if words:
                yield words


def _landlock(writable: tuple[str, ...]) -> int:
    """Deny writes outside the `writable` paths, and TCP; the version of the interface, or 0 where it did not work."""
    if _LIBC is None or not sys.platform.startswith("linux"):
        return 0
    version: int = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_RULESET_VERSION))
    if version < 1:
        return 0
    rights = ((1 << _RIGHTS_OF_ABI.get(version, _NEWEST_RIGHTS)) - 1) & ~_READING
    fields = [rights]
    if version >= _NETWORK_FROM:
        fields.append(_TCP_BIND_AND_CONNECT)
    if version >= _SCOPES_FROM:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(fields)}Q", *fields), 8 * len(fields))
    ruleset: int = _LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(8 * len(fields)), ctypes.c_uint32(0))
    if ruleset < 0:
        return 0
    try:
        for path in writable:
            _allow(ruleset, path, rights)
        shut_in = _prctl(_PR_SET_NO_NEW_PRIVS, 1) and _LIBC.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0
    finally:
        os.close(ruleset)
    return version if shut_in else 0


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Let a ruleset write at a path and below it; a path that does not exist needs no permission."""
    assert _LIBC is not None
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
    _LIBC.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
    os.close(place)


_REFUSED = frozenset(
    (
        "os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.spawn os.startfile os.system pty.spawn "
        "resource.prlimit resource.setrlimit signal.pthread_kill socket.bind socket.connect socket.sendmsg "
        "socket.sendto subprocess.Popen"
    ).split()
)
_CHANGES: Mapping[str, tuple[int, ...]] = {
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (0, 1),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
"""The events that change files, and which of their arguments are the paths."""
_FOLDERS: Mapping[str, tuple[int, ...]] = {
    "os.chmod": (2,),
    "os.chown": (3,),
    "os.link": (2, 3),
    "os.mkdir": (2,),
    "os.remove": (1,),
    "os.rename": (2, 3),
    "os.rmdir": (1,),
    "os.symlink": (2,),
    "os.utime": (3,),
}
"""Where the folder that a relative path starts from stands, for each path of the event."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def _watch(scratch: str, writable: tuple[str, ...]) -> None:
    """Refuse, in Python, what a slice has no business with. Native code does not ask."""
    # what is used is held here, out of reach of code that puts its own functions into `os`
    realpath, fsdecode, join, readlink = os.path.realpath, os.fsdecode, os.path.join, os.readlink
    roots = tuple(f"{root}{os.sep}" for root in (scratch, *writable))

    def is_ours(path: object, folder: object = -1) -> bool:
        if isinstance(path, int):
            return True
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        name = fsdecode(path)
        if isinstance(folder, int) and folder >= 0:
            name = join(readlink(f"/proc/self/fd/{folder}"), name)
        return f"{realpath(name)}{os.sep}".startswith(roots)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and flags & _WRITING) or (
                isinstance(mode, str) and set(mode) & set("wax+")
            )
            allowed = not writes or is_ours(path)
        elif event in _CHANGES:
            folders = _FOLDERS.get(event, ())
            starts = [arguments[index] for index in folders] or [-1] * len(_CHANGES[event])
            allowed = all(
                is_ours(arguments[index], start) for index, start in zip(_CHANGES[event], starts, strict=True)
            )
        else:
            allowed = event not in _REFUSED
        if not allowed:
            raise PermissionError(f"losslint does not let a slice do this: {event}{_shown(arguments)}")

    sys.addaudithook(hook)


def _shown(arguments: tuple[Any, ...]) -> str:
    """The first argument of an event, as far as it says something."""
    return f" {str(arguments[0])[:100]}" if arguments and isinstance(arguments[0], str | bytes | int) else ""


def _prctl(option: int, value: int) -> bool:
    if _LIBC is None or not sys.platform.startswith("linux"):
        return False
    zero = ctypes.c_ulong(0)
    done: int = _LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    return done == 0


def _address_space() -> int | None:
    """Bytes of address space of this process, where /proc says so."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGESIZE")


def _tasks(user: int) -> int | None:
    """How many threads a user has, where /proc says so."""
    return _scan(lambda folder, _: len(os.listdir(f"{folder}/task")) if os.stat(folder).st_uid == user else 0)


def _children() -> frozenset[int]:
    """The children of this process, ended ones included; none where /proc does not say so."""
    found: set[int] = set()
    try:
        for task in os.listdir("/proc/self/task"):
            found |= set(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    except FileNotFoundError:
        # a kernel built without that file
        own = os.getpid()

        def look(folder: str, number: int) -> int:
            # the name in parentheses may hold anything
            if int(Path(folder, "stat").read_bytes().rpartition(b")")[2].split()[1]) == own:
                found.add(number)
            return 0

        _scan(look)
    return frozenset(found)


def _scan(count: Callable[[str, int], int]) -> int | None:
    """The sum of `count` over the processes of /proc; None without it. A process that ends meanwhile is passed over."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return None
    total = 0
    for name in filter(str.isdigit, names):
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += count(f"/proc/{name}", int(name))
    return total if names else None
