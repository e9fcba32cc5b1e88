"""The page's requests: which there are, what they must hold, and what is answered. Who may make them, `guard` decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dupekit.errors import ImageError
from dupekit.pictures.page.decisions import Decisions, Outcome
from dupekit.pictures.page.facts import facts, references
from dupekit.pictures.page.guard import BODY_MAX_BYTES
from dupekit.pictures.page.images import Coded, Images
from dupekit.pictures.page.state import Opinion, State
from dupekit.pictures.templates import render
from dupekit.review.manifest import Manifest
from dupekit.review.moves import Decision
from dupekit.review.reference_index import read_index, read_thumbnail
from dupekit.review.verdicts import Verdict

_ALIVE_S = 15.0
"""So often an idle stream of events sends a line, so that one whose reader has gone is noticed."""
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_Model = TypeVar("_Model", bound=BaseModel)

_Short = Annotated[str, StringConstraints(max_length=64)]
_Label = Annotated[str, StringConstraints(max_length=1000)]
_Number = Annotated[int, Field(ge=0, lt=2**31)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    client: _Short


class _Decide(_Asked):
    numbers: list[_Number]
    decision: Annotated[Decision, Field(strict=False)]
    label: _Label | None = None
    seen: list[tuple[Annotated[Verdict, Field(strict=False)], _Label]]


class _Undo(_Asked):
    action: _Number


class Page:
    """What the requests are answered from. All of it may be used from any thread."""

    def __init__(self, tree: Path, manifest: Manifest, state: State, decisions: Decisions) -> None:
        self.tree, self.manifest, self.state, self.decisions = tree, manifest, state, decisions
        self.images = Images()
        self.facts = JSONResponse(facts(manifest, tree)).body
        index = read_index(tree)
        self.references = JSONResponse(references(manifest, index)).body
        self.thumbnails = [one.file for one in index.thumbnails] if index else []
        self.page = render("review.html")
        self.static = {
            file.name: (file.read_bytes(), _TYPES[Path(file.name).suffix])
            for file in (files("dupekit.pictures") / "static").iterdir()
            if Path(file.name).suffix in _TYPES
        }
        self.ended = False

    def end(self) -> None:
        """No stream of events goes on."""
        self.ended = True
        self.state.wake()

    def app(self) -> Starlette:
        app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/static/{name}", self._static),
                Route("/tree", self._tree),
                Route("/references", self._references),
                Route("/reference/{number}", self._reference),
                Route("/state", self._state),
                Route("/image/{number}", self._image),
                Route("/events", self._events),
                Route("/decide", self._decide, methods=["POST"]),
                Route("/undo", self._undo, methods=["POST"]),
            ]
        )
        app.router.redirect_slashes = False
        return app

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(self.page)

    async def _static(self, request: Request) -> Response:
        content, media_type = self.static.get(request.path_params["name"], (None, None))
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type=media_type)

    async def _tree(self, _: Request) -> Response:
        return Response(self.facts, media_type="application/json")

    async def _references(self, _: Request) -> Response:
        return Response(self.references, media_type="application/json")

    def _reference(self, request: Request) -> Response:
        file = self.thumbnails[_number(request.path_params["number"], len(self.thumbnails))]
        return self._picture(lambda: self.images.of(file, lambda: self._thumbnail(file)))

    def _thumbnail(self, file: str) -> bytes:
        content = read_thumbnail(self.tree, file)
        if content is None:
            raise FileNotFoundError(file)
        return content

    def _state(self, _: Request) -> Response:
        return JSONResponse(self.state.whole())

    def _image(self, request: Request) -> Response:
        number = _number(request.path_params["number"], len(self.manifest.files))
        found = self.state.verdict(number)
        if found.now_at is None:
            return PlainTextResponse("This image was deleted from the tree.\n", 404)
        stretched, small = (request.query_params.get(name) == "1" for name in ("stretched", "small"))
        path = found.now_at
        return self._picture(
            lambda: self.images.of(
                str(number),
                lambda: self._content(number, path),
                stretched=stretched,
                small=small,
            )
        )

    def _content(self, number: int, path: str) -> bytes:
        file, moves = self.manifest.files[number], self.decisions.moves
        try:
            return moves.content(file, path)
        except OSError:
            now = self.decisions.now_at(number)  # a decision may have moved it meanwhile
            if now in (None, path):
                raise
            return moves.content(file, now)

    @staticmethod
    def _picture(make: Callable[[], Coded]) -> Response:
        try:
            picture = make()
        except OSError:
            return PlainTextResponse("This image cannot be read now.\n", 404)
        except ImageError as error:
            return PlainTextResponse(f"This image cannot be shown: {error.message}.\n", 422)
        return Response(
            picture.content, media_type=picture.media_type, headers={"Cache-Control": "private, max-age=3600"}
        )

    async def _events(self, request: Request) -> Response:
        after = request.query_params.get("after", "")
        version = int(after) if after.isascii() and after.isdigit() and len(after) < 16 else -1
        return StreamingResponse(self._stream(version), media_type="text/event-stream")

    async def _stream(self, version: int) -> AsyncIterator[bytes]:
        changed, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the server has just ended
                loop.call_soon_threadsafe(changed.set)

        with self.state.listening(wake):
            yield b": following\n\n"
            while not self.ended:
                changed.clear()
                for message in await run_in_threadpool(self.state.since, version):
                    version = message["version"]
                    yield b"data: " + json.dumps(message).encode() + b"\n\n"
                try:
                    await asyncio.wait_for(changed.wait(), _ALIVE_S)
                except TimeoutError:
                    yield b": alive\n\n"

    async def _decide(self, request: Request) -> Response:
        asked = await _asked(request, _Decide)
        if len(asked.seen) != len(asked.numbers) or len(set(asked.numbers)) != len(asked.numbers):
            raise HTTPException(400, "Each number stands once, and with what was seen of it.")
        if any(number >= len(self.manifest.files) for number in asked.numbers):
            raise HTTPException(400, "There is no image of that number.")
        if (asked.decision is Decision.CLASS) != (asked.label is not None):
            raise HTTPException(400, "A label belongs to the decision for a class, and to no other.")
        seen = [Opinion(verdict, label) for verdict, label in asked.seen]
        outcome = await run_in_threadpool(
            self.decisions.decide, asked.numbers, asked.decision, asked.label, seen, client=asked.client
        )
        return self._told(outcome)

    async def _undo(self, request: Request) -> Response:
        asked = await _asked(request, _Undo)
        try:
            outcome = await run_in_threadpool(self.decisions.undo, asked.action, client=asked.client)
        except KeyError:
            raise HTTPException(400, "There is no such action to be undone.") from None
        return self._told(outcome)

    def _told(self, outcome: Outcome) -> Response:
        opinions = {number: self.state.opinion(number) for number in outcome.moved}
        refused = [asdict(one) | asdict(self.state.opinion(one.number)) for one in outcome.refused]
        moved = [[number, opinion.verdict, opinion.label] for number, opinion in opinions.items()]
        return JSONResponse({"action": outcome.action, "moved": moved, "refused": refused})


def _number(text: str, below: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < below):
        raise HTTPException(404)
    return int(text)


async def _asked(request: Request, model: type[_Model]) -> _Model:
    """The request's body. Raises HTTPException where it is not what is asked for."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX_BYTES:
            raise HTTPException(413)
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"{where or 'The request'}: {first['msg']}") from None
