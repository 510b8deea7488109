"""`amr-data serve`: a dataset in the browser, on 127.0.0.1 only. Flask answers, waitress serves; clips are
read when they are asked for.

A clip is named by its index and nothing else, so no request can name a file. Requests by another host name
are refused, so that no page of another site can reach the data through a name that it points here (DNS
rebinding).
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from flask import Flask, Response, jsonify, request
from waitress.server import create_server

from amr_data.errors import AmrError, UsageError
from amr_data.shards.reader import ShardDataset
from amr_data.viz.page import browser_page, packed
from amr_data.viz.scene import clip_scene

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
MOST = 500
"""Clips in one answer."""


class Server(Protocol):
    """What `open_server` gives."""

    effective_port: int

    def run(self) -> None: ...


def make_app(dataset: ShardDataset) -> Flask:
    """The page at `/`, clips by search at `/api/clips?q=&from=&count=`, one of them at `/api/clips/INDEX`."""
    app = Flask(__name__, static_folder=None)
    page = browser_page(dataset.spec.skeleton, dataset.title)
    spec = dataset.spec
    labels, frames = dataset.clips["label"].tolist(), dataset.clips["frames"].tolist()
    classes = {label: spec.class_title(label) for label in set(labels)}  # -1 is no label
    titles = [
        f"{n} · {classes[label]} · {t} frames"
        for n, label, t in zip(dataset.names, labels, frames, strict=True)
    ]
    lowered = [title.lower() for title in titles]

    @app.before_request
    def only_here() -> tuple[Response, int] | None:
        return (
            None
            if request.host.rsplit(":", 1)[0] in NAMES
            else (_error("this server answers to 127.0.0.1 only"), 403)
        )

    @app.get("/")
    def root() -> Response:
        return Response(page, mimetype="text/html")

    @app.get("/api/clips")
    def clips() -> Response | tuple[Response, int]:
        try:
            start, count = int(request.args.get("from", 0)), int(request.args.get("count", 100))
        except ValueError:
            return _error("from and count are whole numbers"), 400
        if start < 0 or not 1 <= count <= MOST:
            return _error(f"from is 0 or more, count 1 to {MOST}"), 400
        words = request.args.get("q", "").lower().split()
        found: Any = range(len(titles))
        for word in words:
            found = [i for i in found if word in lowered[i]]
        return jsonify(
            total=len(found), clips=[{"index": i, "title": titles[i]} for i in found[start : start + count]]
        )

    @app.get("/api/clips/<int:index>")
    def clip(index: int) -> Response | tuple[Response, int]:
        if index >= len(titles):
            return _error(f"there is no clip {index}; the last is {len(titles) - 1}"), 404
        try:
            return jsonify(packed(clip_scene(dataset, index)))
        except AmrError as error:
            return _error(str(error)), 500

    @app.errorhandler(404)
    def missing(_: Exception) -> tuple[Response, int]:
        return _error("there is nothing here"), 404

    return app


def open_server(dataset: ShardDataset, port: int) -> Server:
    """Take the port (any free one for 0, told by `effective_port`); `run()` serves until it is stopped.
    Raises: UsageError where it is taken."""
    try:
        return cast(Server, create_server(make_app(dataset), host=HOST, port=port, threads=4))
    except OSError as error:
        raise UsageError(
            f"port {port} of this machine cannot be taken ({error.strerror or error}); give another with "
            f"--port"
        ) from None


def _error(text: str) -> Response:
    return jsonify(error=text)
