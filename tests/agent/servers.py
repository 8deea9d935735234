"""HTTP servers for tests: one that says what it is told, and one that speaks vLLM's protocol over a model of ours."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import Sampling

Answer = Any  # a JSON value, (status, JSON value), or an iterator of server-sent events


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter."""


@contextmanager
def http_server(answer: Callable[[str, str, dict[str, Any], dict[str, str]], Answer], port: int = 0) -> Iterator[str]:
    """Serve `answer(method, path, body, headers)`; the address with /v1. Closing it breaks open streams off."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as real servers do

        def log_message(self, *args: Any) -> None:
            """Quiet."""

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            if closing.is_set():
                self.close_connection = True
                return
            found = answer(self.command, self.path, body, dict(self.headers))
            if isinstance(found, Iterator):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                for event in found:
                    if closing.is_set() or event is None:  # None: break off
                        return
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")
                return
            status, value = found if isinstance(found, tuple) else (200, found)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _do

    server = _Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class VllmDouble:
    """vLLM's /v1/completions for ids, computed by an embedded engine: what the real one does, without its minute.

    Only what `VllmEngine` asks for: streams under allowed ids, bias, stops or a grammar of ids; log-probabilities of
    named ids; those of a prompt. `bodies` are the requests; `dies_after` ids of a stream it breaks off.
    """

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.bodies: list[dict[str, Any]] = []
        self.dies_after: int | None = None
        self.wild = False  # ignores what is allowed

    def __call__(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        if path == "/health":
            return {}
        if path == "/v1/models":
            return {"data": [{"id": "tiny", "max_model_len": self.engine.context}]}
        assert path == "/v1/completions", path
        self.bodies.append(body)
        if body.get("stream"):
            return self._stream(body)
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        return {"choices": [self._whole(number, ids, body) for number, ids in enumerate(prompts)]}

    def _whole(self, number: int, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": number}
        if "structured_outputs" in body:
            choice["token_ids"] = list(self._write(ids, body))
            choice["text"] = " ".join(self.engine.vocabulary.name(id_) for id_ in choice["token_ids"])
        if "logprob_token_ids" in body:
            asked = _Asked([body["logprob_token_ids"]], {})
            list(self.engine.generate(ids, asked, limit=1))
            row = {f"token_id:{id_}": value for id_, value in asked.shown.items()}
            choice["logprobs"] = {"top_logprobs": [row]}
        if "prompt_logprobs" in body:
            logs = self.engine.score(ids[:1], ids[1:])
            choice["prompt_logprobs"] = [
                None,
                *({str(i): {"logprob": float(v)}} for i, v in zip(ids[1:], logs, strict=True)),
            ]
        return choice

    def _stream(self, body: dict[str, Any]) -> Iterator[Any]:
        for number, id_ in enumerate(self._write(body["prompt"], body)):
            if self.dies_after is not None and number >= self.dies_after:
                yield None
            yield {"choices": [{"index": 0, "token_ids": [id_]}]}

    def _write(self, prompt: list[int], body: dict[str, Any]) -> Iterator[int]:
        every = [body.get("allowed_token_ids") or list(range(self.engine.vocabulary.size))] * body["max_tokens"]
        sets = _sets(body["structured_outputs"]["grammar"]) if "structured_outputs" in body else every
        sampling = Sampling(body["temperature"], max(body.get("top_k", 0), 0), body.get("seed", 0))
        asked = _Asked(sets, {int(id_): bias for id_, bias in body.get("logit_bias", {}).items()})
        written = self.engine.generate(
            prompt, asked, sampling=sampling, stop=body.get("stop_token_ids", ()), limit=body["max_tokens"]
        )
        for id_ in written:
            yield 0 if self.wild else id_


class _Asked:
    """What a request allows, as a constraint."""

    def __init__(self, sets: list[list[int]], bias: dict[int, float]) -> None:
        self.sets, self.bias, self.shown, self.place = sets, bias, dict[int, float](), 0

    def allowed(self) -> np.ndarray:
        return np.unique(self.sets[self.place] if self.place < len(self.sets) else []).astype(np.int64)

    def weigh(self, ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        self.shown = dict(zip(ids.tolist(), logits.tolist(), strict=True))
        return logits + np.array([self.bias.get(int(id_), 0.0) for id_ in ids], np.float32)

    def accept(self, id_: int) -> None:
        self.place += 1


def _sets(grammar: str) -> list[list[int]]:
    """What `visavis.agent.vllm_engine.id_grammar` wrote."""
    assert re.fullmatch(r"start:( <\[\d+(-\d+)?(,\d+(-\d+)?)*\]>)+", grammar), grammar
    out = []
    for ranges in re.findall(r"<\[([^\]]+)\]>", grammar):
        ends = [[int(end) for end in part.split("-")] for part in ranges.split(",")]
        out.append([id_ for first, *last in ends for id_ in range(first, (last or [first])[0] + 1)])
    return out
