/** What has arrived of one turn. Times are seconds from its start. */

import { BONES, FACE } from "./pose";
import { Track } from "./track";

export interface Word {
  text: string;
  start_s: number;
  end_s: number;
}

export interface Gesture {
  gloss: string;
  start_s: number;
  end_s: number;
}

export class Turn {
  readonly rotations = new Track(BONES * 4, true);
  readonly root = new Track(3, false);
  readonly face = new Track(FACE, false);
  readonly words: Word[] = [];
  speechEndS = 0;
  done = false;
  /** Position of the turn's second 0 on the viewer's clock while it plays, else null. */
  zeroS: number | null = null;
  /** Where it stands while it does not play. */
  heldS = 0;
  /** Up to where it was heard. */
  listenedS = 0;

  constructor(readonly id: string) {}

  get endS(): number {
    return Math.max(this.rotations.endS, this.face.endS, this.speechEndS);
  }

  /** Seconds that can be played now: body and voice together, or all there is when nothing more will come. */
  get availableS(): number {
    if (this.done) return this.endS;
    return this.rotations.empty ? 0 : this.rotations.endS;
  }

  /** There is enough to begin, or to go on after a wait. */
  get playable(): boolean {
    return this.done ? this.endS > this.heldS : this.availableS > this.heldS + 0.3;
  }

  positionS(nowS: number): number {
    return this.zeroS === null ? this.heldS : nowS - this.zeroS;
  }
}
