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
