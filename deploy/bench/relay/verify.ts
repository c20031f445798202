/**
 * Before anything is measured: each proxy answers with the right bytes, passes on what a proxy must, and logs one line a
 * request. A fast proxy that leaves something out is no peer.
 */
import { assert, GodwitError } from "../../../control/contract/errors.ts";
import { BODY_64K_BYTES, BODY_64M_BYTES, SMALL_BODY } from "./backend.ts";
import { APP_HOST, type Proxy, WEBSOCKET_HOST } from "./proxy.ts";

const LOG_WAIT_MS = 3_000;
const LOG_POLL_MS = 20;
const WEBSOCKET_WAIT_MS = 5_000;

export async function verify(proxy: Proxy): Promise<void> {
  await expectLogLines(proxy, 1); // what asking whether it is ready has left
  const wrong: string[] = [];
  const check = (holds: boolean, what: string) => void (holds || wrong.push(what));
  const get = (path: string, init: RequestInit = {}) =>
    fetch(proxy.httpUrl + path, { ...init, headers: { host: APP_HOST } });

  const small = await get("/small");
  check(await small.text() === SMALL_BODY, "the small body is another one");
  const id = small.headers.get("fly-request-id") ?? small.headers.get("x-request-id") ?? "";
  check(id.length >= 16, "a response has no request id");
  const seen = (await (await get("/seen")).text()).split("|");
  check(seen[0]!.length >= 16, "the backend sees no request id");
  check(seen[1] === "127.0.0.1", "the backend sees no X-Forwarded-For");
  check(seen[2] === "http", "the backend sees no X-Forwarded-Proto");
  check(seen[3] === APP_HOST, "the backend sees another Host");
  const middle = await (await get("/64k")).text();
  check(middle === "k".repeat(BODY_64K_BYTES), "the body of 64 KB is another one");
  const large = await (await get("/64m")).arrayBuffer();
  check(large.byteLength === BODY_64M_BYTES, "the body of 64 MB has another length");
  const posted = await get("/sink", { method: "POST", body: "x".repeat(16_384) });
  check(await posted.text() === "taken\n", "a POST was not taken");
  check(await echo(proxy) === "word", "a WebSocket message did not come back");
  const init = { headers: { host: APP_HOST }, tls: { rejectUnauthorized: false } };
  const secure = await fetch(`${proxy.tlsUrl}/seen`, init);
  check((await secure.text()).split("|")[2] === "https", "the backend does not see that TLS was used");
  const requests = 7;
  if (wrong.length > 0) {
    throw new GodwitError(
      "bench.wrong_answer",
      `${proxy.name} is not set up as the others: ${wrong.join("; ")}`,
      {
        fault: "us",
      },
    );
  }
  const lines = await expectLogLines(proxy, requests);
  const plain = proxy.plan.logFile === null ? 0 : requests;
  assert(lines === plain, `${proxy.name} logged ${lines} lines for ${plain} requests`);
}

/** Waits until at least so many lines are there, or no longer. @returns how many were there */
export async function expectLogLines(proxy: Proxy, atLeast: number): Promise<number> {
  if (proxy.plan.logFile === null) return 0;
  let lines = 0;
  for (let waitedMs = 0; waitedMs < LOG_WAIT_MS; waitedMs += LOG_POLL_MS) {
    lines += proxy.takeLogLines();
    if (lines >= atLeast && waitedMs >= 5 * LOG_POLL_MS) break;
    await Bun.sleep(LOG_POLL_MS);
  }
  return lines;
}

function echo(proxy: Proxy): Promise<string> {
  const socket = new WebSocket(`${proxy.httpUrl.replace("http", "ws")}/websocket`, {
    headers: { host: WEBSOCKET_HOST },
  } as unknown as string[]);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve("nothing"), WEBSOCKET_WAIT_MS);
    const end = (text: string) => {
      clearTimeout(timer);
      socket.close();
      resolve(text);
    };
    socket.onopen = () => socket.send("word");
    socket.onmessage = (event) => end(String(event.data));
    socket.onerror = () => end("an error");
  });
}
