"""A recogniser for a few fixed phrases, by pocketsphinx and the English model in its wheel (extra `speech`).

It hears which of the phrases is said, word by word as it is said, and nothing else: whatever somebody says is forced
into them. So the same sound is also given to a loop of all phonemes, and the confidence is how well the phrases
explain it against that. On ten real recordings, with the 52 cards and two numbers as phrases, repeated: of five spoken
cards three are heard to the word (confidence 0.83 to 0.98) and two with a word too many (0.15, 0.64); read prose, which
is in no phrase, has at most 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.errors import MissingExtraError, UsageError
from visavis.speech.align import learn_word
from visavis.speech.completeness import bare_words
from visavis.speech.recogniser import HeardWord, Hypothesis
from visavis.speech.streamed import HEARING_HZ

__all__ = ["GrammarRecogniser"]

MOST_PHRASES, MOST_WORDS = 200, 12
LONGEST_S = 30.0  # of an utterance; what follows is not looked at
_FRAME_S = 0.01
_PAD_S, _EARLY_S = 0.2, 0.02  # as for alignment: silence before, and onsets that come early
_DITHER = 10.0  # least significant bits
_BEAMS = {"beam": 1e-64, "pbeam": 1e-64, "wbeam": 1e-56, "bestpath": False}
_PHONE_BEAMS = {"beam": 1e-20, "pbeam": 1e-20}
_SHARPNESS = 4_000.0  # from the log of the ratio of scores, per frame, to log odds


class GrammarRecogniser:
    """Hears one of the given phrases, or with `repeated` several of them one after the other."""

    name = "grammar"

    def __init__(self, phrases: Sequence[str], *, repeated: bool = False) -> None:
        """Build the grammar and load the model (0.5 s).

        Raises:
            MissingExtraError: the extra `speech` is not installed.
            UsageError: no phrases, too many or too long ones, or a word that cannot be pronounced.
        """
        try:
            from pocketsphinx import Decoder, get_model_path
        except ImportError as error:
            raise MissingExtraError("recognising phrases", "speech") from error
        grammar, words = _grammar(phrases, repeated)
        common = {"lm": None, "samprate": HEARING_HZ, "loglevel": "FATAL"}
        self._decoder: Any = Decoder(**common, **_BEAMS)
        for word in words:
            if not learn_word(self._decoder, word):
                raise UsageError(f"expected English words, {word!r} cannot be pronounced: write it as it is said")
        self._decoder.add_jsgf_string("phrases", grammar)
        self._decoder.activate_search("phrases")
        self._phones: Any = Decoder(**common, **_PHONE_BEAMS)
        self._phones.add_allphone_file("phones", get_model_path("en-us/en-us-phone.lm.bin"))
        self._phones.activate_search("phones")
        self._open = False
        self.start()

    def start(self) -> None:
        """An utterance begins."""
        self.close()
        self._noise = np.random.default_rng(0)
        self._told, self._heard = "", 0
        for decoder in (self._decoder, self._phones):
            decoder.start_utt()
        self._open = True
        self._process(np.zeros(round(_PAD_S * HEARING_HZ), np.float32))

    def feed(self, pcm: NDArray[np.float32]) -> Hypothesis | None:
        """The words so far, if they changed; they may become others, but not none before `finish`."""
        if self._heard > LONGEST_S * HEARING_HZ or not len(pcm):
            return None
        self._heard += len(pcm)
        self._process(pcm)
        found = self._decoder.hyp()
        text = "" if found is None else found.hypstr
        if not text or text == self._told:
            return None
        self._told = text
        return Hypothesis(text, self._words(1.0), 0.5)

    def finish(self) -> Hypothesis:
        """The phrase, or no text where not even silence could be fitted."""
        if self._open:
            self._process(np.zeros(round(_PAD_S * HEARING_HZ), np.float32))
        self.close()
        found, loop = self._decoder.hyp(), self._phones.hyp()
        if found is None or not found.hypstr:
            return Hypothesis("", (), 0.0, final=True)
        frames = (self._heard + 2 * _PAD_S * HEARING_HZ) / HEARING_HZ / _FRAME_S
        better = 0.0 if loop is None else float(np.log(found.score + 1e-300) - np.log(loop.score + 1e-300))
        confidence = float(0.5 + 0.5 * np.tanh(0.5 * _SHARPNESS * better / frames))
        return Hypothesis(found.hypstr, self._words(confidence), confidence, final=True)

    def close(self) -> None:
        """End the utterance, if one is open."""
        if self._open:
            self._decoder.end_utt()
            self._phones.end_utt()
            self._open = False

    def _process(self, pcm: NDArray[np.float32]) -> None:
        """Dithered, because digital silence has no features."""
        loud = pcm * 32767 + self._noise.normal(0, _DITHER, len(pcm))
        raw = np.clip(np.rint(loud), -32768, 32767).astype("<i2").tobytes()
        for decoder in (self._decoder, self._phones):
            decoder.process_raw(raw, no_search=False, full_utt=False)

    def _words(self, confidence: float) -> tuple[HeardWord, ...]:
        def seconds(frame: int) -> float:
            return max(0.0, frame * _FRAME_S + _EARLY_S - _PAD_S)

        segments = [(s.word, s.start_frame, s.end_frame) for s in self._decoder.seg() or ()]
        return tuple(
            HeardWord(word.split("(")[0], seconds(a), seconds(b + 1), confidence)
            for word, a, b in segments
            if word[0] not in "<[("  # silence; a number behind a word is that of its pronunciation
        )


def _grammar(phrases: Sequence[str], repeated: bool) -> tuple[str, list[str]]:
    """The grammar in JSGF, made of bare words only, and its words."""
    if isinstance(phrases, str) or not 0 < len(phrases) <= MOST_PHRASES:
        count = "one text" if isinstance(phrases, str) else f"{len(phrases)}"
        raise UsageError(f"expected a list of 1 to {MOST_PHRASES} phrases, got {count}")
    rows = [bare_words(phrase) for phrase in phrases]
    for phrase, row in zip(phrases, rows, strict=True):
        if not 0 < len(row) <= MOST_WORDS or any(word.isdigit() for word in row):
            raise UsageError(f"expected phrases of 1 to {MOST_WORDS} written-out words, got {phrase!r}")
    choice = " | ".join(" ".join(row) for row in rows)
    text = f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = ( {choice} ){'+' if repeated else ''};\n"
    return text, sorted({word for row in rows for word in row})
