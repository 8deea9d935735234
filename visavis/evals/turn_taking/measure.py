"""The measurement on scenes: hearing by sound alone and with words, beside fixed silences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from visavis.agent.turn_taking import HearingSettings
from visavis.evals.first_light.table import Table, progress
from visavis.evals.turn_taking.play import play
from visavis.evals.turn_taking.scenes import SNRS_DB, Scene, SceneMaker
from visavis.evals.turn_taking.score import Played, add_overlaps, add_turns, fixed_silence
from visavis.evals.turn_taking.sentences import Split
from visavis.speech.streamed import HEARING_HZ
from visavis.speech.voice_activity import CHUNK, CHUNK_S, VoiceActivity

__all__ = ["COUNTS", "FIXED_S", "WORD_LAG_S", "measure", "voice_chunks"]

COUNTS = {"turn": 60, "pause": 90, "two": 20, "backchannel": 40, "interruption": 40, "noise": 40, "echo": 30}
FIXED_S = (0.3, 0.5, 0.7)
WORD_LAG_S = 0.15  # from the end of a word to its being known, of a recogniser that streams
_TURNS = ("turn", "pause", "two")


def voice_chunks(scene: Scene) -> list[tuple[float, bool]]:
    """(end, speech) of every 32 ms of the microphone, by Silero VAD at 0.5 and nothing else."""
    activity = VoiceActivity()
    sound = (scene.near + scene.echo).clip(-1, 1)
    return [
        ((k + CHUNK) / HEARING_HZ, activity.probability(sound[k : k + CHUNK]) >= 0.5)
        for k in range(0, len(sound) - CHUNK + 1, CHUNK)
    ]


def measure(
    split: Split = "test", counts: dict[str, int] | None = None, seed: int = 0, settings: HearingSettings | None = None
) -> Table:
    """Play scenes of a split and count.

    Args:
        split: development while something is chosen, test for what is told.
        counts: scenes of each kind.
        seed: of the scenes.
        settings: others than those that ship.
    """
    counts = counts or COUNTS
    with SceneMaker(split) as maker:
        scenes = list(progress(list(maker.make(counts, seed)), "scenes"))
    kinds = Counter(scene.kind for scene in scenes)
    pauses = Counter(sort for scene in scenes if scene.kind == "pause" for _, _, sort in scene.pauses)
    made = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    table = Table(f"turn taking, {split} split, {made}; {sum(pauses.values())} pauses inside turns")
    by_sound = [Played(scene, play(scene, settings=settings)) for scene in progress(scenes, "by sound")]
    turns = [scene for scene in scenes if scene.kind in _TURNS]
    if len(turns) < len(scenes):
        over = [scene for scene in scenes if scene.kind in ("backchannel", "interruption")]
        known = [Played(scene, play(scene, WORD_LAG_S, settings)) for scene in progress(over, "over us, with words")]
        add_overlaps(table, by_sound, known)
    if not turns:
        return table
    add_turns(table, "sound alone", by_sound)
    with_words = [Played(scene, play(scene, WORD_LAG_S, settings)) for scene in progress(turns, "with words")]
    add_turns(table, "with words", with_words)
    chunks = [voice_chunks(scene) for scene in progress(turns, "baselines")]
    for silence_s in FIXED_S:
        fixed = [Played(scene, fixed_silence(silence_s, track)) for scene, track in zip(turns, chunks, strict=True)]
        add_turns(table, f"fixed {1000 * silence_s:.0f} ms", fixed)
    table.details = {
        "by noise": {str(snr): _at(by_sound, snr) for snr in SNRS_DB},
        "with words, by noise": {str(snr): _at(with_words, snr) for snr in SNRS_DB},
        "chunk_s": CHUNK_S,
        "scenes": dict(kinds),
        "pauses": dict(pauses),
        "noise dB": dict(Counter(str(scene.snr_db) for scene in scenes)),
    }
    return table


def _at(items: Sequence[Played], snr_db: float) -> list[dict[str, float | str | int | None]]:
    """The rows of the turns at one level of noise."""
    table = Table("")
    add_turns(table, "turns", [item for item in items if item.scene.snr_db == snr_db])
    return table.rows
