"""`amr-data serve`: the workbench over HTTP, on 127.0.0.1 only. Flask answers, waitress serves; frames are
read when they are asked for.

Nothing of a request names a file: a clip is asked for by its index, or by its name, which is looked up. Only
the list of decisions is ever written. Who may ask:

- Requests by another host name are refused, so that no page of another site can reach the data through a name
  that it points here (DNS rebinding).
- What writes must come from this server's own page: it carries a token that only that page holds, and where
  the browser says from which site it comes, that must be this one (cross-site request forgery).
- Every answer forbids what the page does not need: scripts and styles of others, being framed by others.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from functools import wraps
from importlib.resources import files
from typing import Any, Protocol, cast

from flask import Flask, Response, jsonify, request
from jinja2 import Environment, PackageLoader, select_autoescape
from waitress.server import create_server

from amr_data.errors import AmrError, UsageError
from amr_data.viz.page import viewer_page
from amr_data.viz.scene import clip_scene
from amr_data.viz.thumbnails import thumbnails
from amr_data.viz.workbench import Workbench

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
MOST = 500
"""Clips in one answer."""
MOST_THUMBNAILS = 64
MAX_BODY = 64 << 10
"""Bytes of what is sent here."""
ASSETS = "assets/workbench"
KINDS = {".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src {}; style-src {}; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {}"
)
OURS = POLICY.format("'self'", "'self'", "'none'")
TOKEN = "X-Amr-Token"
Answer = Response | tuple[Response, int]


class Server(Protocol):
    """What `open_server` gives."""

    effective_port: int

    def run(self) -> None: ...


def make_app(bench: Workbench) -> Flask:
    """The page at `/`, what it asks for under `/api/`, and the viewer of a clip at `/viewer/INDEX`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    token = secrets.token_urlsafe(32)
    _guard(app, token)
    _serve_pages(app, bench, token)
    _serve_finding(app, bench)
    _serve_clips(app, bench)
    _serve_decisions(app, bench)
    return app


