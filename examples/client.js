// A client of `visavis serve` in the browser or in Node 22+: sessions by REST, events by WebSocket.
//
//   const client = new Client("http://127.0.0.1:7860", TOKEN);
//   const session = await client.open("guide");
//   session.onevent = (event) => console.log(event.type, event.text ?? "");
//   session.send({ type: "input.text", text: "How big is the blue whale?" });
//
// Speech, face and motion events carry `arrays`: typed arrays by name, each with its shape.

const KINDS = { float32: Float32Array, int16: Int16Array, int32: Int32Array, uint8: Uint8Array };

export class Client {
  constructor(url, token) {
    Object.assign(this, { url: url.replace(/\/$/, ""), token });
  }

  async request(method, path, body) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const told = answer.status === 204 ? null : await answer.json();
    if (!answer.ok) throw new Error(told?.error?.message ?? `the server answered ${answer.status}`);
    return told;
  }

  async open(persona, id) {
    const { id: name } = await this.request("POST", "/v1/sessions", { persona, id });
    // Browsers cannot set headers of a WebSocket: the token travels as a subprotocol.
    const socket = new WebSocket(`${this.url.replace(/^http/, "ws")}/v1/sessions/${name}/events`, [
      "visavis.v1",
      `token.${this.token}`,
    ]);
    socket.binaryType = "arraybuffer";
    const session = { id: name, onevent() {}, send: (event) => socket.send(JSON.stringify(event)) };
    session.close = async () => (socket.close(), this.request("DELETE", `/v1/sessions/${name}`));
    socket.onmessage = ({ data }) => session.onevent(typeof data === "string" ? JSON.parse(data) : unpack(data));
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    return session;
  }
}

// A binary frame: the header's length (uint32, little endian), the header as JSON, then its arrays one after the other.
export function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const event = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  let at = 4 + size;
  const arrays = {};
  for (const { name, dtype, shape } of event.arrays) {
    const count = shape.reduce((product, length) => product * length, 1);
    const bytes = count * KINDS[dtype].BYTES_PER_ELEMENT;
    arrays[name] = Object.assign(new KINDS[dtype](buffer.slice(at, at + bytes)), { shape });
    at += bytes;
  }
  return { ...event, arrays };
}
