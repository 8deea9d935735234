"""Record the turn that the page's tests replay: `python tests/ui/record_turn.py` (needs the extra `speech`).

Voice, face, gestures and idle body come from the library itself; nothing is drawn by hand.
"""

from pathlib import Path

import numpy as np

from visavis.emotion import Emotion
from visavis.motion.blend import overlay
from visavis.motion.idle import idle
from visavis.motion.motion import FPS
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.speech import open_voice
from visavis.speech.face import face_track
from visavis.speech.wav import resample

PATH = Path(__file__).parent / "data" / "turn.npz"
CLAUSES = (
    ("Hello!", "greeting wave", "Hello!"),
    ("The blue whale is about thirty metres long.", "huge size", "thirty"),
)
RATE_HZ = 11025


def record() -> dict[str, np.ndarray]:
    """Arrays of the turn, clause by clause: pcm, rotations, root, face, word times, gesture times."""
    emotion = Emotion("joy", 0.7)
    voice = open_voice("en-us+f3")
    lexicon, performer = load_lexicon(), Performer.neutral()
    out: dict[str, np.ndarray] = {"rate_hz": np.array(RATE_HZ)}
    at_s = 0.0
    try:
        for i, (text, gloss, anchor) in enumerate(CLAUSES):
            speech = voice.speak(text, emotion)
            frames = -(-round(speech.duration_s * FPS) // 4) * 4 + (24 if i == len(CLAUSES) - 1 else 0)
            performance = perform(lexicon[gloss], performer)
            stress_s = next(w.stress_s for w in speech.words if w.text == anchor)
            first = round((stress_s - performance.phases.stroke_s) * FPS)
            body = overlay(idle(frames, 0, at_s), performance.motion, first, performance.bones)
            out |= {
                f"text_{i}": np.array(text),
                f"gloss_{i}": np.array(gloss),
                f"start_s_{i}": np.array(at_s),
                f"pcm_{i}": resample(speech.samples, speech.sample_rate_hz, RATE_HZ),
                f"rotations_{i}": body.rotations.astype(np.float16),
                f"root_m_{i}": body.root_m.astype(np.float16),
                f"face_{i}": (face_track(speech, emotion, 0, frames / FPS) * 255).astype(np.uint8),
                f"words_{i}": np.array([w.text for w in speech.words]),
                f"word_s_{i}": np.array([[at_s + w.start_s, at_s + w.end_s] for w in speech.words]),
                f"gesture_s_{i}": at_s + np.array(performance.phases.times) + first / FPS,
            }
            at_s += frames / FPS
    finally:
        voice.close()
    return out | {"duration_s": np.array(at_s)}


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **record())
    print(PATH.name, PATH.stat().st_size)
