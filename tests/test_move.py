"""`visavis move`: every mode from files to a file, and one clear line for what cannot be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from visavis.cli import main
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.move import MODES
from visavis.refiner import FlowConfig, FlowRefiner
from visavis.speech.silent import SilentVoice
from visavis.speech.wav import write_wav


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small refiner in `net`, motions a.bvh (2 s) and b.bvh (1.5 s), a recording said.wav."""
    folder = tmp_path_factory.mktemp("move")
    torch.manual_seed(0)
    net = FlowRefiner(FlowConfig(width=16, layers=1, heads=2))
    torch.nn.init.normal_(net.outlet.weight, std=0.02)
    net.scale.fill_(0.2)
    net.save(folder / "net")
    write_bvh(idle(60, 1), folder / "a.bvh")
    write_bvh(idle(45, 2), folder / "b.bvh")
    speech = SilentVoice().speak("It was this big, and then it was gone.")
    noise = np.random.default_rng(0).normal(size=speech.samples.shape) * 3000
    write_wav(folder / "said.wav", noise.astype(np.int16), speech.sample_rate_hz)
    return folder


def moved(folder: Path, *args: str, out: str = "out.bvh") -> Motion:
    names = [str(folder / arg) if arg.endswith((".bvh", ".wav")) else arg for arg in args]
    assert main(["move", *names, "--out", str(folder / out), "--refiner", str(folder / "net"), "--quiet"]) == 0
    return read_bvh(folder / out)


def off(a: Motion, b: Motion) -> np.ndarray:
    """(T,) the farthest joint, metres."""
    return np.linalg.norm(positions(a) - positions(b), axis=-1).max(-1)


def test_every_mode_writes_what_it_says(folder):
    a, b = read_bvh(folder / "a.bvh"), read_bvh(folder / "b.bvh")
    assert off(moved(folder, "refine", "a.bvh", "--strength", "0"), a).max() < 1e-3
    assert off(moved(folder, "refine", "a.bvh", "--audio", "said.wav"), a).max() > 1e-3
    held = moved(folder, "protect", "a.bvh", "--hold", "left:0.5:1.2:world", "--hold", "right:1:1")
    hand = a.skeleton.index("leftHand")
    assert np.linalg.norm(positions(held)[15:36, hand] - positions(a)[15:36, hand], axis=-1).max() < 0.01
    both = moved(folder, "continue", "a.bvh", "b.bvh", "--emotion", "joy:0.4,surprise:0.3")
    assert len(both) == 105 and off(both.slice(0, 60), a).max() < 1e-3
    whole = moved(folder, "in-between", "a.bvh", "b.bvh", "--seconds", "1", "--seed", "3")
    assert len(whole) == 135 and off(whole.slice(90, 135), b).max() < 1e-3
    made = moved(folder, "edit", "a.bvh", "--limbs", "left", "--from", "0.5", "--to", "1.5", "--keep", "1")
    assert off(made.slice(0, 15), a.slice(0, 15)).max() < 1e-3 and off(made, a)[30] < 1e-3 < off(made, a).max()
    told = ("--audio", "said.wav", "--transcript", "It was this big, and then it was gone.", "--style", "a.bvh")
    once = moved(folder, "free", *told, out="one.bvh")
    assert 60 < len(once) < 150 and off(moved(folder, "free", *told, "--seed", "1"), once).max() > 0.01


def test_other_bodies_and_formats(folder, capsys):
    from visavis.motion.avatar import load_avatar
    from visavis.motion.retarget import retarget

    write_bvh(retarget(idle(40, 3), load_avatar("juno").skeleton), folder / "juno.bvh")
    args = ["--out", str(folder / "juno.vrma"), "--refiner", str(folder / "net")]
    assert main(["move", "refine", str(folder / "juno.bvh"), *args]) == 0
    assert "refine: 1.3 s in" in capsys.readouterr().out and (folder / "juno.vrma").stat().st_size > 1000


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["refine"], "expected 1 motion file for refine; got 0"),
        (["continue", "a.bvh"], "expected 2 motion files for continue; got 1"),
        (["in-between", "a.bvh", "b.bvh"], "expected --seconds for in-between"),
        (["in-between", "a.bvh", "b.bvh", "--seconds", "0"], "--seconds must lie in"),
        (["free"], "expected --audio, --seconds or both"),
        (["free", "--seconds", "1", "--from", "0.5"], "--from is not an option of free"),
        (["edit", "a.bvh", "--limbs", "leg"], "expected limbs of core, left, right; got leg"),
        (["edit", "a.bvh", "--from", "5"], "expected an interval inside the motion's 2.00 s"),
        (["edit", "a.bvh", "--keep", "soon"], "expected a number in --keep; got 'soon'"),
        (["protect", "a.bvh"], "expected --hold HAND:FROM:TO for protect"),
        (["protect", "a.bvh", "--hold", "foot:0:1"], "hand must be left or right"),
        (["protect", "a.bvh", "--hold", "left:0:1:nose"], "expected a frame of chest, world or a bone's name"),
        (["refine", "a.bvh", "--emotion", "bored"], "emotion must be one of"),
        (["refine", "a.bvh", "--strength", "1", "--transcript", "Hello"], "got no --audio"),
        (["refine", "a.bvh", "--style", "999"], "expected a performer from 0 to 199"),
        (["refine", "nothing.bvh"], "nothing.bvh"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(folder, capsys, args, why):
    names = [str(folder / arg) if arg.endswith(".bvh") else arg for arg in args]
    status = main(["move", *names, "--out", str(folder / "no.bvh"), "--refiner", str(folder / "net")])
    err = capsys.readouterr().err
    assert status == 2 and why in err and err.count("\n") == 1 and not (folder / "no.bvh").exists()


def test_what_is_read_is_not_overwritten_and_formats_are_known(folder, capsys):
    place = str(folder / "a.bvh")
    assert main(["move", "refine", place, "--out", place]) == 2 and "would overwrite" in capsys.readouterr().err
    assert main(["move", "refine", place, "--out", str(folder / "a.doc")]) == 2
    assert "expected an output ending in one of" in capsys.readouterr().err
    assert set(MODES) == {"refine", "protect", "continue", "in-between", "edit", "free"}
