"""Requests and answers of the server, under `/v1`; FastAPI describes them as OpenAPI at `/v1/openapi.json`.

Errors have one shape: `{"error": {"code", "message"}}`, where the message says what was expected, what came and what
to do. Annotations are evaluated here, because FastAPI reads them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from visavis.errors import LexiconError, PersonaError, ServiceError, UsageError, VisavisError
from visavis.ui.api.guard import problem
from visavis.ui.api.sessions import Full, Hosted, HostedSessions

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from visavis.agent.persona import Persona
    from visavis.retrieval.library import Library

__all__ = ["Facts", "Health", "NewSession", "SessionInfo", "add_errors", "router"]

EXAMPLES = [{"voice": "en-us+f3", "rate": 1.2, "emotion": {"name": "joy", "intensity": 0.6}, "listening": True}]
Line = Annotated[str, Field(min_length=1, max_length=50_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Health(BaseModel):
    """Whether the server works; `draining` ones take no new sessions."""

    status: Literal["ok", "draining"]
    version: str
    sessions: int
    room: int = Field(description="sessions that could still be opened")


class NewSession(_Strict):
    """Open a session."""

    persona: Annotated[str, Field(max_length=80)] | None = Field(
        None, description="its name; the server's first if none"
    )
    id: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="to take up what is kept of a session; without it a new one that cannot be guessed"
    )


class Words(_Strict):
    """Words of the partner to answer, or for the agent to say as they are: one of the two."""

    text: Line | None = None
    say: Line | None = None


class Happening(_Strict):
    """Something that is not speech: approach, leave, silence, typing_started or typing_stopped."""

    name: Annotated[str, Field(max_length=80)]


class Reaction(BaseModel):
    """What follows from it."""

    turn_id: str | None = Field(description="the turn that is said, if one is; its events come by the session's socket")


class TurnInfo(BaseModel):
    """A turn that was accepted; its events come by the session's socket."""

    turn_id: str


class SessionInfo(BaseModel):
    """An open session."""

    id: str
    persona: str
    state: str
    readers: int
    events: str = Field(description="path of the WebSocket")


class Said(BaseModel):
    """One line of a conversation; of an interrupted answer what was heard."""

    speaker: Literal["user", "agent"]
    text: str


class PersonaInfo(BaseModel):
    """A persona."""

    id: str
    name: str
    role: str
    topics: list[str]


class GestureInfo(BaseModel):
    """A gesture of the library."""

    gloss: str
    meaning: str
    clip: str
    score: float | None = Field(None, description="how well it fits the text that was asked for, in [0, 1]")


class Interrupted(BaseModel):
    """Whether anything was under way."""

    interrupted: bool


@dataclass(frozen=True)
class Facts:
    """What the server knows beside its sessions."""

    version: str
    personas: "Mapping[str, Persona]"
    library: "Library"


