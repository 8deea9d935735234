"""An agent that uses your own Python function: it knows what time it is, and says so with its whole body.

Run it: `python examples/10_behaviour.py`
"""

from datetime import datetime

from visavis import Agent
from visavis.agent.behaviours import TurnView, behaviour


def current_time() -> str:
    """Your own function: a clock here, a database or a service there."""
    return datetime.now().strftime("%H:%M")


@behaviour
def clock(turn: TurnView) -> None:
    """A node of the turn graph, before the reply: what it knows, the planner can say."""
    if "time" in turn.line.lower():
        turn.know(f"It is {current_time()} now.")


with Agent("receptionist", behaviours=[clock]) as agent:
    turn = agent.session().answer("What time is it now?")
    print(turn.text)
