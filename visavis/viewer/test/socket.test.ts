import assert from "node:assert/strict";
import { test } from "node:test";

import { Socket, type Connection } from "../src/socket";

/** A connection whose other side answers nothing, not even that it is closed. */
class Silent {
  static readonly OPEN = 1;
  static readonly made: Silent[] = [];
  readyState = Silent.OPEN;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor() {
    Silent.made.push(this);
  }

  close(): void {}
}

test("a connection is given up and taken again without the agreement of the other side", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  Object.assign(globalThis, { WebSocket: Silent, window: globalThis });
  const told: Connection[] = [];
  const heard: unknown[] = [];
  const socket = new Socket("ws://nowhere", (message) => heard.push(message), (now) => told.push(now), assert.fail);
  const [first] = Silent.made;
  first.onopen!();
  socket.renew();
  socket.renew(); // one new connection all the same
  assert.deepEqual(told, ["open", "reconnecting", "reconnecting"]);
  assert.equal(first.onmessage, null); // what comes late from there is of another time
  context.mock.timers.tick(5000);
  assert.equal(Silent.made.length, 2);
  Silent.made[1].onopen!();
  assert.equal(socket.connection, "open");
  Silent.made[1].onclose!({ code: 4404 });
  socket.renew(); // this page is not known there any more
  context.mock.timers.tick(5000);
  assert.deepEqual([socket.connection, Silent.made.length, heard.length], ["ended", 2, 0]);
  socket.close();
});
