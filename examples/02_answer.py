"""A conversation: the persona answers from what it knows, and says so when it does not."""

from visavis import Agent

with Agent.from_preset("guide") as agent:
    session = agent.session()
    for line in ("Hello!", "How big is the blue whale?", "And what does a ticket to the moon cost?"):
        turn = session.answer(line)
        print(f"> {line}\n{turn.text}   [{turn.emotion}, {', '.join(g.gloss for g in turn.gestures) or 'no gesture'}]")
