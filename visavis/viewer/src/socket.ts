/** The connection to the server: reconnects by itself and says how it stands. */

import { unpack, type Message } from "./wire";

export type Connection = "connecting" | "open" | "reconnecting" | "ended";

const UNKNOWN_SESSION = 4404; // the server does not know this page any more: it was restarted
const REFUSED = 4403;

export class Socket {
  private socket: WebSocket | null = null;
  private timer = 0;
  private waitMs = 500;
  private closed = false;
  connection: Connection = "connecting";

  constructor(
    private readonly url: string,
    private readonly onMessage: (message: Message) => void,
    private readonly onConnection: (connection: Connection) => void,
    private readonly onError: (error: unknown) => void,
  ) {
    this.open();
  }

  /** Send if connected; events about the past are of no use later, so nothing is queued. */
  send(message: Message): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Drop the connection and take a new one, as after a loss: at once, for whoever is lost cannot agree to it. */
  renew(): void {
    const lost = this.socket;
    if (!lost || this.closed || this.connection === "ended") return;
    lost.onopen = lost.onmessage = lost.onclose = null;
    lost.close();
    this.again();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  private open(): void {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.waitMs = 500;
      this.become("open");
    };
    socket.onmessage = (event) => {
      try {
        this.onMessage(unpack(event.data as string | ArrayBuffer));
      } catch (error) {
        this.onError(error);
      }
    };
    socket.onclose = (event) => {
      if (this.closed) return;
      if (event.code === UNKNOWN_SESSION || event.code === REFUSED) {
        this.become("ended");
        return;
      }
      this.again();
    };
  }

  private again(): void {
    clearTimeout(this.timer);
    this.become("reconnecting");
    this.timer = window.setTimeout(() => this.open(), this.waitMs);
    this.waitMs = Math.min(this.waitMs * 1.7, 5000);
  }

  private become(connection: Connection): void {
    this.connection = connection;
    this.onConnection(connection);
  }
}
