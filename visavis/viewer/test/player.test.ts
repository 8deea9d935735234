/** The player without a browser: time is set by hand, and there is no AudioContext, so the performance clock counts. */

// @ts-nocheck - node's own modules have no types here
import assert from "node:assert/strict";
import test from "node:test";

import { Idle } from "../src/idle";
import { Player } from "../src/player";
import { BONES, FACE } from "../src/pose";
import { Track } from "../src/track";

const FPS = 30;
let clockMs = 1000;
performance.now = () => clockMs;

/** n frames in which every bone turns about x at `speed` rad/s from `angle`. */
function turning(n, angle, speed) {
  const out = new Float32Array(n * BONES * 4);
  for (let f = 0; f < n; f++)
    for (let b = 0; b < BONES; b++) {
      const half = (angle + (speed * f) / FPS) / 2;
      out.set([Math.sin(half), 0, 0, Math.cos(half)], (f * BONES + b) * 4);
    }
  return out;
}

const zeros = (n, width) => new Float32Array(n * width);
const angleOf = (player) => 2 * Math.atan2(player.body.rotations[0], player.body.rotations[3]);

function idleDelta(startS, n, angle, speed = 0) {
  return { type: "idle.delta", start_s: startS, rotations: turning(n, angle, speed), root_m: zeros(n, 3) };
}

function motionDelta(id, startS, n, angle, speed = 0) {
  return { type: "response.motion.delta", turn_id: id, start_s: startS, rotations: turning(n, angle, speed), root_m: zeros(n, 3) };
}

function faceDelta(id, startS, n, weight) {
  return { type: "response.face.delta", turn_id: id, start_s: startS, weights: new Float32Array(n * FACE).fill(weight) };
}

function player() {
  const sent = [];
  const made = new Player({ send: (m) => sent.push(m), turnBegan() {}, emotion() {}, gesture() {} });
  return { made, sent };
}

/** Run at 60 Hz; returns the angle of every frame. */
function run(made, seconds) {
  const angles = [];
  for (let i = 0; i < seconds * 60; i++) {
    clockMs += 1000 / 60;
    made.frame(1 / 60);
    angles.push(angleOf(made));
  }
  return angles;
}

const steps = (angles) => angles.slice(1).map((a, i) => Math.abs(a - angles[i]));

test("a track is read between its frames, and at its ends beyond them", () => {
  const track = new Track(1, false);
  track.insert(1, Float32Array.of(0, 3, 6));
  const out = new Float32Array(1);
  for (const [timeS, value] of [[0, 0], [1, 0], [1 + 0.5 / FPS, 1.5], [1 + 2 / FPS, 6], [9, 6]]) {
    track.sample(timeS, out);
    assert.ok(Math.abs(out[0] - value) < 1e-4, `${timeS}: ${out[0]}`);
  }
});

test("what comes later replaces what stood there and after; gaps hold; old frames are forgotten", () => {
  const track = new Track(1, false);
  track.insert(0, Float32Array.of(0, 1, 2, 3, 4, 5));
  track.insert(2 / FPS, Float32Array.of(20, 21));
  assert.equal(Math.round(track.endS * FPS), 3);
  track.insert(6 / FPS, Float32Array.of(60));
  const out = new Float32Array(1);
  track.sample(5 / FPS, out);
  assert.equal(out[0], 21);
  track.forget(3 / FPS);
  assert.equal(Math.round(track.startS * FPS), 3);
  track.insert(0, Float32Array.of(7, 7, 7, 8, 9)); // begins before what is kept
  track.sample(3 / FPS, out);
  assert.equal(out[0], 8);
});

test("opposite signs of a quaternion are one rotation", () => {
  const track = new Track(4, true);
  track.insert(0, Float32Array.of(0, 0, 0, 1, -0.1, 0, 0, -0.995));
  const out = new Float32Array(4);
  track.sample(0.5 / FPS, out);
  assert.ok(Math.abs(out[0] - 0.05) < 1e-3 && out[3] > 0.99);
});

