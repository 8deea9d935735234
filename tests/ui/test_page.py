"""The page in a real browser: it speaks, moves, attends, stops, and talks to nobody but this machine."""

import contextlib
import gc
import os
import re
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from replay import ReplayAgent, serving

from visavis.errors import UsageError
from visavis.ui.page import build_page, launch

# Of the browser's driver and of Gradio's own server, not ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LINE = "Hello! How big is the blue whale?"
FLAGS = (
    "--no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--autoplay-policy=no-user-gesture-required"
).split()
# Shots to look at are written where this variable points.
SHOTS = os.environ.get("VISAVIS_SHOTS")


class Browser:
    """One page with what it said and asked for."""

    def __init__(self, page):
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("request", lambda r: self.requests.append(r.url))
        page.on("websocket", lambda w: self.requests.append(w.url))

    def debug(self, name=None):
        found = self.page.evaluate("document.querySelector('#vv-avatar .vv-host')?.visavis?.debug ?? null")
        return found if name is None else (found or {}).get(name)

    def until(self, condition, what, seconds=40):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.debug()
            if found and condition(found):
                return found
            self.page.wait_for_timeout(60)
        raise AssertionError(f"not within {seconds} s: {what}; {self.debug()}; {self.complaints}")

    def say(self, text):
        box = self.page.locator("#vv-say textarea")
        box.fill(text)
        box.press("Enter")

    def shoot(self, name):
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png")

    @property
    def foreign(self):
        own = ("127.0.0.1", "localhost", None)
        return [u for u in self.requests if not u.startswith(("data:", "blob:")) and urlsplit(u).hostname not in own]


@contextlib.contextmanager
def browsing(chromium, url, folder, width=1280, height=800, script=""):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        context = tool.chromium.launch_persistent_context(
            folder,
            executable_path=chromium,
            headless=True,
            args=list(FLAGS),
            viewport={"width": width, "height": height},
        )
        try:
            browser = Browser(context.pages[0])
            browser.page.add_init_script(script)
            browser.page.goto(url)
            browser.until(lambda d: d["ready"], "the avatar is shown")
            yield browser
        finally:
            context.close()


