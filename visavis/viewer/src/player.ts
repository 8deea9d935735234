/**
 * Plays turns and idle motion on one clock. Knows nothing of drawing: it fills a body and a face for this moment, and
 * schedules the voice that belongs to them.
 */

import { Idle } from "./idle";
import { BodyBlend, Body, FACE, FaceBlend } from "./pose";
import { Sound } from "./sound";
import { Turn, type Gesture, type Word } from "./turn";
import type { Message } from "./wire";

const LEAD_S = 0.08; // between the decision to play and the first sample
const SOON_S = 1 / 60;
const REPORT_S = 0.25;

export interface Listener {
  send(message: Message): void;
  turnBegan(): void;
  emotion(name: string, intensity: number): void;
  gesture(gesture: Gesture): void;
}

export class Player {
  readonly sound = new Sound();
  readonly idle = new Idle();
  readonly body = new Body();
  readonly face = new Float32Array(FACE);
  private readonly soon = new Body();
  private readonly bodyBlend = new BodyBlend(0.12);
  private readonly faceBlend = new FaceBlend(0.05);
  private bodySource = "";
  private faceSource = "";
  private clockChanges = 0;
  private nowS = 0;
  private reportedS = 0;
  private stopped = new Set<string>(); // turns whose late chunks must not play
  turn: Turn | null = null;

  constructor(private readonly listener: Listener) {}

  /** What the body plays: the id of a turn, "idle", or "" before anything came. */
  get source(): string {
    return this.bodySource;
  }

  /** Seconds of the turn that are heard and seen now. */
  get heardS(): number {
    if (!this.turn) return 0;
    const latencyS = this.turn.zeroS === null ? 0 : this.sound.latencyS;
    return Math.max(0, Math.min(this.turn.positionS(this.nowS) - latencyS, this.turn.endS));
  }

  get words(): Word[] {
    return this.turn?.words ?? [];
  }

  receive(message: Message): void {
    const id = message.turn_id ?? "";
    switch (message.type) {
      case "idle.delta":
        this.idle.insert(message.start_s as number, message.rotations as Float32Array, message.root_m as Float32Array,
          (message.weights as Float32Array | undefined) ?? null);
        if (this.bodySource === "idle") this.joinBody(null); // it may have been renewed
        return;
      case "response.created":
        this.begin(id);
        return;
      case "response.interrupted":
        this.cut(id);
        this.idle.renew();
        return;
    }
    if (!message.type.startsWith("response.") || this.stopped.has(id)) return;
    const turn = this.turn?.id === id ? this.turn : this.begin(id);
    switch (message.type) {
      case "response.emotion":
        this.listener.emotion(message.emotion as string, message.intensity as number);
        return;
      case "response.gesture.added":
        this.listener.gesture(message.gesture as Gesture);
        return;
      case "response.speech.delta": {
        const pcm = message.pcm as Int16Array;
        const startS = message.start_s as number, rate = message.sample_rate_hz as number;
        this.sound.add(startS, pcm, rate);
        turn.speechEndS = Math.max(turn.speechEndS, startS + pcm.length / rate);
        turn.words.push(...(message.words as Word[]));
        if (turn.zeroS !== null) {
          const lateS = this.nowS + 0.02 - (turn.zeroS + startS);
          if (lateS > 0 && pcm.length > 0) turn.zeroS += lateS; // it came too late: the turn waits for it
          this.sound.schedule(turn.zeroS);
        }
        break;
      }
      case "response.motion.delta": {
        const joins = (message.start_s as number) <= turn.positionS(this.nowS) + SOON_S;
        turn.rotations.insert(message.start_s as number, message.rotations as Float32Array);
        turn.root.insert(message.start_s as number, message.root_m as Float32Array);
        if (joins && this.bodySource === id) this.joinBody(turn); // frames on display were replaced
        break;
      }
      case "response.face.delta":
        turn.face.insert(message.start_s as number, message.weights as Float32Array);
        break;
      case "response.done":
        turn.done = true;
        this.idle.renew();
        break;
    }
    this.pump();
  }

  /** Stop a turn at once, here; the body goes on from where it is. */
  cut(id = this.turn?.id ?? ""): void {
    if (id) this.stopped.add(id);
    if (!this.turn || this.turn.id !== id) return;
    this.report();
    this.sound.clear();
    this.turn = null;
  }

