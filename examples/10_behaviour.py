"""Your own behaviour: a node in the turn graph that sees a turn and may change what is known, said and felt."""

from visavis import Agent
from visavis.agent.behaviours import TurnView, behaviour


@behaviour(at="perceive")
def code_word(turn: TurnView) -> None:
    """Some lines are not for the model."""
    if "fire drill" in turn.line.lower():
        turn.say("Please leave by the stairs, and do not use the lift!")
        turn.feel("fear", 0.4)


@behaviour(at="reply")
def polite(turn: TurnView) -> None:
    """Looks at the words before they are spoken."""
    if not turn.history:
        turn.say(f"{turn.text} Nice to meet you, by the way.")


with Agent.from_preset("receptionist", behaviours=[code_word, polite]) as agent:
    session = agent.session()
    print(session.answer("Good morning!").text)
    print(session.answer("What about the fire drill?").text)
