"""The web page: a chat beside the avatar, in Gradio. The words come through Gradio, body and voice over the socket."""

from __future__ import annotations

import asyncio
import html
import json
import os
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from visavis.agent.events import ErrorEvent, ResponseDone, ResponseInterrupted, TextDelta
from visavis.agent.persona import Persona, load_persona, presets
from visavis.errors import MissingExtraError, UsageError
from visavis.motion.expressions import fitted_presets, preset_shapes
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.skeleton import default_skeleton
from visavis.ui.avatar import avatar_version
from visavis.ui.conversation import ChatSession, Conversation, Conversations
from visavis.ui.server import build_app, listen, run, viewer_version

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["build_page", "launch"]

Messages = list[dict[str, str]]

EXAMPLES = ("Hello! How big is the blue whale?", "Show me something tiny.", "Do I have to go this way or that way?")


class Agent(Protocol):
    """What the page needs of an agent (`visavis.agent.Agent`)."""

    @property
    def persona(self) -> Persona:
        """Who it is."""
        ...

    def session(self) -> ChatSession:
        """A new conversation."""
        ...


def launch(
    agent: Agent,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = False,
    open_agent: Callable[[str], Agent] | None = None,
    avatar: str | Path | None = None,
) -> None:
    """Serve the page until interrupted (`visavis ui`).

    Args:
        agent: who speaks first.
        host: where to listen; this machine alone by default.
        port: where to listen; 0 takes a free one.
        open_browser: whether to show the page at once.
        open_agent: makes the agent of another preset when the user chooses it; without, there is no choice.
        avatar: whom the page shows: a shipped avatar's name or a `.vrm` file.

    Raises:
        UsageError: the address or the avatar cannot be used.
        MissingExtraError: Gradio is not installed.
    """
    listener = listen(host, port)
    try:
        app = build_page(agent, open_agent, avatar)
    except BaseException:
        listener.close()
        raise
    bound = listener.getsockname()
    url = f"http://{bound[0]}:{bound[1]}/"

    def ready() -> None:
        print(f"visavis is ready: {url}", flush=True)
        if open_browser:
            webbrowser.open(url)

    try:
        run(app, listener, ready)
    finally:
        app.state.cast.close()


def build_page(
    agent: Agent, open_agent: Callable[[str], Agent] | None = None, avatar: str | Path | None = None
) -> FastAPI:
    """The application: our socket and files, and the Gradio page at the root. Arguments as in `launch`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio as gr
    except ImportError as error:
        raise MissingExtraError("the web page", "ui") from error

    app = build_app(agent.session, avatar)
    app.state.cast = _Cast(agent, open_agent)
    blocks = _blocks(gr, app.state.conversations, app.state.cast, _avatar_script(avatar))
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


class _Cast:
    """The agents that can be spoken to; those beside the first are made when they are first chosen."""

    def __init__(self, agent: Agent, open_agent: Callable[[str], Agent] | None) -> None:
        self._open_agent = open_agent
        self._agents = {"": agent}
        self._lock = threading.Lock()

    @property
    def choices(self) -> list[tuple[str, str]]:
        """(label, name) of everybody; the first agent's name is empty."""
        first = self._agents[""].persona
        others = [] if self._open_agent is None else [(name, load_persona(name)) for name in presets()]
        labelled = [("", first), *((name, persona) for name, persona in others if persona != first)]
        return [(f"{persona.name}, {persona.role}", name) for name, persona in labelled]

    def agent(self, name: str) -> Agent:
        """The agent of a name from `choices`; may take a while."""
        with self._lock:
            if name not in self._agents:
                if self._open_agent is None or name not in presets():
                    raise UsageError(f"expected one of {', '.join(presets())}; got {name!r}")
                self._agents[name] = self._open_agent(name)
            return self._agents[name]

    def close(self) -> None:
        """Close the agents that were made here; the first belongs to the caller."""
        for name, agent in self._agents.items():
            if name and (close := getattr(agent, "close", None)) is not None:
                close()


def _asset(name: str) -> str:
    return (files("visavis.ui") / "assets" / name).read_text("utf-8")


def _avatar_script(avatar: str | Path | None) -> str:
    """The page's side of the viewer, with what it must know filled in."""
    skeleton = default_skeleton()
    known = {
        "version": viewer_version(),
        "avatar": avatar_version(avatar),
        "bones": list(skeleton.names),
        "morphs": list(ARKIT_NAMES),
        "hips_height": float(skeleton.offsets_m[0, 1]),
        "presets": {name: dict(preset_shapes()[name]) for name in (*fitted_presets(), "blink")},
    }
    return _asset("avatar.js").replace("__KNOWN__", json.dumps(known))


