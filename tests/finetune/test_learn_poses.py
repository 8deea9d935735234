import numpy as np
import pytest

from visavis.finetune.acts.freely import freely
from visavis.finetune.acts.learn_poses import Rows, fit, left_out, perform_all, read_all
from visavis.motion.limits import excess
from visavis.retrieval.commands import _codec
from visavis.retrieval.describe import PoseIndex, as_tokens_show
from visavis.retrieval.lexicon import Lexicon, load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.reading import pose_features, read_motion_table, reading_of

LEXICON = load_lexicon()
CODEC = _codec()
SOME = Lexicon({gloss: LEXICON[gloss] for gloss in ("salute", "shrug", "nod", "clapping")})


@pytest.mark.parametrize("gloss", sorted(LEXICON)[::9])
def test_a_free_performance_is_a_gesture_of_the_same_meaning(gloss):
    gesture = LEXICON[gloss]
    for seed, variant in enumerate(gesture.variant_names):
        changed = freely(gesture.variant(variant)[0], np.random.default_rng(seed))
        assert changed.gloss == gloss and (changed.hands == "none") == (gesture.variant(variant)[0].hands == "none")
        motion = perform(changed, Performer.neutral()).motion
        assert np.isfinite(motion.rotations).all() and np.degrees(excess(motion.rotations)).max() < 30
    assert freely(gesture, np.random.default_rng(1)) == freely(gesture, np.random.default_rng(1))


def test_motions_read_together_are_those_read_alone():
    motions = [perform(LEXICON[gloss]).motion for gloss in ("salute", "nod")]
    together = read_all(motions, CODEC)
    alone = [pose_features(reading_of(*read_motion_table(as_tokens_show(motion, CODEC)))) for motion in motions]
    assert np.median(np.abs(together - np.stack(alone))) < 0.01


def test_variants_are_told_and_kept(tmp_path):
    rows = perform_all(SOME, CODEC, [-1, 0, 1])
    rows = Rows(rows.features[:, ::12], rows.glosses, rows.variants, rows.free)  # fewer, so that it is quick
    assert len(rows.features) == 3 * sum(len(gesture.variant_names) for gesture in SOME.values())
    index = fit(rows)
    named = [index.nearest(features, 1)[0][0] for features in rows.features]
    assert np.mean([a == b for a, b in zip(named, rows.glosses, strict=True)]) > 0.9
    index.save(tmp_path / "poses.safetensors")
    again = PoseIndex.load(tmp_path / "poses.safetensors")
    (gloss, share), *_ = again.nearest(rows.features[0], 4)
    assert gloss == rows.glosses[0] and 0 < share <= 1
    assert sum(share for _, share in again.nearest(rows.features[0], 4)) == pytest.approx(1)


def test_what_is_left_out_is_never_seen():
    pairs = [(gesture.gloss, variant) for gesture in SOME.values() for variant in gesture.variant_names]
    rows = Rows(
        np.zeros((len(pairs), 1), np.float32),
        tuple(g for g, _ in pairs),
        tuple(v for _, v in pairs),
        np.zeros(len(pairs), bool),
    )
    hidden, asked = left_out(SOME, rows, None)
    assert (hidden == asked).all() and hidden.sum() == len(SOME)
    for fold in (0, 1):
        some, others = left_out(SOME, rows, fold)
        assert (some | hidden == some).all() and not (others & hidden).any() and (some | others == some).all()
