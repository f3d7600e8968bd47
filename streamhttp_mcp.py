# SPDX-License-Identifier: MIT
"""The Model Context Protocol (MCP) over HTTP, in one file, with the standard library alone.

It serves the session-based revisions 2025-03-26, 2025-06-18 and 2025-11-25. Three things to try:

    python streamhttp_mcp.py                       # a document analyser for this folder; prints how to connect
    python streamhttp_mcp.py --root ~/notes        # the same for another one
    python -c 'import streamhttp_mcp as s; help(s.MCPServer)'

The life of one request, in function names:

    socket -> Connection -> read_head, read_body -> MCPServer.handle -> check_host, check_origin -> handle_post
           -> parse_message -> answer_in_session -> answer_call -> METHODS[...], say call_tool -> your handler(ctx)
    socket <- EventSink or one JSON body <- Exchange (decides which, late) <- ctx.report_progress, ctx.elicit, result

Sections stand in the order in which a byte meets them, and lean only on those above:

     1 Settings       4 SSE            7 Context                       10 Methods      13 Server
     2 Errors         5 JSON-RPC       8 Tools, resources, prompts     11 Eras         14 Demo and main
     3 HTTP           6 Schema         9 Sessions                      12 Endpoint

Ids in brackets, like [session.unknown-404], name clauses of the specification; SPEC.md lists them all.
Left out: stdio, tasks, TLS and authorization, and everything that would need a package.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import codecs
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import functools
import inspect
import io
import itertools
import json
import logging
import math
import os
import re
import secrets
import signal
import sys
import threading
import time
import types
import typing
from collections import Counter, OrderedDict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as daytime
from enum import Enum
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from urllib.parse import quote, unquote
from uuid import UUID

__version__ = "0.1.0"

# ---- 1 Settings --------------------------------------------------------------------------------------
# What can be set, in one place: the protocol revisions served and the limits on everything that a
# stranger can send. Nothing below holds a number of its own.

# Revision names are dates, so comparing two of them as strings tells which is newer.
SESSION_REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")  # opened by `initialize`, oldest first
LATEST_SESSION_REVISION = SESSION_REVISIONS[-1]
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")  # RFC 5424
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

log = logging.getLogger("streamhttp_mcp")
log.addHandler(logging.NullHandler())  # [import.silent] a library says nothing until its user wants to hear it


@dataclass(frozen=True)
class Limits:
    """[limits.named] Bounds on what one peer may cost. Sizes are bytes, times are seconds, the rest are counts."""

    # One HTTP request. Over a size: 414, 431 or 413. Over a time: 408.
    request_line_bytes: int = 8 * 1024  # RFC 9112 section 3 recommends at least 8,000
    head_bytes: int = 32 * 1024  # nginx allows 4 x 8 KiB
    header_fields: int = 100  # Apache's LimitRequestFields
    body_bytes: int = 4 * 1024 * 1024  # the official Python SDK's default
    head_seconds: float = 10  # from the first byte to the blank line
    body_seconds: float = 30  # from the blank line to the last byte
    # One connection.
    idle_seconds: float = 75  # between two requests; nginx's keepalive_timeout
    send_seconds: float = 30  # a peer that reads nothing for so long is dropped
    connections: int = 10_000  # beyond: 503
    # One session.
    sessions: int = 10_000  # beyond: 503 with Retry-After
    calls: int = 64  # in flight at once in one session; beyond: 429
    subscriptions: int = 1_000  # resources watched by one session
    streams: int = 16  # finished event streams that are kept for a client that comes back
    # One event stream.
    stream_events: int = 1_000  # kept for replay; beyond, the oldest notification is forgotten
    stream_bytes: int = 1024 * 1024
    sse_after_seconds: float = 1  # a call that is silent for so long is answered by an event stream
    heartbeat_seconds: float = 15  # a comment, since load balancers drop what is silent for 60 s
    retry_seconds: float = 1  # how long a client waits before it reconnects
    # The server's own patience.
    ask_seconds: float = 300  # a question to the client that is not answered fails
    grace_seconds: float = 5  # running calls may finish for so long at shutdown
    threads: int = 64  # plain `def` handlers running at once; further ones wait


# ---- 2 Errors ----------------------------------------------------------------------------------------
# Two families, because a refusal has two possible levels: the HTTP exchange itself failed, or HTTP is
# fine and the JSON-RPC call inside it failed. Parsers and guards raise them; one place replies to each.

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
RESOURCE_NOT_FOUND = -32002


class HTTPError(Exception):
    """The exchange fails with this HTTP status; the message becomes a JSON-RPC error in the body."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str], code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.code = status, message, headers, code


class RPCError(Exception):
    """The call fails with this JSON-RPC error object: a code, one sentence, and optional data."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class ToolError(Exception):
    """Raised by a handler: the tool ran and failed, in words that the client's model can act on."""
