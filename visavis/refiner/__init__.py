"""The refiner: puts motion in time with speech, and makes, continues and edits it.

    from visavis.refiner import Conditions, FlowRefiner, edit, refine

    refiner = FlowRefiner.load()
    refine(refiner, motion, Conditions(sound, Emotion("joy", 0.7)))       # in time with its sound
    edit(refiner, motion, limbs=["left"], from_s=1.0, to_s=2.5, seed=3)   # another left arm for a while

The modes are one network, which ships (`visavis train refiner --modes`); `visavis.refiner.model` is the one without
modes that its training begins from.
"""

from visavis.refiner.conditions import Conditions
from visavis.refiner.flow import FlowConfig, FlowRefiner
from visavis.refiner.modes import continued, edit, free, in_between, protect, refine
from visavis.refiner.protection import Hold

__all__ = [
    "Conditions",
    "FlowConfig",
    "FlowRefiner",
    "Hold",
    "continued",
    "edit",
    "free",
    "in_between",
    "protect",
    "refine",
]
