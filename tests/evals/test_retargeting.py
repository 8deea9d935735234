from pathlib import Path

import numpy as np
import pytest

from visavis.evals.any_body._limbs import contact_errors_m, other_limbs, touches_of
from visavis.evals.any_body.retarget import DATA, RECORDINGS, _alike, clips_of
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.contacts import guided
from visavis.motion.retarget import retarget
from visavis.motion.skeleton import Skeleton, default_skeleton
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform

REAL = Path(__file__).parents[2] / DATA


def test_other_limbs_stand_on_the_floor_and_have_their_own_ratios():
    ours = default_skeleton()
    body = other_limbs(np.random.default_rng(0))
    foot = ours.index("leftFoot")
    assert np.isclose(body.rest_positions_m[foot, 1], ours.rest_positions_m[foot, 1], atol=1e-5)
    ratios = np.linalg.norm(body.offsets_m, axis=1) / np.maximum(np.linalg.norm(ours.offsets_m, axis=1), 1e-9)
    limbs = ratios[ours.indices(["leftLowerArm", "leftHand", "leftLowerLeg", "leftFoot"])]
    assert ((limbs >= 0.7) & (limbs <= 1.3)).all() and len(set(limbs.round(3))) == 4


def test_a_lost_contact_is_seen():
    performance = perform(load_lexicon()["hush"], Performer.neutral())
    body = other_limbs(np.random.default_rng(1))
    assert contact_errors_m(performance, performance.motion) == [0.0]
    assert max(contact_errors_m(performance, retarget(performance.motion, body, contacts=False))) > 0.03
    assert max(contact_errors_m(performance, retarget(performance.motion, body))) < 0.02


def test_what_arms_lack_is_told():
    performance = perform(load_lexicon()["hand on heart"], Performer.neutral())
    ours, offsets = default_skeleton(), default_skeleton().offsets_m.copy()
    for bone in ("LowerArm", "Hand"):
        offsets[ours.indices([f"left{bone}", f"right{bone}"])] *= np.float32(0.2)
    stunted = Skeleton(ours.names, ours.parents, offsets, ours.tips_m)
    (lost,) = touches_of(performance, retarget(performance.motion, stunted))
    (kept,) = touches_of(performance, performance.motion)
    assert lost.missed_m > 0.02 and 0.0 < lost.lacks_m <= lost.missed_m + 0.005
    assert kept.missed_m == kept.lacks_m == 0.0


@pytest.mark.parametrize("corpus", RECORDINGS)
def test_a_real_recording_fits_every_avatar(corpus):
    pattern, read = RECORDINGS[corpus]
    paths = sorted(REAL.glob(pattern))
    if not paths:
        pytest.skip(f"the recordings of {corpus} are not part of the project: unpack them into {DATA}")
    skeletons = {name: load_avatar(name).skeleton for name in avatar_names()}
    clips, failed = clips_of(paths[:1], read, skeletons)
    assert not failed
    for result in clips[0]["avatars"].values():
        assert result["left"] and result["excess"] <= 0.01
        assert np.median([r for _, r in result["correlation"]]) > 0.95


def test_paths_are_compared_where_nothing_is_touched_too():
    t = np.linspace(0, 6, 60, dtype=np.float32)
    here = np.stack([np.sin(t), np.cos(t), np.full_like(t, 0.2)], axis=1)
    there = here * 0.8 + 0.1
    there[:20, 0] += 3.0  # on its way to a touch
    assert [axis for axis, r in _alike(here, there, "left") if r < 0.95] == ["left.x"]
    assert all(r > 0.999 for _, r in _alike(here[20:], there[20:], "left"))
    assert len(_alike(here, there, "left")) == 2, "an axis without movement is left out"
    assert _alike(here[:5], there[:5], "left") == []


def test_a_hand_is_guided_around_its_touch_and_free_elsewhere():
    motion = perform(load_lexicon()["hand on heart"], Performer.neutral()).motion
    busy = guided(motion)
    side = max(busy, key=lambda s: busy[s].mean())
    assert busy[side].any() and not busy[side].all()
    assert not busy["left" if side == "right" else "right"].any()
