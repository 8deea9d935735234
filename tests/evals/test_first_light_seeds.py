"""Seeds of one sentence: what is compared, and that equal seeds are equal."""

from dataclasses import replace

import numpy as np
import pytest

from visavis.agent import Agent
from visavis.evals.first_light import seeds
from visavis.motion.idle import idle

LINES = ["I caught a fish, and it was huge!"]


def test_distances_are_of_every_pair_over_the_frames_of_both():
    still = idle(60, 1)
    raised = still.rotations.copy()
    raised[:, still.skeleton.index("leftUpperArm")] = still.rotations[:, still.skeleton.index("leftHand")]
    other = replace(still, rotations=raised)
    apart = seeds.between([still, still, other.slice(0, 40)])
    assert len(apart) == 3 and apart[0] == 0 and apart[1] == apart[2] > 0.05
    gap = seeds.wrists(still)[:40] - seeds.wrists(other)[:40]
    assert apart[1] == pytest.approx(np.linalg.norm(gap, axis=-1).mean())
    assert np.abs(gap[:, 1]).max() == 0  # the other arm is where it was


def test_seeds_move_otherwise_and_keep_their_strokes(tmp_path):
    table = seeds.measure(tmp_path, seeds=2, lines=LINES, voice="silent")
    assert table.value("wrists of two seeds apart, mean of a sentence") > 10
    assert table.value("strokes that every seed makes") == 100
    assert table.value("… of a seed from the median of its seeds, mean") < 20


def test_the_same_seed_is_the_same_turn(tmp_path):
    found = []
    for _ in range(2):
        with Agent(voice="silent", seed=3) as agent:
            found.append(agent.say(LINES[0]).motion)
    assert seeds.between(found) == [0.0]
