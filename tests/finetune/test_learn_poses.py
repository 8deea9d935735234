from dataclasses import replace

import numpy as np
import pytest

from visavis.finetune.acts.freely import freely
from visavis.finetune.acts.learn_aspects import fit_aspects
from visavis.finetune.acts.learn_poses import OTHER_HEAD, Rows, fit, left_out, perform_all, read_all
from visavis.motion.limits import excess
from visavis.retrieval.aspects import ASPECTS, AspectIndex
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
    assert np.median(np.abs(together[0] - np.stack(alone))) < 0.01
    assert together[1].shape == (2, sum(ASPECTS.values()))


def test_variants_are_told_and_kept(tmp_path):
    rows = perform_all(SOME, CODEC, [-1, 0, 1, OTHER_HEAD + 1])
    rows = replace(rows, features=rows.features[:, ::12])  # fewer, so that it is quick
    assert len(rows.features) == 4 * sum(len(gesture.variant_names) for gesture in SOME.values())
    index = fit(rows)
    rows = rows.where(rows.who < OTHER_HEAD)
    asked = list(zip(rows.features, rows.aspects, strict=True))
    named = [index.nearest(*one, 1)[0][0] for one in asked]
    assert np.mean([a == b for a, b in zip(named, rows.glosses, strict=True)]) > 0.9
    assert len(index.aspects.rows) == sum(len(gesture.variant_names) for gesture in SOME.values())
    assert (index.aspects.weights >= 0).all() and index.aspects.weights.any()
    index.save(tmp_path / "poses.safetensors")
    again = PoseIndex.load(tmp_path / "poses.safetensors")
    (gloss, share), *_ = again.nearest(*asked[0], 4)
    assert gloss == rows.glosses[0] and 0 < share <= 1
    assert sum(share for _, share in again.nearest(*asked[0], 4)) == pytest.approx(1)


def test_what_is_left_out_is_never_seen():
    pairs = [(gesture.gloss, variant) for gesture in SOME.values() for variant in gesture.variant_names]
    rows = Rows(
        np.zeros((len(pairs), 1), np.float32),
        np.zeros((len(pairs), 1), np.float32),
        tuple(g for g, _ in pairs),
        tuple(v for _, v in pairs),
        np.zeros(len(pairs), np.int64),
    )
    hidden, asked = left_out(SOME, rows, None)
    assert (hidden == asked).all() and hidden.sum() == len(SOME)
    for fold in (0, 1):
        some, others = left_out(SOME, rows, fold)
        assert (some | hidden == some).all() and not (others & hidden).any() and (some | others == some).all()


def test_a_variant_never_seen_is_told_by_what_its_siblings_share():
    rng = np.random.default_rng(0)
    label, variant = np.repeat(np.arange(20), 8), np.repeat(np.arange(80), 2)
    aspects = rng.normal(size=(80, sum(ASPECTS.values()))).astype(np.float32)[variant]
    shared = slice(list(ASPECTS.values())[0])  # of all aspects only the first
    aspects[:, shared] = 4 * rng.normal(size=(20, shared.stop))[label] + 0.3 * aspects[:, shared]
    aspects += 0.1 * rng.normal(size=aspects.shape).astype(np.float32)
    seen, plain = variant % 4 < 3, np.arange(160) % 2 == 0
    known = np.unique(variant[seen], return_inverse=True)[1]
    names = [f"gloss {i}" for i in range(20)]
    index = fit_aspects(aspects[seen], label[seen], known, plain[seen], np.zeros(seen.sum(), bool), names)
    assert len(index.rows) == 60 and index.glosses == tuple(name for name in names for _ in range(3))

    def right(one: AspectIndex) -> float:
        named = [one.glosses[int(one.log_odds(row).argmax())] for row in aspects[~seen]]
        return float(np.mean([a == names[b] for a, b in zip(named, label[~seen], strict=True)]))

    assert right(index) > 0.8 > right(replace(index, weights=np.ones_like(index.weights)))
