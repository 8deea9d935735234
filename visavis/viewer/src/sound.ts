/**
 * The one clock of the viewer, and the voice on it.
 *
 * While the AudioContext runs, time is its `currentTime` (smoothed: it moves in steps of an audio buffer). Where the
 * browser blocks sound until a click, the performance clock stands in; `clockChanges` counts the changes, and what was
 * scheduled must then be scheduled again.
 */

interface Piece {
  startS: number; // on the turn's axis
  endS: number;
  buffer: AudioBuffer;
  node: AudioBufferSourceNode | null;
}

export class Sound {
  private readonly context: AudioContext | null;
  private readonly gain: GainNode | null = null;
  private readonly meter: AnalyserNode | null = null;
  private readonly samples = new Float32Array(512);
  private pieces: Piece[] = [];
  private running = false;
  private smoothS = 0;
  private wallS = performance.now() / 1000;
  peak = 0;
  playedS = 0;
  clockChanges = 0;

  constructor() {
    this.context = typeof AudioContext === "undefined" ? null : new AudioContext({ latencyHint: "interactive" });
    if (!this.context) return;
    this.gain = this.context.createGain();
    this.meter = this.context.createAnalyser();
    this.meter.fftSize = this.samples.length;
    this.gain.connect(this.meter).connect(this.context.destination);
  }

  /** Sound is allowed and the audio clock is the clock. */
  get audible(): boolean {
    return this.running;
  }

  get blocked(): boolean {
    return this.context !== null && this.context.state !== "running";
  }

  /** Seconds between scheduling and hearing. */
  get latencyS(): number {
    return this.running ? this.context!.outputLatency || this.context!.baseLatency || 0 : 0;
  }

  set muted(muted: boolean) {
    if (this.gain && this.context) this.gain.gain.setTargetAtTime(muted ? 0 : 1, this.context.currentTime, 0.02);
  }

  /** Ask for sound; works only inside a click or a key press. */
  unlock(): void {
    if (this.context?.state === "suspended") this.context.resume().catch(() => undefined);
  }

  /** Advance the clock; call once per frame or timer. Returns its time in seconds. */
  tick(): number {
    const wallS = performance.now() / 1000;
    const dt = wallS - this.wallS;
    this.wallS = wallS;
    const running = this.context?.state === "running" && this.context.currentTime > 0;
    if (running !== this.running) {
      this.running = running;
      this.clockChanges++;
      this.smoothS = running ? this.context!.currentTime : wallS;
    } else if (running) {
      const error = this.context!.currentTime - (this.smoothS + dt);
      // Small errors are the steps of the audio buffer; a large one is a sleep or a stall.
      this.smoothS = Math.abs(error) > 0.1 ? this.context!.currentTime : this.smoothS + dt + 0.08 * error;
    } else {
      this.smoothS = wallS;
    }
    return this.smoothS;
  }

  /** Count what is heard: the turn went on from `fromS` to `toS` (on its axis). */
  listen(fromS: number, toS: number): void {
    if (!this.running || !this.meter) return;
    for (const piece of this.pieces)
      this.playedS += Math.max(0, Math.min(toS, piece.endS) - Math.max(fromS, piece.startS));
    this.meter.getFloatTimeDomainData(this.samples);
    for (const value of this.samples) this.peak = Math.max(this.peak, Math.abs(value));
  }

  /** Seconds at which the last piece ends; 0 if there is none. */
  get endS(): number {
    return this.pieces.reduce((end, piece) => Math.max(end, piece.endS), 0);
  }

  add(startS: number, pcm: Int16Array, sampleRateHz: number): void {
    if (!this.context || pcm.length === 0) return;
    const buffer = this.context.createBuffer(1, pcm.length, sampleRateHz);
    const samples = buffer.getChannelData(0);
    for (let i = 0; i < pcm.length; i++) samples[i] = pcm[i] / 32768;
    this.pieces.push({ startS, endS: startS + buffer.duration, buffer, node: null });
  }

  /** Schedule every piece that is not yet scheduled; the turn's second 0 lies at `zeroS` on this clock. */
  schedule(zeroS: number): void {
    if (!this.context || !this.gain || !this.running) return;
    const now = this.context.currentTime;
    for (const piece of this.pieces) {
      const late = now - (zeroS + piece.startS);
      if (piece.node || late > piece.buffer.duration) continue;
      piece.node = this.context.createBufferSource();
      piece.node.buffer = piece.buffer;
      piece.node.connect(this.gain);
      piece.node.start(Math.max(now, zeroS + piece.startS), Math.max(0, late));
    }
  }

  /** Take back what is scheduled (it may be scheduled again), after a change of the clock. */
  unschedule(): void {
    for (const piece of this.pieces) {
      piece.node?.stop();
      piece.node?.disconnect();
      piece.node = null;
    }
  }

  /** Silence, now; forget the pieces. */
  clear(): void {
    this.unschedule();
    this.pieces = [];
  }

  dispose(): void {
    this.clear();
    this.context?.close().catch(() => undefined);
  }
}
