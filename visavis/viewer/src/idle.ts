/** Standing and waiting, alive: motion asked of the server ahead of time, and never an end of it. */

import { BONES, FACE, type Body } from "./pose";
import { Track } from "./track";

const AHEAD_S = 5;
const ASK_S = 4;
const KEEP_S = 12; // what can be walked back and forth while the server is away
const ASK_AGAIN_S = 3;

export class Idle {
  private readonly rotations = new Track(BONES * 4, true);
  private readonly root = new Track(3, false);
  private readonly face = new Track(FACE, false);
  private direction = 1;
  private stale = false;
  private askedS = -Infinity; // when
  private headS = 0;
  chunks = 0;

  get empty(): boolean {
    return this.rotations.empty;
  }

  /** Ask for more, if it is time, by `ask(start_s, frames)`. */
  refill(nowS: number, ask: (startS: number, frames: number) => void): void {
    const nextS = this.empty ? 0 : this.stale ? this.headS : this.rotations.endS + 1 / this.rotations.fps;
    if (nextS - this.headS > AHEAD_S || nowS - this.askedS < ASK_AGAIN_S) return;
    this.askedS = nowS;
    ask(nextS, ASK_S * this.rotations.fps);
  }

  /**
   * A turn has been played: what was made ahead no longer continues what is shown. The next piece to arrive does, also
   * one that was asked for before, because the server makes none while it makes a turn.
   */
  renew(): void {
    this.stale = true;
  }

  insert(startS: number, rotations: Float32Array, root: Float32Array, face: Float32Array | null): void {
    if (this.stale) startS = this.headS;
    this.rotations.insert(startS, rotations);
    this.root.insert(startS, root);
    if (face) this.face.insert(startS, face);
    this.askedS = -Infinity;
    this.chunks++;
    // After a renewal the frames before are of another life: never walk back into them.
    const fromS = this.stale ? Math.min(this.headS, startS) : this.headS - KEEP_S;
    for (const track of [this.rotations, this.root, this.face]) track.forget(fromS);
    if (this.stale) this.direction = 1;
    this.stale = false;
  }

  /** Move on by `dt`; true if the direction turned, so that the blend can smooth it. */
  advance(dt: number): boolean {
    if (this.empty) return false;
    this.headS += dt * this.direction;
    const lowS = this.rotations.startS, highS = this.rotations.endS;
    let turned = false;
    if (this.direction > 0 && this.headS >= highS) {
      this.direction = -1;
      turned = true;
    } else if (this.direction < 0 && (this.headS <= lowS || highS - this.headS > KEEP_S)) {
      this.direction = 1;
      turned = true;
    }
    this.headS = Math.min(highS, Math.max(lowS, this.headS));
    return turned;
  }

  /** The body `aheadS` seconds from now, in the direction of walking. */
  sample(body: Body, aheadS = 0): boolean {
    const timeS = this.headS + aheadS * this.direction;
    return this.rotations.sample(timeS, body.rotations) && this.root.sample(timeS, body.root);
  }

  sampleFace(face: Float32Array): boolean {
    return this.face.sample(this.headS, face);
  }
}
