/**
 * A keep-alive HTTP/1.1 client made of as little as possible, for the load programs: it sends prepared bytes and counts
 * those of the answer, whose length it learns once from the first response's Content-Length.
 */
export interface RawClientEvents {
  /** A whole response is there. */
  onResponse(client: RawClient): void;
  /** The connection ended, or the answer was no 200. */
  onFailure(client: RawClient, reason: string): void;
}

export class RawClient {
  readonly #events: RawClientEvents;
  #socket: Bun.Socket<RawClient> | null = null;
  #head = "";
  #missing = 0;
  /** When the running request was due, by the caller's clock. */
  startedMs = 0;

  private constructor(events: RawClientEvents) {
    this.#events = events;
  }

  static async open(port: number, events: RawClientEvents): Promise<RawClient> {
    const client = new RawClient(events);
    client.#socket = await Bun.connect<RawClient>({
      hostname: "127.0.0.1",
      port,
      data: client,
      socket: {
        data: (socket, bytes) => socket.data.#data(bytes),
        close: (socket) => socket.data.#closed(),
        error: (socket, error) => socket.data.#failed(error.message),
      },
    });
    return client;
  }

  send(request: string): void {
    this.#socket!.write(request);
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.end();
  }

  #data(bytes: Buffer): void {
    if (this.#missing > 0) {
      this.#missing -= bytes.length;
    } else {
      this.#head += bytes.toString("latin1");
      const end = this.#head.indexOf("\r\n\r\n");
      if (end === -1) return;
      const length = /\r\ncontent-length: *(\d+)/i.exec(this.#head.slice(0, end));
      if (!this.#head.startsWith("HTTP/1.1 200") || length === null) {
        return this.#failed(this.#head.slice(0, 100));
      }
      this.#missing = Number(length[1]) - (this.#head.length - end - 4);
      this.#head = "";
    }
    if (this.#missing === 0) this.#events.onResponse(this);
  }

  #closed(): void {
    if (this.#socket !== null) this.#failed("the connection was closed");
  }

  #failed(reason: string): void {
    this.close();
    this.#events.onFailure(this, reason);
  }
}