def open_server(bench: Workbench, port: int) -> Server:
    """Take the port (any free one for 0, told by `effective_port`); `run()` serves until it is stopped.
    Raises: UsageError where it is taken."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page asks for many things at once
    try:
        return cast(Server, create_server(make_app(bench), host=HOST, port=port, threads=6))
    except OSError as error:
        raise UsageError(
            f"port {port} of this machine cannot be taken ({error.strerror or error}); give another with "
            f"--port"
        ) from None


def _guard(app: Flask, token: str) -> None:
    @app.before_request
    def only_here() -> Answer | None:
        if request.host.rsplit(":", 1)[0] not in NAMES:
            return _error("this server answers to 127.0.0.1 only"), 403
        if request.method in ("GET", "HEAD"):
            return None
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        given = request.headers.get(TOKEN, "").encode()  # texts are compared only where they are ASCII
        own = origin is None or origin == f"http://{request.host}"
        if not own or site != "same-origin" or not hmac.compare_digest(given, token.encode()):
            return _error("only the page of this server may write; open it anew"), 403
        return None

    @app.after_request
    def forbid(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", OURS)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(500)
    def failed(error: Any) -> Answer:
        original = getattr(error, "original_exception", error)
        return _error(f"unexpected error: {type(original).__name__}: {str(original)[:300]}"), 500

    @app.errorhandler(404)
    @app.errorhandler(405)
    @app.errorhandler(413)
    def missing(error: Any) -> Answer:
        said = {405: "it is not asked for in this way", 413: "that is too much"}
        return _error(said.get(error.code, "there is nothing here")), int(error.code)


def _serve_pages(app: Flask, bench: Workbench, token: str) -> None:
    assets = {file.name: file.read_bytes() for file in (files("amr_data.viz") / ASSETS).iterdir()}
    environment = Environment(loader=PackageLoader("amr_data.viz"), autoescape=select_autoescape())
    template = environment.get_template("workbench.html")

    @app.get("/")
    def root() -> Response:
        page = template.render(title=bench.dataset.title, token=token, about=bench.page())
        return Response(page, mimetype="text/html")

    @app.get("/assets/<name>")
    def asset(name: str) -> Answer:
        kind = KINDS.get(name[name.rfind(".") :])
        if name not in assets or kind is None:
            return _error("there is nothing here"), 404
        return Response(assets[name], mimetype=kind)

    @app.get("/viewer/<int:index>")
    @_answering
    def viewer(index: int) -> Answer:
        if index >= len(bench.dataset):
            return _error(_no_clip(bench, index)), 404
        page = str(viewer_page([clip_scene(bench.dataset, index)]))
        response = Response(page, mimetype="text/html")
        scripts = " ".join(map(_hash, re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)))
        policy = POLICY.format(scripts, "'unsafe-inline'", "'self'")
        response.headers["Content-Security-Policy"] = policy
        return response


def _serve_finding(app: Flask, bench: Workbench) -> None:
    @app.get("/api/overview")
    @_answering
    def overview() -> Answer:
        return jsonify(bench.overview())

    @app.get("/api/search")
    @_answering
    def search() -> Answer:
        return jsonify(bench.searched(*_asked()))

    @app.get("/api/rows")
    @_answering
    def rows() -> Answer:
        start, count = _number("from", 0), _number("count", 100)
        if not 1 <= count <= MOST:
            raise UsageError(f"count is 1 to {MOST}")
        return jsonify(rows=bench.rows(*_asked(), start, count))

    @app.get("/api/map/<key>")
    @_answering
    def places(key: str) -> Answer:
        return Response(bench.map(key), mimetype="application/octet-stream")

    @app.get("/api/maps")
    def maps() -> Response:
        return jsonify(maps=bench.maps, at_work=bench.at_work)

    @app.get("/api/values/<key>")
    @_answering
    def values(key: str) -> Answer:
        return Response(bench.values(key, _asked()[2]), mimetype="application/octet-stream")


def _serve_clips(app: Flask, bench: Workbench) -> None:
    @app.get("/api/frames")
    @_answering
    def frames() -> Answer:
        words = request.args.get("clips", "").split(",")
        if len(words) > MOST_THUMBNAILS or not all(re.fullmatch("[0-9]{1,9}", word) for word in words):
            raise UsageError(f"clips are 1 to {MOST_THUMBNAILS} indices behind commas")
        indices = list(map(int, words))
        if max(indices) >= len(bench.dataset):
            return _error(_no_clip(bench, max(indices))), 404
        return Response(thumbnails(bench.dataset, indices), mimetype="application/octet-stream")

    @app.get("/api/row")
    @_answering
    def row() -> Answer:
        index = _number("index", 0)
        if index >= len(bench.dataset):
            return _error(_no_clip(bench, index)), 404
        return jsonify(row=bench.row(index, _asked()[2]))

    @app.get("/api/clip")
    @_answering
    def clip() -> Answer:
        name = request.args.get("name", "")
        if name not in bench.index:
            return _error(f"there is no clip '{name}' here"), 404
        return jsonify(bench.clip(name, *_asked()))


def _serve_decisions(app: Flask, bench: Workbench) -> None:
    @app.post("/api/decisions")
    @_answering
    def decide() -> Answer:
        asked = request.get_json(silent=True)
        parts = ("decision", "note")
        if (
            not isinstance(asked, dict)
            or not isinstance(asked.get("clip"), str)
            or not any(key in asked for key in parts)
            or not all(isinstance(asked[key], str) for key in parts if key in asked)
        ):
            raise UsageError("a decision is JSON with clip, and decision or note or both, all of them text")
        now = bench.decide(asked["clip"], *(asked.get(key) for key in parts))
        return jsonify(decision=now.decision, note=now.note)

    @app.get("/api/decisions.csv")
    @_answering
    def exported() -> Answer:
        response = Response(bench.exported(), mimetype="text/csv")
        response.headers["Content-Disposition"] = 'attachment; filename="decisions.csv"'
        return response


def _asked() -> tuple[str, str, str | None]:
    """The search, the order and the figure that a request is about."""
    return request.args.get("q", ""), request.args.get("sort", "index"), request.args.get("by") or None


def _number(name: str, otherwise: int) -> int:
    text = request.args.get(name, str(otherwise))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"{name} is a whole number from 0 on")
    return int(text)


def _answering(view: Callable[..., Answer]) -> Callable[..., Answer]:
    """Errors as answers: 400 for what was asked wrongly, 500 for what failed."""

    @wraps(view)
    def answer(*args: Any, **kwargs: Any) -> Answer:
        try:
            return view(*args, **kwargs)
        except AmrError as error:
            return _error(str(error)), 400 if isinstance(error, UsageError) else 500

    return answer


def _no_clip(bench: Workbench, index: int) -> str:
    return f"there is no clip {index}; the last is {len(bench.dataset) - 1}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _error(text: str) -> Response:
    return jsonify(error=text)
