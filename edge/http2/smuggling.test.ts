/**
 * Requests of HTTP/2 that would become two of HTTP/1.1, or one of somebody else's. A machine records what it gets, and
 * readers that are lenient in opposite ways read it: all of them must see the same requests, and none that was hidden in
 * another.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type RawUpstream, startRawUpstream, until } from "../edge.fixture.ts";
import { type Fields, FrameClient, type Http2Edge, pseudo, startHttp2Edge } from "./http2.fixture.ts";

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n";

let machine: RawUpstream;
let edge: Http2Edge;
beforeAll(async () => {
  // Answers whatever comes with nothing that could be mistaken.
  machine = await startRawUpstream((connection) => {
    if (!/\r\n\r\n/.test(connection.text)) return;
    connection.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  });
  edge = await startHttp2Edge([machine.port]);
});
afterAll(async () => {
  await edge.stop();
  await machine.stop();
});

/** The request lines that a lenient reader sees, where both framings are there believing the one or the other. */
function requestLines(text: string, believes: "length" | "chunks"): string[] {
  const lines: string[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end === -1) return [...lines, `rest: ${text.slice(at)}`];
    const head = text.slice(at, end);
    lines.push(head.split(/\r?\n/)[0]!);
    // Spaces around names, other cases and underscores do not disturb this reader.
    const length = /^\s*content[-_]length\s*:\s*(\d+)/im.exec(head);
    const chunked = /^\s*transfer[-_]encoding\s*:.*chunked/im.test(head);
    at = end + 4;
    if (chunked && (length === null || believes === "chunks")) {
      for (;;) {
        const lineEnd = text.indexOf("\r\n", at);
        if (lineEnd === -1) return lines;
        const size = Number.parseInt(text.slice(at, lineEnd), 16);
        at = lineEnd + 2 + size + 2;
        if (size === 0) break;
      }
    } else if (length !== null) at += Number(length[1]);
  }
  return lines;
}

interface Try {
  readonly fields: Fields;
  readonly data?: string;
  /** Statuses that may come; a stream that is reset has none. */
  readonly refused: boolean;
}