test("no pop into a turn, out of it, or where frames on display are replaced", () => {
  const { made, sent } = player();
  made.receive(idleDelta(0, 300, 0.2));
  let angles = run(made, 0.5);
  made.receive({ type: "response.created", turn_id: "t" });
  made.receive(motionDelta("t", 0, 60, -0.3, 0.4));
  angles = angles.concat(run(made, 1));
  made.receive(motionDelta("t", 0.9, 60, 0.4, -0.2)); // a better version of what is shown now
  angles = angles.concat(run(made, 0.4));
  made.receive({ type: "response.done", turn_id: "t", turn: {} });
  angles = angles.concat(run(made, 3));
  assert.ok(Math.max(...steps(angles)) < 0.06, `largest step ${Math.max(...steps(angles))} rad`);
  assert.ok(Math.min(...angles) < -0.15, "the turn was shown");
  assert.ok(Math.abs(angles.at(-1) - 0.2) < 0.01, "and idling after it");
  assert.equal(made.turn, null);
  const played = sent.filter((m) => m.type === "input.playback").map((m) => m.played_s);
  assert.ok(played.length >= 8, "reported four times a second");
  assert.deepEqual(played, played.toSorted((a, b) => a - b));
  assert.ok(Math.abs(played.at(-1) - (27 + 59) / FPS) < 0.02, `${played.at(-1)}`);
});

test("the body does not freeze when the next clause is late, and goes on where the turn stood", () => {
  const { made } = player();
  made.receive(idleDelta(0, 600, 0, 0.05));
  run(made, 0.2);
  made.receive(motionDelta("t", 0, 30, 0.5));
  run(made, 2); // one second of motion, and then nothing
  assert.equal(made.source, "idle");
  const held = made.heardS;
  const waiting = steps(run(made, 0.5));
  assert.ok(Math.max(...waiting) > 1e-5, "it moves while it waits");
  assert.equal(made.heardS, held);
  made.receive(motionDelta("t", 1, 30, 0.5));
  run(made, 0.3);
  assert.equal(made.source, "t");
  assert.ok(made.heardS > held && made.heardS < held + 0.3);
});

test("idling never ends, though nothing more comes", () => {
  const idle = new Idle();
  const asked = [];
  idle.refill(0, (startS, frames) => asked.push([startS, frames]));
  idle.refill(0.1, () => assert.fail("one question at a time"));
  assert.deepEqual(asked, [[0, 120]]);
  const rotations = turning(120, 0, 0.3);
  idle.insert(0, rotations, zeros(120, 3), null);
  const body = { rotations: new Float32Array(BONES * 4), root: new Float32Array(3) };
  let last = 0, still = 0;
  for (let i = 0; i < 60 * 60; i++) {
    idle.advance(1 / 60);
    idle.sample(body);
    still = Math.abs(body.rotations[0] - last) < 1e-6 ? still + 1 : 0;
    assert.ok(still < 3, `still at second ${i / 60}`);
    last = body.rotations[0];
  }
});

test("idling goes on from the end of a turn, also with a piece that was asked for before it", () => {
  const { made } = player();
  made.receive(idleDelta(0, 300, 0));
  made.receive(motionDelta("t", 0, 30, 0.6));
  run(made, 0.5);
  made.receive({ type: "response.done", turn_id: "t", turn: {} });
  made.receive(idleDelta(10, 300, 0.6)); // asked for as seconds 10 to 20, made after the turn
  const angles = run(made, 2);
  assert.equal(made.source, "idle");
  assert.ok(Math.min(...angles) > 0.55, "it does not fall back to the frames from before");
  const asked = [];
  made.idle.refill(1e9, (startS) => asked.push(startS));
  assert.equal(asked.length, 0, "it has enough");
});

test("a stopped turn says so, and its late chunks do not play", () => {
  const { made, sent } = player();
  made.receive(idleDelta(0, 300, 0));
  made.receive(motionDelta("t", 0, 60, 0.5));
  run(made, 0.7);
  made.cut();
  assert.ok(sent.at(-1).played_s > 0.5 && sent.at(-1).played_s < 0.7);
  made.receive(motionDelta("t", 2, 60, 0.5));
  made.receive({ type: "response.interrupted", turn_id: "t" });
  run(made, 1);
  assert.equal(made.source, "idle");
  assert.ok(Math.abs(angleOf(made)) < 0.05);
});

test("the face follows its own track and fades when it ends", () => {
  const { made } = player();
  made.receive(idleDelta(0, 300, 0));
  made.receive(faceDelta("t", 0, 15, 0.8));
  made.receive(motionDelta("t", 0, 60, 0));
  run(made, 0.4);
  assert.ok(Math.abs(made.face[17] - 0.8) < 0.05);
  run(made, 0.5);
  assert.ok(made.face[17] < 0.05);
});

test("a new turn ends the one before it", () => {
  const { made } = player();
  made.receive(idleDelta(0, 300, 0));
  made.receive(motionDelta("a", 0, 60, 0.5));
  run(made, 0.5);
  made.receive({ type: "response.created", turn_id: "b" });
  made.receive(motionDelta("a", 2, 60, 0.5));
  made.receive(motionDelta("b", 0, 60, -0.5));
  run(made, 0.5);
  assert.equal(made.source, "b");
});
