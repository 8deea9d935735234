/** One pose of body and face, and the decaying offset that joins two motions without a pop. */

import { difference, exponential, multiply } from "./quaternion";

export const BONES = 55;
export const FACE = 52;

export class Body {
  readonly rotations = new Float32Array(BONES * 4);
  readonly root = new Float32Array(3);

  constructor() {
    for (let i = 3; i < this.rotations.length; i += 4) this.rotations[i] = 1;
  }

  copy(other: Body): void {
    this.rotations.set(other.rotations);
    this.root.set(other.root);
  }
}

const MOST_RAD_S = 6; // faster offsets come from dropped frames, not from the body

/**
 * Inertialisation (Bollo 2018; the critically damped form of Holden 2023): at a change of source, remember how the
 * displayed pose and its speed differ from the new source, add that to the new source and let it decay.
 */
export class BodyBlend {
  private readonly offset = new Float32Array(BONES * 3);
  private readonly speed = new Float32Array(BONES * 3);
  private readonly rootOffset = new Float32Array(3);
  private readonly turn = new Float32Array(4);
  private readonly shown = new Body();
  private readonly before = new Body();
  private shownDt = 0;
  ready = false;

  constructor(readonly halfLifeS: number) {}

  /** `now` and `soon` are the new source at this moment and `dt` seconds later. */
  begin(now: Body, soon: Body, dt: number): void {
    if (!this.ready) return;
    const a = new Float32Array(3), b = new Float32Array(3);
    for (let i = 0; i < BONES; i++) {
      difference(this.shown.rotations, i * 4, now.rotations, i * 4, this.offset, i * 3);
      difference(this.shown.rotations, i * 4, this.before.rotations, i * 4, a, 0);
      difference(soon.rotations, i * 4, now.rotations, i * 4, b, 0);
      for (let k = 0; k < 3; k++) {
        const speed = (this.shownDt > 0 ? a[k] / this.shownDt : 0) - b[k] / dt;
        this.speed[i * 3 + k] = Math.max(-MOST_RAD_S, Math.min(MOST_RAD_S, speed));
      }
    }
    for (let k = 0; k < 3; k++) this.rootOffset[k] = this.shown.root[k] - now.root[k];
  }

  /** Turn the source's pose into the displayed one, in place; `dt` seconds have passed. */
  apply(pose: Body, dt: number): void {
    const y = (2 * Math.LN2) / this.halfLifeS;
    const decay = Math.exp(-y * dt);
    for (let i = 0; i < this.offset.length; i++) {
      const j = this.speed[i] + this.offset[i] * y;
      this.offset[i] = decay * (this.offset[i] + j * dt);
      this.speed[i] = decay * (this.speed[i] - j * y * dt);
    }
    for (let i = 0; i < BONES; i++) {
      exponential(this.offset, i * 3, this.turn, 0);
      multiply(this.turn, 0, pose.rotations, i * 4, pose.rotations, i * 4);
    }
    for (let k = 0; k < 3; k++) pose.root[k] += this.rootOffset[k] *= decay;
    this.before.copy(this.ready ? this.shown : pose);
    this.shown.copy(pose);
    this.shownDt = dt;
    this.ready = true;
  }
}

/** The same for the face: weights fade from the displayed ones. */
export class FaceBlend {
  private readonly offset = new Float32Array(FACE);
  private readonly shown = new Float32Array(FACE);

  constructor(readonly halfLifeS: number) {}

  begin(now: Float32Array): void {
    for (let i = 0; i < FACE; i++) this.offset[i] = this.shown[i] - now[i];
  }

  apply(face: Float32Array, dt: number): void {
    const decay = Math.pow(0.5, dt / this.halfLifeS);
    for (let i = 0; i < FACE; i++) face[i] = Math.min(1, Math.max(0, face[i] + (this.offset[i] *= decay)));
    this.shown.set(face);
  }
}
