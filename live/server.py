"""The live page's server: a fixed set of addresses on this machine, answered by one model.

Requests name test images, classes and features by number, and photos come as bytes: no part of a request becomes a
path. The page may load only what comes from here (Content-Security-Policy).
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files

import uvicorn
from PIL.Image import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from configs.errors import RunError
from live.answers import LiveModel
from live.uploads import Box, UploadError, decode
from visualization import report

log = logging.getLogger(__name__)

UPLOAD_SECONDS = 30.0
MAX_BYTES = 20 * 2**20  # of a photo
MAX_WAITING = 64  # questions; more are turned away
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(model: LiveModel) -> Starlette:
    """The web application for a model."""
    ask = Questions(model)
    own = files("live") / "page"
    pages = {
        "/": ("text/html", (own / "live.html").read_text("utf-8")),
        "/style.css": ("text/css", report.read("paint.css") + (own / "live.css").read_text("utf-8")),
        "/script.js": ("text/javascript", report.read("paint.js", "report.js") + (own / "live.js").read_text("utf-8")),
        "/page.json": ("application/json", json.dumps(model.page(), separators=(",", ":"))),
    }
    routes = [Route(path, _fixed(text, kind)) for path, (kind, text) in pages.items()]
    routes += [
        Route("/api/answer", ask.answer, methods=["POST"]),
        Route("/api/crop", ask.crop, methods=["POST"]),
        Route("/api/compare", ask.compare),
        Route("/api/test/{index:int}", ask.test_image),
    ]
    # Keeps out pages of another site whose name resolves to this machine (DNS rebinding).
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts], exception_handlers={404: _not_found, RunError: _unreadable})


def _fixed(text: str, kind: str) -> Callable:
    response = Response(text, media_type=kind, headers=HEADERS)

    async def page(request: Request) -> Response:
        return response

    return page


async def _not_found(request: Request, error: Exception) -> Response:
    return _refused("there is no such page", 404)


async def _unreadable(request: Request, error: Exception) -> Response:
    return _refused(str(error).rstrip("."), 404)


def _json(content: object, status: int = 200) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status, media_type="application/json", headers=HEADERS)


def _refused(why: str, status: int) -> Response:
    return _json({"error": why}, status)


class Questions:
    """The addresses that query the model. It answers in a single thread, so answers cannot mix."""

    def __init__(self, model: LiveModel):
        self._model = model
        self._thread = ThreadPoolExecutor(1)
        self._waiting = 0

    async def answer(self, request: Request) -> Response:
        """The explanation of the photo in the body, or of the test image `test`."""

        def question(data: bytes) -> dict:
            asked, model = _optional(request, "test", int), self._model
            base = model.photo(self._decoded(data)) if asked is None else model.test_image(asked)
            crop, grey = (_optional(request, name, Box.parse) for name in ("crop", "grey"))
            off = tuple(int(f) for f in request.query_params.get("off", "").split(",") if f)
            return model.answer(replace(base, crop=crop, grey=grey, off=off))

        return await self._asked(request, question)

    async def crop(self, request: Request) -> Response:
        """A proposed crop of the photo in the body."""
        return await self._asked(request, lambda data: self._model.proposed_crop(self._decoded(data)))

    async def compare(self, request: Request) -> Response:
        """The classes of `classes`, by number, side by side."""
        text = request.query_params.get("classes", "")
        return await self._asked(request, lambda _: self._model.comparison([int(c) for c in text.split(",") if c]))

    async def test_image(self, request: Request) -> Response:
        """A test image as JPEG."""
        index = request.path_params["index"]
        return await self._asked(request, lambda _: self._model.test_picture(index))

    def _decoded(self, data: bytes) -> Image:
        return decode(data, self._model.explained.data.test.scale)

    async def _asked(self, request: Request, question: Callable[[bytes], dict | bytes]) -> Response:
        if self._waiting >= MAX_WAITING:
            return _refused("too many questions at once; try again in a moment", 503)
        self._waiting += 1
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                data = await _body(request)
            loop = asyncio.get_running_loop()
            content = await loop.run_in_executor(self._thread, question, data)
        except TimeoutError:
            return _refused("the photo took too long to arrive", 408)
        except ClientDisconnect:
            return _refused("the page has gone", 400)
        except UploadError as error:
            return _refused(str(error), 400)
        except ValueError:
            return _refused("the request is not one that this page sends", 400)
        finally:
            self._waiting -= 1
        if isinstance(content, bytes):
            return Response(content, media_type="image/jpeg", headers=HEADERS)
        return _json(content)


def _optional(request: Request, name: str, parse: Callable):
    text = request.query_params.get(name)
    return None if text is None else parse(text)


async def _body(request: Request) -> bytes:
    """The request's body; UploadError, and no further reading, if it gets too large."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_BYTES:
            raise UploadError(f"the file is larger than {MAX_BYTES // 2**20} MB")
    return bytes(data)


def listening_socket(port: int) -> socket.socket:
    """A socket for this machine only, bound to a port (0: a free one); OSError if the port is not available."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()  # a browser that opens the page before the model is ready waits
    return listening


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer requests until Ctrl-C (a KeyboardInterrupt), which ends it at once, even during an answer."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])