def _blocks(gr: Any, conversations: Conversations, cast: _Cast, script: str) -> Any:
    """The layout and its wiring."""
    handlers = _Handlers(conversations, cast, gr.skip())
    choices = cast.choices
    with gr.Blocks(title="visavis", analytics_enabled=False, fill_width=True) as blocks:
        session_id = gr.State("", delete_callback=conversations.close)
        with gr.Row(elem_id="vv-page", equal_height=False):
            with gr.Column(scale=6, min_width=300, elem_id="vv-left"):
                stage = gr.HTML(
                    value={},
                    html_template="<div class='vv-host'></div>",
                    js_on_load=script,
                    elem_id="vv-avatar",
                    apply_default_css=False,
                )
            with gr.Column(scale=5, min_width=300, elem_id="vv-right"):
                with gr.Row(elem_id="vv-bar"):
                    persona = gr.Dropdown(
                        choices, value="", label="Who", container=False, scale=4, filterable=False,
                        interactive=len(choices) > 1, elem_id="vv-persona",
                    )  # fmt: skip
                    voice = gr.Checkbox(True, label="Voice", container=False, scale=1, min_width=80, elem_id="vv-voice")
                chat = gr.Chatbot(
                    show_label=False, elem_id="vv-chat", height="100%", buttons=[],
                    feedback_options=None, group_consecutive_messages=False, render_markdown=False,
                )  # fmt: skip
                with gr.Row(elem_id="vv-say-row"):
                    say = gr.Textbox(
                        placeholder="Say something …", label="Say something", show_label=False, container=False,
                        lines=1, max_lines=4, autofocus=True, scale=6, elem_id="vv-say",
                    )  # fmt: skip
                    send = gr.Button("Send", variant="primary", scale=1, min_width=70, elem_id="vv-send")
                    stop = gr.Button("Stop", variant="stop", scale=1, min_width=70, elem_id="vv-stop")
                gr.Examples([[line] for line in EXAMPLES], inputs=say, label="Try", elem_id="vv-examples")

        blocks.load(handlers.open, [persona, session_id], [session_id, stage, chat], show_progress="hidden")
        gr.on(
            [say.submit, send.click], handlers.respond, [say, session_id], [say, chat], js=_TAKE,
            trigger_mode="multiple", concurrency_limit=None, show_progress="hidden",
        )  # fmt: skip
        stop.click(handlers.stop, [session_id], [chat], js=_CALL.format("stop()"), show_progress="hidden")
        voice.change(None, [voice], None, js=_CALL.format("mute(!on)"))
        persona.change(handlers.change, [persona, session_id], [chat], show_progress="hidden")
    blocks.queue(default_concurrency_limit=None)
    return blocks


# Runs in the browser; the viewer hangs on its element and takes no value, so the inputs are handed on.
_CALL = "(on) => {{ document.querySelector('#vv-avatar .vv-host')?.visavis?.{}; return [on]; }}"

# The line is taken out of its box here, at once: cleared from the server, the box would lose what is typed meanwhile.
# While the connection is lost it stays.
_TAKE = """(text, id) => {
  const box = document.querySelector('#vv-say textarea');
  const lost = document.querySelector('#vv-avatar .vv-host')?.visavis?.debug.connection === 'reconnecting';
  if (text && !lost && box?.value.startsWith(text)) {
    box.value = box.value.slice(text.length);
    box.dispatchEvent(new Event('input', { bubbles: true }));
  }
  return [text, id];
}"""


class _Handlers:
    """What happens on the page's events, on the server's loop."""

    def __init__(self, conversations: Conversations, cast: _Cast, unchanged: Any) -> None:
        self._conversations = conversations
        self._cast = cast
        self._unchanged = unchanged  # what leaves a component as it is

    async def open(self, persona: str, id_: str) -> tuple[str, dict[str, str], Messages]:
        """The page was loaded: a conversation of its own."""
        conversation = self._conversations.get(id_) or self._conversations.open()
        return conversation.id, {"session": conversation.id}, await self._begin(conversation, persona)

    async def respond(self, text: str, id_: str) -> AsyncIterator[tuple[Any, Messages]]:
        """Stream the words of the answer into the chat; the box gets a line back that cannot be said."""
        conversation = self._find(id_)
        if not text.strip():
            yield self._unchanged, _shown(conversation.messages)
            return
        try:
            await conversation.say(text)
        except UsageError as error:
            yield text, _shown([*conversation.messages, {"role": "assistant", "content": str(error)}])
            return
        with conversation.watch() as queue:
            yield self._unchanged, _shown(conversation.messages)
            while (event := await queue.get()) is not None:
                if isinstance(event, TextDelta | ErrorEvent):
                    yield self._unchanged, _shown(conversation.messages)
                elif isinstance(event, ResponseDone | ResponseInterrupted):
                    break
        yield self._unchanged, _shown(conversation.messages)

    async def stop(self, id_: str) -> Messages:
        """Stop what is being said."""
        conversation = self._find(id_)
        await conversation.cancel()
        return _shown(conversation.messages)

    async def change(self, persona: str, id_: str) -> Messages:
        """Another persona: the conversation begins anew."""
        return await self._begin(self._find(id_), persona)

    async def _begin(self, conversation: Conversation, persona: str) -> Messages:
        agent = await asyncio.to_thread(self._cast.agent, persona)
        await conversation.begin(agent.session(), agent.persona.greeting)
        return _shown(conversation.messages)

    def _find(self, id_: str) -> Conversation:
        conversation = self._conversations.get(id_)
        if conversation is None:
            raise UsageError("this conversation has ended: reload the page")
        return conversation


def _shown(messages: Messages) -> Messages:
    """Words as they were typed and said: Gradio's chat takes them for HTML, also without Markdown."""
    return [{**message, "content": html.escape(message["content"], quote=False)} for message in messages]
