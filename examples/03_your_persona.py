"""Your own persona: who it is and what it knows. The same fields can stand in a YAML file: `Agent("mine.yaml")`."""

from visavis import Agent
from visavis.agent.persona import Card, GesturePreferences, Persona

baker = Persona(
    name="Ada",
    role="a baker",
    manner="cheerful",
    cards=(
        Card(topic="opening hours", facts=("We open at six in the morning, and at eight on Sundays.",)),
        Card(topic="rye bread", facts=("Our rye bread rests for two days before it is baked.",)),
    ),
    gestures=GesturePreferences(amount=1.5, avoid=("facepalm",)),
)

with Agent(baker) as agent:
    print(agent.session().answer("When do you open?").text)
