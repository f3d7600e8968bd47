"""What a conversation leaves behind, in the process and in the log: nothing, if all is well."""

import asyncio
import contextlib
import dataclasses
import gc
import logging
import os
import re
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamhttp_mcp import Connection, Context, Incoming, Reader, Request, Session, Stream


def resident() -> int:
    """The bytes of memory that this process holds; 0 where /proc does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


@dataclass
class Left:
    """What there is while nobody is there."""

    tasks: int
    files: int
    timers: int
    threads: int
    objects: Counter[str]
    resident: int  # bytes

    @classmethod
    def look(cls) -> "Left":
        gc.collect()
        kinds = (Connection, Incoming, Request, Session, Context, Stream, Reader, asyncio.Task)
        objects = Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in kinds)
        timers = [t for t in asyncio.get_running_loop()._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
        threads = sum(thread.name == "streamhttp_mcp handler" for thread in threading.enumerate())
        files = len(os.listdir("/dev/fd"))
        return cls(len(asyncio.all_tasks()), files, len(timers), threads, objects, resident())

    def same(self, other: "Left") -> bool:
        return dataclasses.replace(self, resident=0) == dataclasses.replace(other, resident=0)

    @classmethod
    async def settled(cls, before: "Left") -> "Left":
        """Look until it is as it was, for two seconds: news of closed sockets takes a moment, as do probes of them."""
        for _ in range(40):
            if (now := cls.look()).same(before):
                break
            await asyncio.sleep(0.05)
        return now


class Complaints(logging.Handler):
    """What the log says that nobody could act on."""

    EXPECTED = re.compile(r"refused (Host|Origin) ")  # a warning with a remedy

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.WARNING or not self.EXPECTED.match(record.getMessage()):
            self.found.append(self.format(record)[-3000:])


@contextlib.contextmanager
def complaints() -> Iterator[Complaints]:
    """Collect what the server, asyncio, and the running loop complain of."""
    handler, loop = Complaints(), asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: handler.found.append(repr(context)))
    loggers = [logging.getLogger(name) for name in ("streamhttp_mcp", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