const post = (...fields: Fields): Fields => [...pseudo("POST"), ...fields];
const tries: Record<string, Try> = {
  "H2.CL: a length shorter than the body": {
    fields: post(["content-length", "3"]),
    data: `abc${HIDDEN}`,
    refused: true,
  },
  "H2.CL: a length of zero before a body": {
    fields: post(["content-length", "0"]),
    data: HIDDEN,
    refused: true,
  },
  "H2.CL: a length longer than the body": {
    fields: post(["content-length", "99"]),
    data: "abc",
    refused: true,
  },
  "H2.CL: two lengths": {
    fields: post(["content-length", "3"], ["content-length", "0"]),
    data: "abc",
    refused: true,
  },
  "H2.CL: a list of lengths": { fields: post(["content-length", "3, 3"]), data: "abc", refused: true },
  "H2.CL: a signed length": { fields: post(["content-length", "+3"]), data: "abc", refused: true },
  "H2.CL: an underscored length": {
    fields: post(["content_length", "3"]),
    data: `abc${HIDDEN}`,
    refused: true,
  },
  "H2.TE: a transfer coding": {
    fields: post(["transfer-encoding", "chunked"]),
    data: `0\r\n\r\n${HIDDEN}`,
    refused: true,
  },
  "H2.TE: an underscored transfer coding": {
    fields: post(["transfer_encoding", "chunked"]),
    data: `0\r\n\r\n${HIDDEN}`,
    refused: true,
  },
  "H2.TE: a coding behind a line end": {
    fields: post(["x-a", "b\r\ntransfer-encoding: chunked"]),
    data: `0\r\n\r\n${HIDDEN}`,
    refused: true,
  },
  "H2.TE: a coding in a name": {
    fields: post(["transfer-encoding: chunked\r\nx", "b"]),
    data: `0\r\n\r\n${HIDDEN}`,
    refused: true,
  },
  "H2.TE: upper case": { fields: post(["Transfer-Encoding", "chunked"]), data: HIDDEN, refused: true },
  "injection: a request in a value": { fields: post(["x-a", `b\r\n\r\n${HIDDEN}`]), refused: true },
  "injection: a bare line feed in a value": { fields: post(["x-a", "b\ncontent-length: 99"]), refused: true },
  "injection: a bare carriage return in a value": {
    fields: post(["x-a", "b\rcontent-length: 99"]),
    refused: true,
  },
  "injection: a NUL in a value": { fields: post(["x-a", "b\0"]), refused: true },
  "injection: a name with a colon": { fields: post(["host:", "other.test"]), refused: true },
  "injection: a name with a space": { fields: post(["content-length ", "0"]), data: HIDDEN, refused: true },
  "injection: a request in :path": {
    fields: pseudo("GET", `/ HTTP/1.1\r\nHost: x\r\n\r\n${HIDDEN}`),
    refused: true,
  },
  "injection: a request in :method": { fields: pseudo(`GET / HTTP/1.1\r\n\r\n${HIDDEN}`), refused: true },
  "injection: a request in :authority": {
    fields: pseudo("GET", "/", `app.test\r\n\r\n${HIDDEN}`),
    refused: true,
  },
  "injection: :scheme as a URL": {
    fields: [[":method", "GET"], [":scheme", "http://other.test/?"], [":authority", "app.test"], [
      ":path",
      "/",
    ]],
    refused: true,
  },
  "a :path with a space": { fields: pseudo("GET", "/a HTTP/1.0"), refused: true },
  "a :path with a fragment": { fields: pseudo("GET", "/a#b"), refused: true },
  "a :path that is another's URL": { fields: pseudo("GET", "http://other.test/"), refused: true },
  "a :path of the other form": { fields: pseudo("GET", "other.test:80"), refused: true },
  "an authority and another Host": { fields: [...pseudo(), ["host", "other.test"]], refused: true },
  "an authority and two Hosts": {
    fields: [...pseudo(), ["host", "app.test"], ["host", "app.test"]],
    refused: true,
  },
  "user information in the authority": { fields: pseudo("GET", "/", "app.test@other.test"), refused: true },
  "a connection field": { fields: [...pseudo(), ["connection", "x-forwarded-for"]], refused: true },
  "an Upgrade": { fields: [...pseudo(), ["upgrade", "h2c"]], refused: true },
  "CONNECT": { fields: [[":method", "CONNECT"], [":authority", "other.test:80"]], refused: true },
  "CONNECT for an unknown protocol": {
    fields: [...pseudo("CONNECT"), [":protocol", "connect-udp"]],
    refused: true,
  },
  "a body that looks like chunks": {
    fields: post(["content-length", "5"]),
    data: "0\r\n\r\n",
    refused: false,
  },
  "a body without a length that looks like chunks": {
    fields: post(),
    data: `0\r\n\r\n${HIDDEN}`,
    refused: false,
  },
  "fields that only an edge may say": {
    fields: [...pseudo(), ["fly-client-ip", "6.6.6.6"], ["x_forwarded_for", "6.6.6.6"], ["fly-region", "x"]],
    refused: false,
  },
};

for (const [what, { fields, data, refused }] of Object.entries(tries)) {
  test(what, async () => {
    const before = machine.connections.length;
    const client = await FrameClient.open(edge.port);
    const id = client.request(fields, data === undefined);
    if (data !== undefined) client.data(id, data, true);
    await client.over(id);
    // A second request, so that whatever the first left behind would meet it.
    const next = client.request(pseudo("GET", "/next"));
    await client.over(next);
    await until(() => machine.connections.length > before);
    const texts = machine.connections.slice(before).map((connection) => connection.text);
    for (const text of texts) {
      const [line, ...more] = requestLines(text, "length");
      expect(requestLines(text, "chunks")).toEqual([line!, ...more]);
      expect(more).toEqual([]);
      expect(line).not.toContain("hidden");
      expect(text).not.toContain("6.6.6.6");
    }
    expect(texts.at(-1)).toStartWith("GET /next HTTP/1.1\r\n");
    expect(client.status(next)).toBe("200");
    if (refused) {
      expect(["400", "405", undefined]).toContain(client.status(id));
      // A head may have gone before its body was seen to be wrong; nothing of what was hidden may.
      for (const text of texts) expect(text).not.toContain("/hidden");
    } else expect(client.status(id)).toBe("200");
    client.close();
  });
}
