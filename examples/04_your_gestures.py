"""Your own choice of gestures: on which word, how large, where to. What the hands promise is measured on the motion."""

import numpy as np

from visavis import Agent, GestureRequest
from visavis.motion.kinematics import positions

DOOR = (2.0, 1.2, 1.5)  # metres: x to the avatar's left, y up, z ahead

with Agent.from_preset("guide") as agent:
    turn = agent.say(
        "The table is one metre wide, and it stands by the door.",
        gestures=[
            GestureRequest("huge size", word=4, params={"size_m": 1.0}),
            GestureRequest("point away", word=11, params={"target": DOOR}),
        ],
    )
    first, second = turn.gestures
    hands = positions(turn.motion)[round(30 * first.stroke_s)]
    left, right = (hands[turn.motion.skeleton.index(bone)] for bone in ("leftHand", "rightHand"))
    print(f"{first.gloss}: wrists {np.linalg.norm(left - right):.2f} m apart; then {second.gloss}")
