"""`examples/client.js` against a real server, run by Node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "examples" / "client.js"
SCRIPT = """
const { Client } = await import(process.argv[1]);
const client = new Client(process.argv[2], process.argv[3]);
const seen = {};
const session = await client.open("guide");
const done = new Promise((resolve) => {
  session.onevent = (event) => {
    seen[event.type] = (seen[event.type] ?? 0) + 1;
    if (event.type === "response.speech.delta") seen.samples = (seen.samples ?? 0) + event.arrays.pcm.length;
    if (event.type === "response.motion.delta") seen.shape = event.arrays.rotations.shape;
    if (event.type === "response.done") resolve(event.turn.text);
  };
});
session.send({ type: "input.text", text: "How big is the blue whale?" });
seen.text = await done;
await session.close();
seen.refused = await client.request("GET", `/v1/sessions/${session.id}`).catch((error) => error.message);
console.log(JSON.stringify(seen));
process.exit(0);
"""


def node() -> list[str]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("SKIPPED: no Node; examples/client.js is not run")
    major, minor = subprocess.check_output([found, "--version"], text=True)[1:].split(".")[:2]
    if (int(major), int(minor)) < (20, 10):
        pytest.skip("SKIPPED: Node is older than 20.10; examples/client.js is not run")
    return [found] if int(major) >= 22 else [found, "--experimental-websocket"]


def test_a_conversation_in_javascript(server):
    token = "a-token-that-only-tests-know"
    command = [*node(), "--input-type=module", "-e", SCRIPT, str(CLIENT), server.url, token]
    out = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert out.returncode == 0, out.stderr
    seen = json.loads(out.stdout)
    assert seen["samples"] > 10_000 and seen["shape"][1:] == [55, 4] and seen["text"]
    assert seen["refused"].startswith("expected the id of an open session")
