/**
 * A machine that believes what it is told: it answers each request that it sees in one lenient reading, and keeps each
 * byte that came, so that a test can ask what every other reading would have seen in them.
 */
import { createServer, type Server, type Socket } from "node:net";
import { type Reading, RFC, type Seen, seeRequests } from "./lenient-reader.ts";

export interface OriginConnection {
  readonly socket: Socket;
  /** Everything since the last `take`. */
  text: string;
  unanswered: string;
  closed: boolean;
}

export class RecordingOrigin {
  connections: OriginConnection[] = [];
  readonly #server: Server;
  reading: Reading = RFC;
  /** What a request gets; null: nothing. */
  answer: (seen: Seen, socket: Socket) => string | null = answerWithWhatWasSeen;
  /** Bytes of an answer that go out at a time. */
  pieceBytes = Infinity;
  bytes = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static start(): Promise<RecordingOrigin> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const origin = new RecordingOrigin(server);
    server.on("connection", (socket) => origin.#connected(socket));
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(origin)));
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  #connected(socket: Socket): void {
    const connection: OriginConnection = { socket, text: "", unanswered: "", closed: false };
    this.connections.push(connection);
    socket.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      this.bytes += chunk.length;
      connection.text += text;
      const sight = seeRequests(connection.unanswered + text, this.reading);
      connection.unanswered = sight.rest;
      for (const seen of sight.messages) {
        const response = this.answer(seen, socket);
        if (response !== null) void this.#write(socket, response);
      }
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => connection.closed = true);
    socket.on("error", () => {});
  }

  async #write(socket: Socket, text: string): Promise<void> {
    for (let at = 0; at < text.length && !socket.destroyed; at += this.pieceBytes) {
      if (at > 0) await new Promise((resolve) => setImmediate(resolve));
      socket.write(Buffer.from(text.slice(at, at + this.pieceBytes), "latin1"));
    }
  }

  /** @returns what came on each connection since the last time */
  take(): { text: string; closed: boolean }[] {
    return this.connections.map((connection) => {
      const { text, closed } = connection;
      connection.text = "";
      return { text, closed };
    }).filter(({ text }) => text !== "");
  }

  forgetClosed(): void {
    this.connections = this.connections.filter(({ closed }) => !closed);
  }

  async stop(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }
}

export function answerWithWhatWasSeen({ start, body }: Seen): string {
  const text = `saw ${start} with ${body.length}`;
  return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${start.startsWith("HEAD ") ? "" : text}`;
}
