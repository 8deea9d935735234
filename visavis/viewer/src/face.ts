/** ARKit weights on an avatar that has only VRM's presets: bounded least squares, as `visavis.motion.expressions`. */

export type Shapes = Record<string, Record<string, number>>;

const SWEEPS = 12; // from the solution of the frame before

export class PresetFit {
  readonly names: string[];
  readonly weights: Float64Array;
  private readonly shapes: Float64Array[];
  private readonly gram: Float64Array[];

  /** `shapes`: preset → ARKit name → weight; `morphs`: the order of the ARKit weights. */
  constructor(shapes: Shapes, morphs: string[]) {
    this.names = Object.keys(shapes);
    this.shapes = this.names.map((name) => Float64Array.from(morphs, (morph) => shapes[name][morph] ?? 0));
    this.gram = this.shapes.map((a) => Float64Array.from(this.shapes, (b) => dot(a, b)));
    this.weights = new Float64Array(this.names.length);
  }

  /** Bring `weights` to those, in [0, 1], that come nearest to a face. */
  fit(face: Float32Array): void {
    const wanted = this.shapes.map((shape) => dot(shape, face));
    for (let sweep = 0; sweep < SWEEPS; sweep++)
      for (let k = 0; k < this.names.length; k++) {
        const own = this.gram[k][k];
        if (own <= 0) continue;
        const rest = wanted[k] - dot(this.gram[k], this.weights);
        this.weights[k] = Math.min(1, Math.max(0, this.weights[k] + rest / own));
      }
  }
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
