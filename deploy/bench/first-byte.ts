/**
 * The moment at which an HTTP server gives its first byte of a good answer, asked again and again, one question at a time.
 * Raw sockets, so that the time of the first byte is seen and no client library waits on its own.
 */
import { connect } from "node:net";
import { GodwitError } from "../../control/contract/errors.ts";

export interface Target {
  readonly address: string;
  readonly port: number;
  /** Of the request's Host field. */
  readonly host: string;
}

/** Between the end of one question and the next. */
const POLL_MS = 4;
/**
 * A guest without a network drops a SYN, and the kernel repeats it only after a second: ask anew sooner than that. Once
 * its network is up each question gets an answer or a reset at once, long before anything listens.
 */
const CONNECT_MS_MAX = 100;
/** An edge may hold a request until the machine is there. */
const ANSWER_MS_MAX = 30_000;

/** `performance.now()` of the first byte of the first answer with status 200. */
export async function firstByte(target: Target, patienceMs: number, pollMs = POLL_MS): Promise<number> {
  const deadline = performance.now() + patienceMs;
  let last = "no answer";
  while (performance.now() < deadline) {
    const answer = await ask(target);
    if (answer.status === 200) return answer.at;
    last = answer.what;
    await Bun.sleep(pollMs);
  }
  throw new GodwitError(
    "bench.no_answer",
    `${target.address}:${target.port} gave no answer with status 200 in ${patienceMs} ms; last: ${last}`,
    { fault: "us" },
  );
}

interface Answer {
  readonly status: number | null;
  readonly at: number;
  readonly what: string;
}

function ask({ address, port, host }: Target): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (status: number | null, what: string) => {
      clearTimeout(timer);
      resolve({ status, at: performance.now(), what });
      socket.destroy();
    };
    let timer = setTimeout(() => end(null, "no connection"), CONNECT_MS_MAX);
    socket.on("connect", () => {
      clearTimeout(timer);
      timer = setTimeout(() => end(null, "no answer"), ANSWER_MS_MAX);
      socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    });
    socket.on("data", (bytes: Buffer) => {
      const line = bytes.toString("latin1", 0, 64).split("\r\n")[0] ?? "";
      end(Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1] ?? 0), line);
    });
    socket.on("error", (error) => end(null, error.message));
    socket.on("close", () => end(null, "closed without an answer"));
  });
}
