"""`docs/refiner.md` is true: its Python runs, on an untrained network in the place of a trained one."""

import re
from pathlib import Path

import numpy as np
import torch

from visavis.motion.idle import idle
from visavis.refiner import FlowConfig, FlowRefiner
from visavis.speech.silent import SilentVoice

PAGE = (Path(__file__).parents[2] / "docs" / "refiner.md").read_text(encoding="utf-8")


def test_the_examples_run_and_do_what_they_say(monkeypatch):
    torch.manual_seed(0)
    refiner = FlowRefiner(FlowConfig(width=16, layers=1, heads=2))
    torch.nn.init.normal_(refiner.outlet.weight, std=0.02)
    refiner.scale.fill_(0.2)
    monkeypatch.setattr(FlowRefiner, "load", classmethod(lambda cls, folder=None: refiner))
    motion = idle(90, 1)
    there = {
        "speech": SilentVoice().speak("It was this big, and then it was gone."), "motion": motion,
        "shown": idle(40, 2), "before": idle(20, 3), "after": idle(20, 4),
    }  # fmt: skip
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    head, calls = code.split("\n\n")[0:2], code.strip().split("\n\n")[-1].splitlines()
    exec(compile("\n".join(head), "docs/refiner.md", "exec"), there)
    made = [eval(call.split("#")[0], there) for call in calls]
    assert [len(m) for m in made[:5] + made[5:7]] == [90, 90, 90, 90, 30, 90, 90]
    assert len(made[7]) == len(there["fits"].sound)
    right = motion.skeleton.part("right")
    np.testing.assert_array_equal(made[5].rotations[:, right], motion.rotations[:, right])
    np.testing.assert_array_equal(made[6].rotations[36], motion.rotations[36])
