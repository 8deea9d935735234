"""What outlives the process: conversations and what the partner told, in a file or in Postgres; forgotten if asked."""

import tempfile

from visavis import Agent

with tempfile.TemporaryDirectory() as folder:
    store = f"{folder}/conversations.sqlite"  # or "postgresql://…"; True for the user's own folder
    with Agent.from_preset("friend", store=store) as agent:
        agent.session("monday", user="anna").answer("My name is Anna, and I have a dog called Biscuit.")
    with Agent.from_preset("friend", store=store) as agent:  # another process, another day
        print("monday:", agent.session("monday", user="anna").history)
        tuesday = agent.session("tuesday", user="anna")
        print("known:", [memory.text for memory, _ in tuesday.memory.search("the dog")])
        tuesday.memory.forget("the dog Biscuit")
        print("known:", [memory.text for memory in tuesday.memory.all()])
