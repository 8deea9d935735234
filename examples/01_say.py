"""Say one line with voice, face, gestures and body; the folder out/ then holds every file of the turn."""

from visavis import Agent

with Agent.from_preset("guide") as agent:
    agent.say("It was this big!").save("out")
