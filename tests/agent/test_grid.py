import numpy as np
import pytest

from visavis.agent.grid import STEP_S, cues, forced_steps, move_steps, step_count, words_by_step
from visavis.motion.phases import Phases
from visavis.speech.types import Word
from visavis.tokenizers.turn_language import CUES


def words_at(*starts: float) -> list[Word]:
    return [Word(f"w{i}", s, s + 0.2, float(i % 2), s + 0.05, 0, 0) for i, s in enumerate(starts)]


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_exact_and_every_word_is_carried_once(seed):
    rng = np.random.default_rng(seed)
    words = words_at(*np.sort(rng.uniform(0, 6, rng.integers(0, 15))))
    first = int(rng.integers(0, 10))
    last = first + int(rng.integers(1, 40))
    texts = words_by_step(words, first, last)
    marks = cues(words, [], first, last, speech_end_s=5.0)
    assert len(texts) == len(marks) == last - first
    assert " ".join(text for text in texts if text).split() == [word.text for word in words]
    assert all(0 <= mark < len(CUES) for mark in marks)


def test_words_stand_400_ms_before_their_onset():
    texts = words_by_step(words_at(10.5 * STEP_S), 0, 20)
    assert [i for i, text in enumerate(texts) if text] == [7]


def test_step_count_covers_and_is_least():
    for frames in range(1, 60):
        count = step_count(frames / 30)
        assert 4 * (count - 1) < frames <= 4 * count


def test_forced_steps_lie_inside_the_clip_and_are_marked_as_clip():
    phases = Phases(1.0, 1.4, 1.5, 1.8, 1.9, 2.2, 2.8)
    steps = forced_steps(phases, 0, 40)
    assert steps == list(range(steps[0], steps[-1] + 1))
    centres = [(step + 0.5) * STEP_S for step in steps]
    assert phases.start_s < centres[0] and centres[-1] < phases.end_s
    assert any(abs(centre - phases.stroke_s) < STEP_S for centre in centres)
    marks = cues([], [phases], 0, 40, 0.5)
    assert [i for i, mark in enumerate(marks) if CUES[mark] == "clip"] == steps
    # A stretch of the grid is the grid's stretch.
    assert forced_steps(phases, 10, 14) == [step for step in steps if 10 <= step < 14]
    assert cues([], [phases], 7, 21, 0.5) == marks[7:21]


def test_cues_name_what_happens():
    words = [Word("Stop!", 0.5, 1.0, 1.0, 0.6, 0, 5), Word("now", 1.1, 1.4, 0.0, 1.2, 6, 9)]
    names = [CUES[mark] for mark in cues(words, [], 0, 15, 1.4)]
    assert names[0] == "silence" and names[4] == "stress" and names[7] == "boundary" and names[-1] == "tail"
    assert "speech" in names


def test_a_beat_is_announced_three_steps_ahead_and_gives_way_to_clips():
    words = [Word("Stop!", 0.5, 1.0, 1.0, 0.95, 0, 5)]
    names = [CUES[mark] for mark in cues(words, [], 0, 10, 1.4, [0.95])]
    assert names[3] == "speech" and names[4:8] == ["beat ahead", "beat ahead", "beat ahead", "beat"]
    assert not {"beat", "beat ahead"} & {*names[:4], *names[8:]}
    phases = Phases(0.4, 0.6, 0.7, 0.9, 1.0, 1.1, 1.5)
    marks = cues(words, [phases], 0, 12, 1.4, [0.95])
    forced = forced_steps(phases, 0, 12)
    assert forced and all(CUES[marks[step]] == "clip" for step in forced)


def test_move_steps_keep_words_cues_codes_and_what_is_forced():
    codes = np.arange(6).reshape(2, 3)
    forced = np.array([[True, False, False], [False, True, True]])
    a, b = move_steps(["one", ""], [2, 1], codes, forced)
    assert (a.words, a.cue, a.codes, a.forced) == ("one", 2, (0, 1, 2), (True, False, False))
    assert (b.words, b.cue, b.codes, b.forced) == ("", 1, (3, 4, 5), (False, True, True))
