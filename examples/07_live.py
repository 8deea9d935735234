"""A live session: the body moves all the time, and can be interrupted; what was heard is what is remembered."""

import asyncio

from visavis import Agent


async def main() -> None:
    with Agent.from_preset("guide") as agent:
        session = agent.session()
        with session.events() as events:
            session.submit(say="This is a long story, and it has many parts, and nobody knows how it ends.")
            frames = 0
            async for event in events:
                if event.type == "session.state":
                    print(f"state: {event.state}")
                    if event.state == "speaking":  # somebody loses patience after two seconds
                        asyncio.get_running_loop().call_later(2.0, session.interrupt)
                elif event.type == "response.motion.delta":
                    frames += len(event.rotations)
                elif event.type == "response.interrupted":
                    print(f"heard: {event.heard!r}")
                    break
            print(f"{frames / 30:.1f} s of motion")
        print("remembered:", session.history)


asyncio.run(main())
