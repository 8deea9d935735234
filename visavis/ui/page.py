"""The web page: a chat beside the avatar, in Gradio. The words come through Gradio, body and voice over the socket."""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from visavis.agent.events import (
    Degraded,
    ErrorEvent,
    ResponseDone,
    ResponseInterrupted,
    SessionUpdate,
    TextDelta,
)
from visavis.agent.persona import load_persona, presets
from visavis.errors import MissingExtraError, UsageError
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.skeleton import default_skeleton
from visavis.ui.conversation import ChatSession, Conversation, Conversations
from visavis.ui.server import build_app, listen, run, viewer_version

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["build_page", "launch"]

EXAMPLES = ("Hello! How big is the blue whale?", "Show me something tiny.", "Do I have to go this way or that way?")


class Agent(Protocol):
    """What the page needs of an agent."""

    def session(self) -> ChatSession:
        """A new conversation."""
        ...


def launch(agent: Agent, host: str = "127.0.0.1", port: int = 7860, open_browser: bool = False) -> None:
    """Serve the page until interrupted (`visavis ui`).

    Raises:
        UsageError: the address cannot be used.
        MissingExtraError: Gradio is not installed.
    """
    listener = listen(host, port)
    app = build_page(agent)
    bound = listener.getsockname()
    url = f"http://{bound[0]}:{bound[1]}/"

    def ready() -> None:
        print(f"visavis is ready: {url}", flush=True)
        if open_browser:
            webbrowser.open(url)

    run(app, listener, ready)


def build_page(agent: Agent, personas: Sequence[str] | None = None, persona: str | None = None) -> FastAPI:
    """The application: our socket and files, and the Gradio page at the root.

    `personas` are the names to choose from (the presets), `persona` the one the agent begins with.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio as gr
    except ImportError as error:
        raise MissingExtraError("the web page", "ui") from error

    app = build_app(agent.session)
    names = tuple(personas if personas is not None else presets())
    start = persona or getattr(agent, "preset", None) or ("guide" if "guide" in names else names[0])
    blocks = _blocks(gr, app.state.conversations, names, start)
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    return gr.mount_gradio_app(
        app,
        blocks,
        path="",
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        show_error=True,
        theme=gr.themes.Soft(primary_hue="sky", neutral_hue="slate", font=sans, font_mono=mono),
        css=_asset("page.css"),
    )


def _asset(name: str) -> str:
    return (files("visavis.ui") / "assets" / name).read_text("utf-8")


def _avatar_script() -> str:
    """The page's side of the viewer, with what it must know filled in."""
    known = {"version": viewer_version(), "bones": list(default_skeleton().names), "morphs": list(ARKIT_NAMES)}
    return _asset("avatar.js").replace("__KNOWN__", json.dumps(known))


def _greeting(name: str) -> list[dict[str, str]]:
    greeting = load_persona(name).greeting
    return [{"role": "assistant", "content": greeting}] if greeting else []


def _label(name: str) -> str:
    persona = load_persona(name)
    return f"{persona.name}, {persona.role}"


