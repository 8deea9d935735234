"""`visavis serve`: from the command line to a running server."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from visavis.agent.persona import Persona
from visavis.agent.turn_taking import Hearing
from visavis.speech.recognisers import open_recogniser
from visavis.ui.api.access import ENVIRONMENT, Access
from visavis.ui.api.app import DRAIN_S, build_api
from visavis.ui.api.limits import Limits
from visavis.ui.api.pool import AgentPool, known_personas
from visavis.ui.api.rest import Facts
from visavis.ui.api.tracing import start_tracing

__all__ = ["serve"]


def serve(args: argparse.Namespace, make: Callable[[Persona], Any]) -> int:
    """Serve until interrupted; the exit status.

    Args:
        args: host, port, persona, recogniser, allow_origin, sessions, idle, trace, quiet.
        make: the agent of a persona.
    """
    from visavis.ui.server import listen, run

    access = Access(origins=args.allow_origin)
    personas = known_personas(args.persona)
    hear = None if args.recogniser is None else lambda: Hearing(open_recogniser(args.recogniser))
    if hear is not None:
        open_recogniser(args.recogniser).close()  # what is missing is told now, not to the first client
    pool = AgentPool(make, personas, hear)
    first = make(next(iter(personas.values())))
    pool.adopt(next(iter(personas)), first)
    limits = Limits(sessions=args.sessions, idle_s=float(args.idle))
    app = build_api(pool.open, Facts(version("visavis"), personas, first.tools.library), access, limits)
    listener = listen(args.host, args.port)
    host, port = listener.getsockname()[:2]

    def ready() -> None:
        if not args.quiet:
            print(f"visavis serves http://{host}:{port}/v1 (OpenAPI: /v1/openapi.json)", flush=True)
        if access.made:  # nobody could come in without it
            print(f"token (set {ENVIRONMENT} to choose it): {access.token}", flush=True)

    stop_tracing = start_tracing() if args.trace else None
    try:
        run(app, listener, ready, lambda: app.state.sessions.drain(DRAIN_S))
    finally:
        pool.close()
        if stop_tracing is not None:
            stop_tracing()
    return 0
