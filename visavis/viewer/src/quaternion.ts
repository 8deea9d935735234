/** Quaternions (x, y, z, w) inside flat Float32Arrays; the few functions that blending poses needs. */

export type Numbers = Float32Array | number[];

/** out[o..o+3] = a[i..] * b[j..]: b is applied first. */
export function multiply(a: Numbers, i: number, b: Numbers, j: number, out: Numbers, o: number): void {
  const ax = a[i], ay = a[i + 1], az = a[i + 2], aw = a[i + 3];
  const bx = b[j], by = b[j + 1], bz = b[j + 2], bw = b[j + 3];
  out[o] = aw * bx + ax * bw + ay * bz - az * by;
  out[o + 1] = aw * by - ax * bz + ay * bw + az * bx;
  out[o + 2] = aw * bz + ax * by - ay * bx + az * bw;
  out[o + 3] = aw * bw - ax * bx - ay * by - az * bz;
}

/** The rotation vector (radians, the short way round) of a * conjugate(b), into out[o..o+2]. */
export function difference(a: Numbers, i: number, b: Numbers, j: number, out: Numbers, o: number): void {
  const bx = -b[j], by = -b[j + 1], bz = -b[j + 2], bw = b[j + 3];
  const ax = a[i], ay = a[i + 1], az = a[i + 2], aw = a[i + 3];
  let x = aw * bx + ax * bw + ay * bz - az * by;
  let y = aw * by - ax * bz + ay * bw + az * bx;
  let z = aw * bz + ax * by - ay * bx + az * bw;
  let w = aw * bw - ax * bx - ay * by - az * bz;
  if (w < 0) { x = -x; y = -y; z = -z; w = -w; }
  const sine = Math.hypot(x, y, z);
  const scale = sine < 1e-7 ? 2 : (2 * Math.atan2(sine, w)) / sine;
  out[o] = x * scale;
  out[o + 1] = y * scale;
  out[o + 2] = z * scale;
}

/** The quaternion of a rotation vector v[i..i+2], into out[o..o+3]. */
export function exponential(v: Numbers, i: number, out: Numbers, o: number): void {
  const angle = Math.hypot(v[i], v[i + 1], v[i + 2]);
  const scale = angle < 1e-6 ? 0.5 : Math.sin(angle / 2) / angle; // sin(a/2)/a → 1/2 as a → 0
  out[o] = v[i] * scale;
  out[o + 1] = v[i + 1] * scale;
  out[o + 2] = v[i + 2] * scale;
  out[o + 3] = Math.cos(angle / 2);
}

/** Normalised linear interpolation on the shorter arc: 0 gives a, 1 gives b. */
export function nlerp(a: Numbers, i: number, b: Numbers, j: number, t: number, out: Numbers, o: number): void {
  const dot = a[i] * b[j] + a[i + 1] * b[j + 1] + a[i + 2] * b[j + 2] + a[i + 3] * b[j + 3];
  const s = dot < 0 ? -t : t;
  const r = 1 - t;
  const x = r * a[i] + s * b[j];
  const y = r * a[i + 1] + s * b[j + 1];
  const z = r * a[i + 2] + s * b[j + 2];
  const w = r * a[i + 3] + s * b[j + 3];
  const n = 1 / (Math.hypot(x, y, z, w) || 1);
  out[o] = x * n;
  out[o + 1] = y * n;
  out[o + 2] = z * n;
  out[o + 3] = w * n;
}