def _blocks(gr: Any, conversations: Conversations, names: Sequence[str], start: str) -> Any:
    """The layout and its wiring."""
    handlers = _Handlers(conversations)
    with gr.Blocks(title="visavis", analytics_enabled=False, fill_width=True) as blocks:
        session_id = gr.State("", delete_callback=conversations.close)
        with gr.Row(elem_id="vv-page", equal_height=False):
            with gr.Column(scale=6, min_width=300, elem_id="vv-left"):
                avatar = gr.HTML(
                    value={},
                    html_template="<div class='vv-host'></div>",
                    js_on_load=_avatar_script(),
                    elem_id="vv-avatar",
                    apply_default_css=False,
                )
            with gr.Column(scale=5, min_width=300, elem_id="vv-right"):
                with gr.Row(elem_id="vv-bar"):
                    persona = gr.Dropdown(
                        [(_label(name), name) for name in names], value=start, label="Who", container=False, scale=4,
                        filterable=False, elem_id="vv-persona",
                    )  # fmt: skip
                    voice = gr.Checkbox(True, label="Voice", container=False, scale=1, min_width=80, elem_id="vv-voice")
                chat = gr.Chatbot(
                    _greeting(start), show_label=False, elem_id="vv-chat", height="100%", buttons=[],
                    feedback_options=None, group_consecutive_messages=False, render_markdown=False,
                )  # fmt: skip
                with gr.Row(elem_id="vv-say-row"):
                    say = gr.Textbox(
                        placeholder="Say something …", show_label=False, container=False, lines=1, max_lines=4,
                        autofocus=True, scale=6, elem_id="vv-say",
                    )  # fmt: skip
                    send = gr.Button("Send", variant="primary", scale=1, min_width=70, elem_id="vv-send")
                    stop = gr.Button("Stop", variant="stop", scale=1, min_width=70, elem_id="vv-stop")
                gr.Examples([[line] for line in EXAMPLES], inputs=say, label="Try", elem_id="vv-examples")

        blocks.load(handlers.open, [persona, session_id], [session_id, avatar, chat], show_progress="hidden")
        gr.on(
            [say.submit, send.click], handlers.respond, [say, session_id], [say, chat],
            trigger_mode="multiple", concurrency_limit=None, show_progress="hidden",
        )  # fmt: skip
        stop.click(handlers.stop, [session_id], None, js=_CALL.format("stop()"), show_progress="hidden")
        voice.change(None, [voice], None, js=_CALL.format("mute(!on)"))
        persona.change(handlers.change, [persona, session_id], [chat], show_progress="hidden")
    blocks.queue(default_concurrency_limit=None)
    return blocks


# Runs in the browser; the viewer hangs on its element and takes no value, so the inputs are handed on.
_CALL = "(on) => {{ document.querySelector('#vv-avatar .vv-host')?.visavis?.{}; return [on]; }}"


class _Handlers:
    """What happens on the page's events, on the server's loop."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def open(self, persona: str, id_: str) -> tuple[str, dict[str, str], list[dict[str, str]]]:
        conversation = self._conversations.get(id_) or self._conversations.open()
        conversation.messages[:] = _greeting(persona)
        conversation.session.receive(SessionUpdate(settings={"persona": persona}))
        return conversation.id, {"session": conversation.id}, conversation.messages

    async def respond(self, text: str, id_: str) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
        """Stream the words of the answer into the chat."""
        conversation = self._find(id_)
        if not text.strip():
            yield text, conversation.messages
            return
        try:
            await conversation.say(text)
        except UsageError as error:
            yield text, [*conversation.messages, {"role": "assistant", "content": str(error)}]
            return
        answer = {"role": "assistant", "content": ""}
        with conversation.watch() as queue:
            conversation.messages.append(answer)
            yield "", conversation.messages
            while (event := await queue.get()) is not None:
                if isinstance(event, TextDelta):
                    answer["content"] = f"{answer['content']} {event.text.strip()}".strip()
                elif isinstance(event, ErrorEvent):
                    answer["content"] = event.message
                elif isinstance(event, Degraded):
                    continue
                elif isinstance(event, ResponseDone):
                    break
                elif isinstance(event, ResponseInterrupted):
                    answer["content"] = f"{event.heard.strip()} …" if event.heard else answer["content"] or "…"
                    break
                else:
                    continue
                yield "", conversation.messages
        yield "", conversation.messages

    async def stop(self, id_: str) -> None:
        await self._find(id_).cancel()

    async def change(self, persona: str, id_: str) -> list[dict[str, str]]:
        """Another persona: the conversation begins anew."""
        conversation = self._find(id_)
        await conversation.cancel()
        conversation.session.receive(SessionUpdate(settings={"persona": persona}))
        conversation.messages[:] = _greeting(persona)
        return conversation.messages

    def _find(self, id_: str) -> Conversation:
        conversation = self._conversations.get(id_)
        if conversation is None:
            raise UsageError("this conversation has ended: reload the page")
        return conversation
