import numpy as np

from visavis.emotion import Emotion
from visavis.evals.strokes import apexes
from visavis.finetune.teacher import speaking
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word


def test_the_hands_beat_where_the_teacher_says_they_do():
    words = [
        Word("word", 0.5 + 0.6 * i, 0.9 + 0.6 * i, 0.9 if i % 2 else 0.2, 0.6 + 0.6 * i, 5 * i, 5 * i + 4)
        for i in range(24)
    ]
    found = 0
    for seed in range(3):
        performer, rng = Performer.random(np.random.default_rng(seed)), np.random.default_rng(seed)
        taught = speaking(words, 15.0, Emotion(), [], Library(load_lexicon()), performer, rng)
        stressed = {word.stress_s for word in words if word.stress > 0.5}
        assert set(taught.beats_s) <= stressed and list(taught.beats_s) == sorted(taught.beats_s)
        strokes = np.concatenate([apexes(taught.motion, side) for side in ("left", "right")])
        for beat in taught.beats_s:
            assert np.abs(strokes - beat).min() < 0.2
            found += 1
    assert found >= 5