@pytest.fixture(autouse=True)
def _collected():
    """The driver's event loops are thrown away unclosed: collect them here, where that is ignored."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def agent():
    return ReplayAgent(pause_s=0.2)


@pytest.fixture(scope="module")
def url(agent):
    with serving(agent) as address:
        yield address


@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_line_is_answered_with_voice_face_and_hands(chromium, url, agent, tmp_path, width, height):
    with browsing(chromium, url, tmp_path, width, height) as browser:
        page = browser.page
        resting = browser.until(lambda d: d["motionFramesApplied"] > 5, "the idle body moves")
        assert resting["missing"] == []
        browser.shoot(f"idle_{width}")
        page.locator("#vv-say textarea").fill("H")
        page.wait_for_timeout(500)
        assert agent.typing[-1] == "typing_started"
        browser.say(LINE)
        wrists, sources = [], set()
        end = time.monotonic() + 60
        while time.monotonic() < end and not browser.debug("turnsEnded"):
            now = browser.debug()
            wrists.append(now["leftWrist"] + now["rightWrist"])
            sources.add(now["source"])
            if 1.0 < now["positionS"] < 2.6:
                browser.shoot(f"speaking_{width}")
            page.wait_for_timeout(80)
        ended = browser.until(lambda d: d["turnsEnded"] == 1, "the turn ends")
        duration_s = 3.0
        assert ended["audible"]
        assert ended["audioSeconds"] > 0.7 * duration_s
        assert ended["audioPeak"] > 0.05
        assert ended["jawOpenMost"] > 0.1
        travel = np.ptp(np.array(wrists), axis=0)
        assert travel[:3].max() > 0.15, "the left wrist"
        assert travel[3:].max() > 0.15, "the right wrist"
        assert any(source.startswith("turn-") for source in sources)
        assert ended["source"] == "idle"
        assert agent.typing[-1] == "typing_stopped"
        assert "thirty metres long" in page.locator("#vv-chat").inner_text()
        glosses = page.locator(".vv-gesture").all_inner_texts()
        assert glosses == ["greeting wave", "huge size"]
        assert page.locator(".vv-emotion").inner_text() == "joy 70 %"
        browser.shoot(f"after_{width}")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, "the page must not scroll sideways"
        for selector in ("#vv-send", "#vv-stop", "#vv-say textarea", "#vv-persona", "#vv-voice"):
            box = page.locator(selector).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, selector
            assert box["y"] + box["height"] <= height, selector
        assert browser.debug("errors") == []
        assert browser.complaints == []
        assert browser.foreign == []


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_stop_persona_and_reconnection(chromium, url, agent, tmp_path):
    with browsing(chromium, url, tmp_path) as browser:
        page = browser.page
        browser.say(LINE)
        browser.until(lambda d: d["positionS"] > 0.5, "it speaks")
        page.evaluate("document.querySelector('#vv-stop').click()")  # at once: the driver waits for slow frames
        browser.until(lambda d: d["source"] == "idle" and not d["turnId"], "it stops", 10)
        page.wait_for_function("document.querySelector('#vv-chat').innerText.includes('…')")
        told = [t for s in agent.sessions for t in s.told_heard]
        assert told and 0.2 < told[-1][2] < 3.5

        before = browser.debug("motionFramesApplied")
        browser.until(lambda d: d["motionFramesApplied"] > before + 5, "the body goes on", 20)

        page.locator("#vv-persona input").click()
        page.get_by_role("option", name=re.compile("Robin")).click()
        page.wait_for_function("document.querySelector('#vv-chat').innerText.includes('good to see you')")

        # The server's side of the socket goes away: the viewer says so, goes on moving, and comes back.
        context = page.context
        context.set_offline(True)
        page.evaluate("document.querySelector('#vv-avatar .vv-host').visavis.reconnect()")
        browser.until(lambda d: d["connection"] == "reconnecting", "the loss is shown", 10)
        assert "connection lost" in page.locator(".vv-state").inner_text()
        before = browser.debug("motionFramesApplied")
        browser.until(lambda d: d["motionFramesApplied"] > before + 5, "the body goes on alone", 20)
        context.set_offline(False)
        browser.until(lambda d: d["connection"] == "open", "it is connected again", 30)
        assert browser.debug("errors") == []
        assert browser.foreign == []

        # What is sent while the connection is lost stays where it is. (Gradio then loads the page anew.)
        context.set_offline(True)
        page.evaluate("document.querySelector('#vv-avatar .vv-host').visavis.reconnect()")
        browser.until(lambda d: d["connection"] == "reconnecting", "the loss is shown again", 10)
        browser.say("Are you there?")
        page.wait_for_timeout(300)
        assert page.locator("#vv-say textarea").input_value() == "Are you there?", "it waits to be said"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_is_typed_while_an_answer_comes_stays_and_words_are_shown_as_typed(chromium, url, tmp_path):
    with browsing(chromium, url, tmp_path) as browser:
        page, box = browser.page, browser.page.locator("#vv-say textarea")
        browser.say("a <b>bold</b> word & more")
        page.keyboard.type("and then")
        page.wait_for_function("document.querySelector('#vv-chat').innerText.includes('thirty metres')")
        browser.until(lambda d: d["turnsEnded"] == 1, "the turn ends")
        assert box.input_value() == "and then"
        assert "a <b>bold</b> word & more" in page.locator("#vv-chat").inner_text()
        # A line that cannot be said comes back, with the reason.
        long = "word " * 500
        browser.say(long)
        page.wait_for_function("document.querySelector('#vv-chat').innerText.includes('2,000 characters')")
        page.wait_for_function("document.querySelector('#vv-say textarea').value.length === 2500")
        assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.parametrize(("width", "height"), [(844, 390), (768, 1024), (320, 568)])
def test_it_fits_phones_and_tablets_as_they_are_held(chromium, url, tmp_path, width, height):
    with browsing(chromium, url, tmp_path, width, height) as browser:
        page = browser.page
        over = "(({scrollWidth: w, scrollHeight: h}) => Math.max(w - innerWidth, h - innerHeight))"
        assert page.evaluate(f"{over}(document.documentElement)") <= 0, "nothing is out of sight"
        box = {s: page.locator(s).bounding_box() for s in ("#vv-avatar", "#vv-chat", "#vv-say textarea", "#vv-send")}
        assert box["#vv-avatar"]["height"] > 0.4 * height and box["#vv-avatar"]["width"] > 0.45 * width
        assert box["#vv-say textarea"]["width"] > 0.45 * box["#vv-chat"]["width"]
        assert box["#vv-send"]["y"] + box["#vv-send"]["height"] <= height
        browser.shoot(f"fits_{width}x{height}")


# The driver's own scripts count as clicks, so the browser's rule is played by hand: silent until a real click.
BLOCK_SOUND = """
addEventListener("pointerdown", (event) => { window.clicked = event.isTrusted; }, true);
window.AudioContext = class extends AudioContext {
  constructor(options) { super(options); super.suspend(); }
  resume() { return window.clicked ? super.resume() : Promise.resolve(); }
};
"""


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_blocked_sound_does_not_stop_the_body(chromium, url, tmp_path):
    with browsing(chromium, url, tmp_path, script=BLOCK_SOUND) as browser:
        browser.say(LINE)
        now = browser.until(lambda d: d["positionS"] > 0.4, "the turn plays on the other clock")
        assert not now["audible"]
        assert browser.page.locator(".vv-sound").is_visible()
        browser.page.locator(".vv-sound").click()
        # On a slow machine the click comes when the turn is all but over: the next one is heard whole.
        browser.until(lambda d: d["audible"], "a click brings the voice")
        browser.until(lambda d: d["turnsEnded"] == 1, "the turn ends")
        browser.say(LINE)
        heard = browser.until(lambda d: d["audioSeconds"] > 0.3, "the voice is heard")
        assert heard["audible"]
        assert browser.complaints == []


# How many colours the avatar's canvas has right after it was given another size, before that is shown.
RESIZED = """() => new Promise((done) => {
  const canvas = document.querySelector("#vv-avatar canvas"), host = canvas.parentElement;
  const colours = () => {
    const small = new OffscreenCanvas(64, 64), pen = small.getContext("2d");
    pen.drawImage(canvas, 0, 0, 64, 64);
    return new Set(new Uint32Array(pen.getImageData(0, 0, 64, 64).data.buffer)).size;
  };
  let sizes = 0;
  new ResizeObserver(() => {
    sizes += 1;
    if (sizes === 1) host.style.width = `${host.clientWidth - 40}px`;
    else done(colours());
  }).observe(host);
})"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_new_size_is_never_shown_empty(chromium, url, tmp_path):
    with browsing(chromium, url, tmp_path) as browser:
        browser.until(lambda d: d["motionFramesApplied"] > 5, "idle motion")
        assert browser.page.evaluate(RESIZED) > 50


def test_the_page_names_no_other_machine(replay_agent):
    from starlette.testclient import TestClient

    with TestClient(build_page(replay_agent(), replay_agent)) as client:
        text = client.get("/").text
    loaded = re.findall(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?([^"' >]+)""", text)
    assert loaded
    assert [u for u in loaded if urlsplit(u).netloc not in ("", "testserver")] == []
    assert "fonts.googleapis" not in text
    assert "huggingface.co/api/telemetry" not in text


def test_a_port_in_use_is_a_usage_error(replay_agent):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot be used"):
            launch(replay_agent(), port=taken.getsockname()[1])
