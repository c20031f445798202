/**
 * Full TLS handshakes: each connection is new, names the host, asks for one small page and is closed by the server. wrk
 * would resume its sessions wherever a proxy gives tickets. Prints one JSON object.
 */
import { connect, createSecureContext } from "node:tls";

export interface HandshakeOptions {
  readonly port: number;
  readonly host: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface HandshakeResult {
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
  /** Must stay 0. */
  readonly resumed: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as HandshakeOptions;
const request = `GET /small HTTP/1.1\r\nHost: ${options.host}\r\nConnection: close\r\n\r\n`;
const secureContext = createSecureContext({});
let answered = 0, failures = 0, resumed = 0, open = 0, ended = false;
const closed = Promise.withResolvers<void>();

function next(): void {
  open++;
  let head = "";
  const socket = connect({
    host: "127.0.0.1",
    port: options.port,
    servername: options.host,
    rejectUnauthorized: false,
    secureContext,
  });
  socket.on("secureConnect", () => {
    if (socket.isSessionReused()) resumed++;
    socket.write(request);
  });
  socket.on("data", (bytes: Buffer) => head ||= bytes.toString("latin1", 0, 12));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    if (head === "HTTP/1.1 200") answered++;
    else failures++;
    if (ended && --open === 0) closed.resolve();
    else if (!ended) {
      open--;
      next();
    }
  });
}

const fromMs = performance.now();
for (let i = 0; i < options.connections; i++) next();
await Bun.sleep(options.seconds * 1_000);
ended = true;
await closed.promise;
const seconds = (performance.now() - fromMs) / 1_000;
const result: HandshakeResult = { requests: answered, failures, seconds, resumed };
console.log(JSON.stringify(result));
process.exit(0);