  /** Fill `body` and `face` for this moment, `dt` seconds after the last; false before anything came. */
  frame(dt: number): boolean {
    this.pump();
    const turn = this.turn;
    const playing = turn !== null && turn.zeroS !== null;
    const heardS = this.heardS;
    if (playing) {
      this.sound.listen(turn.listenedS, heardS);
      turn.listenedS = Math.max(turn.listenedS, heardS);
    }

    const bodySource = playing && !turn.rotations.empty && heardS <= turn.rotations.endS ? turn.id : "idle";
    const idleTurned = bodySource === "idle" && this.idle.advance(dt);
    if (bodySource !== "idle") turn!.rotations.sample(heardS, this.body.rotations) && turn!.root.sample(heardS, this.body.root);
    else if (!this.idle.sample(this.body) && !this.bodyBlend.ready) return false;
    if (bodySource !== this.bodySource || idleTurned) {
      this.bodySource = bodySource;
      this.joinBody(turn);
    }
    this.bodyBlend.apply(this.body, dt);

    const faceSource = playing && !turn.face.empty && heardS <= turn.face.endS ? turn.id : "idle";
    if (faceSource !== "idle") turn!.face.sample(heardS, this.face);
    else if (!this.idle.sampleFace(this.face)) this.face.fill(0);
    if (faceSource !== this.faceSource) {
      this.faceSource = faceSource;
      this.faceBlend.begin(this.face);
    }
    this.faceBlend.apply(this.face, dt);
    return true;
  }

  /** Everything that must go on while nothing is drawn too: the clock, starting, waiting, ending, reporting. */
  pump(): void {
    this.nowS = this.sound.tick();
    const turn = this.turn;
    if (this.clockChanges !== this.sound.clockChanges) {
      this.clockChanges = this.sound.clockChanges;
      this.sound.unschedule();
      if (turn && turn.zeroS !== null) turn.zeroS = this.nowS - turn.heldS;
      if (turn && turn.zeroS !== null) this.sound.schedule(turn.zeroS);
    }
    if (!turn) return;
    if (turn.zeroS === null) {
      if (!turn.playable) {
        if (turn.done && turn.endS <= turn.heldS) this.end(turn);
        return;
      }
      turn.zeroS = this.nowS + LEAD_S - turn.heldS;
      this.sound.schedule(turn.zeroS);
    }
    const positionS = turn.positionS(this.nowS);
    if (positionS - this.sound.latencyS >= turn.availableS) {
      if (turn.done) {
        this.end(turn);
        return;
      }
      turn.heldS = turn.availableS; // nothing more to show yet: wait, idling
      turn.zeroS = null;
    } else {
      turn.heldS = Math.max(0, positionS);
    }
    if (this.nowS - this.reportedS >= REPORT_S || this.nowS < this.reportedS) this.report();
  }

  dispose(): void {
    this.sound.dispose();
  }

  private begin(id: string): Turn {
    if (this.turn && this.turn.id !== id) this.cut();
    if (this.turn?.id === id) return this.turn;
    this.turn = new Turn(id);
    this.listener.turnBegan();
    return this.turn;
  }

  private end(turn: Turn): void {
    this.turn = turn;
    this.report();
    this.stopped.add(turn.id);
    this.sound.clear();
    this.turn = null;
  }

  private report(): void {
    if (!this.turn) return;
    this.reportedS = this.nowS;
    this.listener.send({ type: "input.playback", turn_id: this.turn.id, played_s: Number(this.heardS.toFixed(3)) });
  }

  /** Start a blend from what is displayed to the source that `body` was just read from. */
  private joinBody(turn: Turn | null): void {
    if (this.bodySource === "idle" || !turn) {
      if (!this.idle.sample(this.soon, SOON_S)) return;
      this.idle.sample(this.body);
    } else {
      turn.rotations.sample(this.heardS, this.body.rotations);
      turn.root.sample(this.heardS, this.body.root);
      turn.rotations.sample(this.heardS + SOON_S, this.soon.rotations);
    }
    this.bodyBlend.begin(this.body, this.soon, SOON_S);
  }
}
