"""Your own recording instead of the voice: words are aligned where you give them, else rhythm alone moves the body.

On the command line, onto your own avatar:
`visavis say --audio my.wav --transcript @my.txt --to-avatar my.vrm --out DIR`.
"""

import sys

from visavis import Agent

recording, *words = sys.argv[1:] or ["out/speech.wav", "It was this big!"]
with Agent.from_preset("guide") as agent:
    turn = agent.say(*words, audio=recording)
    turn.save("recorded")
    print(f"{turn.record.duration_s:.1f} s, {len(turn.speech.words)} words, {len(turn.gestures)} gestures")
