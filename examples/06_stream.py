"""A turn as it is made: typed events, clause by clause; sound and motion come while the rest is still being planned."""

import asyncio

from visavis import Agent


async def main() -> None:
    with Agent.from_preset("guide") as agent:
        async for event in agent.session().respond("Hello! How big is the blue whale?"):
            arrays = {name: array.shape for name, array in event.arrays().items()}
            print(f"{event.time_s:5.2f} s  {event.type}  {getattr(event, 'text', '')}{arrays or ''}")


asyncio.run(main())
