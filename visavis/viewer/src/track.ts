/** Frames on a time axis that arrive in chunks and are read at any time between them. */

import { nlerp } from "./quaternion";

export class Track {
  readonly fps: number;
  private first = 0; // frame number of data[0]
  private length = 0; // frames held
  private data: Float32Array;

  /** `width` numbers a frame; with `turning`, they are quaternions and are interpolated as such. */
  constructor(readonly width: number, readonly turning: boolean, fps = 30) {
    this.fps = fps;
    this.data = new Float32Array(width * 64);
  }

  get empty(): boolean {
    return this.length === 0;
  }

  /** Seconds at which the first frame stands. */
  get startS(): number {
    return this.first / this.fps;
  }

  /** Seconds at which the last frame stands. */
  get endS(): number {
    return this.empty ? 0 : (this.first + this.length - 1) / this.fps;
  }

  /** Put frames at `startS`; they replace all that stood there and after. A gap repeats the frame before it. */
  insert(startS: number, frames: Float32Array): void {
    const count = frames.length / this.width;
    if (count === 0) return;
    let at = Math.round(startS * this.fps);
    if (this.empty) this.first = at;
    let from = 0;
    if (at < this.first) {
      from = Math.min(this.first - at, count); // older than what has been forgotten
      at = this.first;
    }
    const kept = Math.min(this.length, at - this.first);
    const gap = at - this.first - kept;
    this.grow(at - this.first + count - from);
    for (let i = 0; i < gap; i++) {
      const source = (kept - 1) * this.width;
      this.data.copyWithin((kept + i) * this.width, source, source + this.width);
    }
    this.data.set(frames.subarray(from * this.width), (at - this.first) * this.width);
    this.length = at - this.first + count - from;
  }

  /** Read at a time, clamped to what there is; false if there is nothing. */
  sample(timeS: number, out: Float32Array): boolean {
    if (this.empty) return false;
    const place = Math.min(Math.max(timeS * this.fps - this.first, 0), this.length - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, this.length - 1);
    const t = place - low;
    const a = low * this.width, b = high * this.width;
    if (this.turning) {
      for (let i = 0; i < this.width; i += 4) nlerp(this.data, a + i, this.data, b + i, t, out, i);
    } else {
      for (let i = 0; i < this.width; i++) out[i] = this.data[a + i] * (1 - t) + this.data[b + i] * t;
    }
    return true;
  }

  /** Forget frames before a time. */
  forget(beforeS: number): void {
    const drop = Math.min(Math.floor(beforeS * this.fps) - this.first, this.length - 1);
    if (drop <= 0) return;
    this.data.copyWithin(0, drop * this.width, this.length * this.width);
    this.first += drop;
    this.length -= drop;
  }

  private grow(frames: number): void {
    if (frames * this.width <= this.data.length) return;
    const bigger = new Float32Array(Math.max(frames * this.width, this.data.length * 2));
    bigger.set(this.data);
    this.data = bigger;
  }
}
