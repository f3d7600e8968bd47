"""An authorization server of OAuth 2.1 for tests. It has one user, ada, who grants whatever a client asks for.

    with AuthorizationServer() as issuer:
        issuer.url         # 'http://127.0.0.1:50123'
        issuer.seen        # what clients did there: ['metadata', 'register', 'authorize notes:read', 'token']
        issuer.verify(...)  # what a resource server asks it, for `Auth`

It checks what a client has to prove (PKCE, its redirect URI, the resource), and a token is good for that resource alone.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import urllib.request
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit


class AuthorizationServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[str] = []
        self.clients: dict[str, list[str]] = {}  # client id -> its redirect URIs
        self.codes: dict[str, dict[str, str]] = {}  # code -> the request that it answers; for one use
        self.tokens: dict[str, dict[str, str]] = {}  # token -> the request behind it

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def verify(self, resource: str) -> Callable[[str], Awaitable[tuple[str, str] | None]]:
        """Make the `verify` of the server that is this resource: it asks us by token introspection (RFC 7662)."""

        def ask(token: str) -> Any:
            with urllib.request.urlopen(f"{self.url}/introspect", urlencode({"token": token}).encode(), 5) as reply:
                return json.load(reply)

        async def verify(token: str) -> tuple[str, str] | None:
            told = await asyncio.to_thread(ask, token)
            return (told["sub"], told["scope"]) if told["active"] and told["aud"] == resource else None

        return verify

    # What each endpoint answers: a status, and JSON or where to go. KeyError and AssertionError are bad requests.

    def metadata(self, asked: dict[str, str]) -> tuple[int, Any]:
        self.seen.append("metadata")
        endpoints = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in
                     [("authorization", "authorize"), ("token", "token"), ("registration", "register")]}  # fmt: skip
        return 200, endpoints | {
            "issuer": self.url,
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }

    def register(self, asked: dict[str, Any]) -> tuple[int, Any]:
        self.seen.append("register")
        client = secrets.token_hex(4)
        self.clients[client] = asked["redirect_uris"]
        return 201, asked | {"client_id": client, "token_endpoint_auth_method": "none"}

    def authorize(self, asked: dict[str, str]) -> tuple[int, Any]:
        self.seen.append(f"authorize {asked['scope']}")
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] in self.clients[asked["client_id"]]
        code = secrets.token_hex(8)
        self.codes[code] = asked
        back = {"code": code, "iss": self.url} | ({"state": asked["state"]} if "state" in asked else {})
        return 302, f"{asked['redirect_uri']}?{urlencode(back)}"

    def token(self, asked: dict[str, str]) -> tuple[int, Any]:
        self.seen.append("token")
        granted = self.codes.pop(asked["code"])
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == granted["code_challenge"]
        assert all(asked[name] == granted[name] for name in ("client_id", "redirect_uri", "resource"))
        token = secrets.token_urlsafe()
        self.tokens[token] = granted
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": granted["scope"]}

    def introspect(self, asked: dict[str, str]) -> tuple[int, Any]:
        granted = self.tokens.get(asked["token"])
        if granted is None:
            return 200, {"active": False}
        return 200, {"active": True, "sub": "ada", "scope": granted["scope"], "aud": granted["resource"]}


class Handler(BaseHTTPRequestHandler):
    server: AuthorizationServer

    def answer(self, asked: str) -> None:
        path, issuer = urlsplit(self.path).path, self.server
        endpoints = {
            "/.well-known/oauth-authorization-server": issuer.metadata,
            "/register": issuer.register,
            "/authorize": issuer.authorize,
            "/token": issuer.token,
            "/introspect": issuer.introspect,
        }
        try:
            status, told = endpoints[path](json.loads(asked) if asked.startswith("{") else dict(parse_qsl(asked)))
        except (KeyError, AssertionError) as error:
            status, told = 400, {"error": "invalid_request", "error_description": repr(error)}
        body = b"" if status == 302 else json.dumps(told).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", told)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, format: str, *args: Any) -> None:
        pass
