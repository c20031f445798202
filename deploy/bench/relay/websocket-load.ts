/**
 * WebSocket echo: each connection sends one message and, when it is back, the next. The frames are prepared bytes (RFC
 * 6455 section 5.2, masked with zeros) on plain sockets, because a client library would cost more than the proxy. Prints
 * one JSON object.
 */
export interface WebSocketOptions {
  readonly port: number;
  readonly host: string;
  readonly connections: number;
  readonly messageBytes: number;
  readonly seconds: number;
}

export interface WebSocketResult {
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
}

interface State {
  open: boolean;
  head: string;
  missing: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as WebSocketOptions;
const message = Buffer.alloc(2 + 4 + options.messageBytes, "x");
message.set([0x82, 0x80 | options.messageBytes, 0, 0, 0, 0]);
/** A server's frame has no mask. */
const echoBytes = 2 + options.messageBytes;
const upgrade = `GET /websocket HTTP/1.1\r\nHost: ${options.host}\r\nConnection: Upgrade\r\n` +
  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
let echoed = 0, failures = 0, ended = false;

function onData(socket: Bun.Socket<State>, bytes: Buffer): void {
  const state = socket.data;
  let length = bytes.length;
  if (!state.open) {
    state.head += bytes.toString("latin1");
    const end = state.head.indexOf("\r\n\r\n");
    if (end === -1) return;
    if (!state.head.startsWith("HTTP/1.1 101")) {
      console.error(state.head);
      failures++;
      return void socket.end();
    }
    state.open = true;
    length = state.head.length - end - 4;
    socket.write(message);
  }
  state.missing -= length;
  if (state.missing > 0) return;
  state.missing = echoBytes;
  echoed++;
  if (!ended) socket.write(message);
}

const sockets = await Promise.all(
  Array.from({ length: options.connections }, () =>
    Bun.connect<State>({
      hostname: "127.0.0.1",
      port: options.port,
      data: { open: false, head: "", missing: echoBytes },
      socket: {
        open: (socket) => void socket.write(upgrade),
        data: onData,
        close: () => {
          if (!ended) failures++;
        },
      },
    })),
);
const fromMs = performance.now();
await Bun.sleep(options.seconds * 1_000);
ended = true;
const seconds = (performance.now() - fromMs) / 1_000;
const result: WebSocketResult = { requests: echoed, failures, seconds };
console.log(JSON.stringify(result));
for (const socket of sockets) socket.end();
process.exit(0);