def router(sessions: HostedSessions, facts: Facts) -> "APIRouter":
    """The routes."""
    from fastapi import APIRouter, Body, HTTPException, Query, Response, status

    routes = APIRouter(prefix="/v1")

    def found(session_id: str) -> Hosted:
        hosted = sessions.get(session_id)
        if hosted is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "expected the id of an open session: open one first")
        hosted.touch()
        return hosted

    def told(hosted: Hosted) -> SessionInfo:
        events = f"/v1/sessions/{hosted.id}/events"
        return SessionInfo(
            id=hosted.id, persona=hosted.persona, state=hosted.session.state, readers=hosted.readers, events=events
        )

    @routes.get("/health")
    async def health() -> Health:
        """Whether the server works. Needs no token."""
        return Health(
            status="draining" if sessions.draining else "ok",
            version=facts.version,
            sessions=len(sessions),
            room=max(sessions.most - len(sessions), 0),
        )

    @routes.get("/personas")
    async def personas() -> list[PersonaInfo]:
        """Whom one can talk to."""
        return [
            PersonaInfo(id=key, name=one.name, role=one.role, topics=[card.topic for card in one.cards])
            for key, one in facts.personas.items()
        ]

    @routes.get("/library")
    async def library(
        text: Annotated[str | None, Query(max_length=2000)] = None, k: Annotated[int, Query(ge=1, le=100)] = 5
    ) -> list[GestureInfo]:
        """Every gesture; with `text` the `k` that fit it, best first."""
        if text is None or not text.strip():
            return [
                GestureInfo(gloss=one.gloss, meaning=one.meaning, clip=f"{one.gloss}/plain", score=None)
                for one in facts.library.lexicon.values()
            ]
        hits = await asyncio.to_thread(facts.library.search, text, k)
        return [
            GestureInfo(gloss=hit.gloss, meaning=hit.meaning, clip=hit.clip, score=round(float(hit.score), 4))
            for hit in hits
        ]

    @routes.post("/sessions", status_code=status.HTTP_201_CREATED)
    async def open_session(wish: NewSession) -> SessionInfo:
        """Open a session."""
        return told(await sessions.open(wish.persona or next(iter(facts.personas)), wish.id))

    @routes.get("/sessions")
    async def all_sessions() -> list[SessionInfo]:
        """The open sessions."""
        return [told(hosted) for hosted in sessions]

    @routes.get("/sessions/{session_id}")
    async def one_session(session_id: str) -> SessionInfo:
        """One session."""
        return told(found(session_id))

    @routes.delete("/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def close_session(session_id: str) -> Response:
        """End a session; what is kept of it stays."""
        await sessions.close(found(session_id).id)
        return Response(status_code=status.HTTP_204_NO_CONTENT)

    @routes.patch("/sessions/{session_id}")
    async def update(session_id: str, settings: Annotated[dict[str, Any], Body(examples=EXAMPLES)]) -> SessionInfo:
        """Change settings from the next turn on: voice, rate, emotion, gestures, refine, scene, listening.

        Those that are not given stay as they are; if one cannot be, none is changed.
        """
        hosted = found(session_id)
        await asyncio.to_thread(lambda: hosted.session.update(**settings))
        return told(hosted)

    @routes.post("/sessions/{session_id}/happenings")
    async def happening(session_id: str, what: Happening) -> Reaction:
        """Somebody comes or leaves, keeps silent or types."""
        return Reaction(turn_id=await asyncio.to_thread(found(session_id).session.happened, what.name))

    @routes.get("/sessions/{session_id}/history")
    async def history(session_id: str) -> list[Said]:
        """What was said, and of interrupted answers what was heard."""
        said = found(session_id).session.history
        return [Said(speaker="user" if who == "user" else "agent", text=text) for who, text in said]

    @routes.post("/sessions/{session_id}/turns", status_code=status.HTTP_202_ACCEPTED)
    async def turn(session_id: str, words: Words) -> TurnInfo:
        """Answer the partner's words, or say a text; the turn comes by the session's events."""
        session = found(session_id).session
        return TurnInfo(turn_id=await asyncio.to_thread(session.submit, words.text, say=words.say))

    @routes.post("/sessions/{session_id}/interrupt")
    async def interrupt(session_id: str) -> Interrupted:
        """End what is being said."""
        return Interrupted(interrupted=await asyncio.to_thread(found(session_id).session.interrupt))

    return routes


def add_errors(app: "FastAPI") -> None:
    """Give every error its one shape."""
    from fastapi import Request, Response
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    def answer(status: int, code: str, message: str, again_s: float | None = None) -> Response:
        headers = {} if again_s is None else {"Retry-After": str(max(1, round(again_s)))}
        return Response(problem(code, message), status, headers, media_type="application/json")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "wrong_method"}
        return answer(error.status_code, codes.get(error.status_code, "refused"), str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return answer(422, "invalid", f"{where}: {first['msg']}")

    @app.exception_handler(VisavisError)
    async def misused(request: Request, error: VisavisError) -> Response:
        if isinstance(error, Full):
            return answer(503, "full", str(error), error.again_s)
        if isinstance(error, ServiceError):
            return answer(502, "service", str(error))
        known = {PersonaError: "persona", LexiconError: "lexicon", UsageError: "usage"}
        code = next((name for kind, name in known.items() if isinstance(error, kind)), "usage")
        return answer(422, code, str(error))
