/**
 * Frames of the socket: text is one event as JSON; binary is a uint32 (little endian) with the header's length, the
 * event as JSON with `arrays: [{name, dtype, shape}]`, and the arrays one after the other.
 */

export interface Message {
  type: string;
  turn_id?: string;
  [field: string]: unknown;
}

export type Payload = Float32Array | Int16Array | Int32Array | Uint8Array;

const KINDS: Record<string, { new (buffer: ArrayBuffer): Payload; readonly BYTES_PER_ELEMENT: number }> = {
  float32: Float32Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
};

/** Read a frame; arrays become fields of the message, flat, in C order. */
export function unpack(frame: string | ArrayBuffer): Message {
  if (typeof frame === "string") return JSON.parse(frame) as Message;
  const size = new DataView(frame).getUint32(0, true);
  if (4 + size > frame.byteLength) throw new Error(`header of ${size} bytes in a frame of ${frame.byteLength}`);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, 4, size))) as Message;
  let at = 4 + size;
  for (const { name, dtype, shape } of message.arrays as { name: string; dtype: string; shape: number[] }[]) {
    const kind = KINDS[dtype];
    if (!kind) throw new Error(`array ${name} has the unknown dtype ${dtype}`);
    const bytes = shape.reduce((a, b) => a * b, 1) * kind.BYTES_PER_ELEMENT;
    if (at + bytes > frame.byteLength) throw new Error(`array ${name} runs past the end of its frame`);
    message[name] = new kind(frame.slice(at, at + bytes)); // a copy, so that it is aligned
    at += bytes;
  }
  return message;
}
