"""A spoken question over the socket: heard, understood, answered."""

import asyncio

import numpy as np
import pytest

from visavis.agent.events import InputAudio
from visavis.client import Client
from visavis.emotion import Emotion

TOKEN = "a-token-that-only-tests-know"
ASKED = "How big is the blue whale?"


def test_a_spoken_question_is_answered(agent, serving, tmp_path):
    pytest.importorskip("pocketsphinx", reason="needs the extra `speech`")
    pytest.importorskip("espeakng_loader", reason="needs the extra `speech`")
    from visavis.agent.turn_taking import Hearing
    from visavis.speech import open_voice
    from visavis.speech.grammar import GrammarRecogniser

    voice = open_voice("en-us+m3")
    speech = voice.speak(ASKED, Emotion())
    voice.close()
    rate = speech.sample_rate_hz
    noise = np.random.default_rng(0).normal(0, 10, len(speech.samples) + 3 * rate)
    sound = (np.pad(speech.samples, (rate // 2, 5 * rate // 2)) + noise).astype(np.int16)

    def open_session(persona, name):
        return agent.session(name, hearing=Hearing(GrammarRecogniser(["how big is the blue whale", "hello there"])))

    async def talk(url):
        seen = []
        async with Client(url, TOKEN) as client:
            session = await client.open("guide")
            async with session.events() as events, asyncio.timeout(60):
                for at in range(0, len(sound), rate // 5):
                    await events.send(InputAudio(pcm=sound[at : at + rate // 5], sample_rate_hz=rate))
                async for event in events:
                    seen.append(event)
                    if event.type == "response.done":
                        break
        return seen

    with serving(open_session) as one:
        seen = asyncio.run(talk(one.url))
    kinds = [event.type for event in seen]
    assert kinds.index("input.speech_started") < kinds.index("input.speech_stopped") < kinds.index("response.created")
    heard = [event.text for event in seen if event.type == "input.transcript" and event.final]
    assert heard[-1] == "how big is the blue whale"
    assert seen[-1].turn["text"] == "The blue whale is about thirty metres long."
