"""The demo as users meet it: `visavis ui` with the shipped models, driven by a browser."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest
from test_page import LINE, SHOTS, browsing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def demo():
    process = subprocess.Popen(
        [sys.executable, "-m", "visavis", "ui", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                yield found[0]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.terminate()
        process.wait(20)


def test_the_demo_answers_with_voice_face_and_body(chromium, demo, tmp_path):
    with browsing(chromium, demo, tmp_path) as browser:
        browser.until(lambda d: d["motionFramesApplied"] > 5, "the idle body moves")
        browser.say(LINE)
        wrists, best = [], 0.0
        end = time.monotonic() + 120
        while time.monotonic() < end and not browser.debug("turnsEnded"):
            now = browser.debug()
            wrists.append(now["leftWrist"] + now["rightWrist"])
            height = max(now["leftWrist"][1], now["rightWrist"][1])
            if SHOTS and now["source"] != "idle" and height > best + 0.02:
                best = height
                browser.shoot("demo")
            browser.page.wait_for_timeout(60)
        ended = browser.until(lambda d: d["turnsEnded"] == 1, "the turn ends")
        assert ended["audible"] and ended["audioPeak"] > 0.05 and ended["audioSeconds"] > 1.0
        assert ended["jawOpenMost"] > 0.1
        assert np.ptp(np.array(wrists), axis=0).max() > 0.1
        assert "thirty metres long" in browser.page.locator("#vv-chat").inner_text()
        assert not browser.foreign
        assert not browser.complaints
