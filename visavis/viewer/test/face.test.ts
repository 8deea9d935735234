/** Faces on avatars that have only presets. */

// @ts-nocheck - node's own modules have no types here
import assert from "node:assert/strict";
import test from "node:test";

import { PresetFit } from "../src/face";

const MORPHS = ["jawOpen", "mouthPucker", "eyeBlinkLeft", "eyeBlinkRight"];
const SHAPES = {
  aa: { jawOpen: 0.6 },
  ou: { jawOpen: 0.15, mouthPucker: 0.7 },
  blinkLeft: { eyeBlinkLeft: 1 },
  blinkRight: { eyeBlinkRight: 1 },
};

function shown(fit, face) {
  fit.fit(Float32Array.from(face));
  return Object.fromEntries(fit.names.map((name, i) => [name, fit.weights[i]]));
}

test("a face that presets can show is shown exactly", () => {
  const fit = new PresetFit(SHAPES, MORPHS);
  for (const [aa, ou, left] of [[0.5, 0.3, 1], [0, 1, 0.2], [1, 0, 0]]) {
    const found = shown(fit, [0.6 * aa + 0.15 * ou, 0.7 * ou, left, 0]);
    assert.ok(Math.abs(found.aa - aa) < 0.01 && Math.abs(found.ou - ou) < 0.01 && Math.abs(found.blinkLeft - left) < 0.01);
    assert.equal(found.blinkRight, 0);
  }
});

test("weights stay in 0..1, and a face at rest is at rest", () => {
  const fit = new PresetFit(SHAPES, MORPHS);
  assert.deepEqual(Object.values(shown(fit, [1, 1, 1, 1])), [1, 1, 1, 1]);
  for (const weight of Object.values(shown(fit, [0, 0, 0, 0]))) assert.ok(Math.abs(weight) < 1e-6);
});
