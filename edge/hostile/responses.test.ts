/**
 * Where does a response end? A hostile machine, a client that may be as careless as any reading, and another client that
 * must not notice: response splitting, framing, status lines, 1xx, bodies where there are none, and words out of turn.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient, until } from "../edge.fixture.ts";
import { get, HOST, type Hostile, startHostile } from "./hostile.fixture.ts";
import { READINGS, RFC, seeResponses } from "./lenient-reader.ts";
import { answerWithWhatWasSeen } from "./recording-origin.fixture.ts";

const PIECE = 5;
let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile({ limits: { interimResponsesMax: 3 } });
});
afterAll(() => hostile.stop());

interface ResponseCase {
  readonly name: string;
  readonly machine: string;
  readonly request?: string;
  /**
   * `bad`: the client gets 502. `cut`: its response begins and does not end. Else what it gets, interim statuses first:
   * `103 200 hello`.
   */
  readonly gets: string;
  /** Bytes behind the response: the connection to the machine ends. */
  readonly more?: true;
  /** No reading here is fooled by these bytes; they are refused all the same. */
  readonly fools?: "nobody";
}

const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
const ok = (fields: string, body = "") => `HTTP/1.1 200 OK\r\n${fields}\r\n${body}`;
const head = `HEAD /first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const bad = (name: string, machine: string, fools?: "nobody"): ResponseCase => ({
  name,
  machine,
  gets: "bad",
  ...(fools === undefined ? {} : { fools }),
});
const badLine = (line: string, fools?: "nobody") =>
  bad(JSON.stringify(line), ok(`${line}\r\n`, `0\r\n\r\n${EVIL}`), fools);

const groups: Record<string, ResponseCase[]> = {
  "framing": [
    bad(
      "Content-Length and Transfer-Encoding",
      ok("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${EVIL}`),
    ),
    bad("two lengths", ok("Content-Length: 0\r\nContent-Length: 5\r\n", "hello")),
    bad("the same length twice", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "nobody"),
    ...["+5", "-5", "5, 5", "5;", "0x5", "5x", "5 5", "", "18446744073709551621"].map((length) =>
      bad(
        `the length ${JSON.stringify(length)}`,
        ok(`Content-Length: ${length}\r\n`, "hello"),
        /^(|-5|1844.*)$/.test(length) ? "nobody" : undefined,
      )
    ),
    ...["xchunked", "gzip, chunked", "chunked, gzip", "identity", "\x0bchunked", '"chunked"', ""].map((
      coding,
    ) =>
      bad(
        `the coding ${JSON.stringify(coding)}`,
        ok(`Transfer-Encoding: ${coding}\r\n`, "0\r\n\r\n"),
        /^(identity|)$/.test(coding) ? "nobody" : undefined,
      )
    ),
    bad(
      "Transfer-Encoding twice",
      ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
    ),
    bad(
      "Transfer-Encoding in HTTP/1.0",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "nobody",
    ),
    ...["Content-Length:\t5", "content-length:5", "Content-Length: 05 "].map((line): ResponseCase => ({
      name: `${JSON.stringify(line)} goes on in one form`,
      machine: ok(`${line}\r\n`, "hello"),
      gets: "200 hello",
    })),
    {
      name: '"Transfer-Encoding:\\tChunked" goes on in one form',
      machine: ok("Transfer-Encoding:\tChunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
      gets: "200 hello",
    },
    {
      name: "Content_Length does not go on",
      machine: ok("Content_Length: 9\r\nContent-Length: 5\r\n", "hello"),
      gets: "200 hello",
    },
    {
      name: "a Connection field cannot take the length away",
      machine: ok("Connection: content-length, x\r\nX: 1\r\nContent-Length: 5\r\n", "hello"),
      gets: "200 hello",
      fools: "nobody",
    },
  ],
  "lines and names": [
    badLine("X: a\nTransfer-Encoding: chunked"),
    badLine("X: a\rTransfer-Encoding: chunked"),
    badLine("X: a\0Transfer-Encoding: chunked"),
    badLine("X: a\r\n Transfer-Encoding: chunked"),
    badLine("X: a\r\n\tfolded", "nobody"),
    badLine("Transfer-Encoding : chunked"),
    badLine("Transfer-Encoding\0: chunked"),
    badLine("Transfer-\x0bEncoding: chunked"),
    badLine("no colon", "nobody"),
    badLine(": no name", "nobody"),
  ],
  "status lines": [
    ...[
      "HTTP/1.1 2000 OK",
      "HTTP/1.1 20 OK",
      "HTTP/1.1 099 OK",
      "HTTP/1.1 600 OK",
      "HTTP/1.1 200\tOK",
      "HTTP/1.1 200OK",
      "HTTP/1.1  200 OK",
      "HTTP/1.1\t200 OK",
      "HTTP/1.1 -20 OK",
      "HTTP/1.1 2e2 OK",
      "HTTP/2 200 OK",
      "HTTP/2.0 200 OK",
      "HTTP/0.9 200 OK",
      "http/1.1 200 OK",
      "ICY 200 OK",
      " HTTP/1.1 200 OK",
      "XHTTP/1.1 200 OK",
      "HTTP/1.1 200 O\0K",
      "<html>hello</html>",
    ].map((line) => bad(JSON.stringify(line), `${line}\r\nContent-Length: 0\r\n\r\n`, "nobody")),
    bad('"HTTP/1.1 200 OK\\rX"', "HTTP/1.1 200 OK\rContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    bad('"HTTP/1.1 200 OK\\nX"', "HTTP/1.1 200 OK\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    bad("two empty lines first", `\r\n\r\n${ok("Content-Length: 0\r\n")}`, "nobody"),
  ],
  "response splitting": [
    {
      name: "a value that ends the head: what follows reaches nobody",
      machine:
        `HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n${EVIL}\r\nContent-Length: 9\r\n\r\n`,
      gets: "302 ",
      more: true,
      fools: "nobody",
    },
    bad(
      "a value that ends the head with LF",
      `HTTP/1.1 302 Found\r\nLocation: /x\nContent-Length: 0\n\n${EVIL}\r\nContent-Length: 9\r\n\r\n`,
    ),
    bad(
      "a value that ends the head with CR",
      `HTTP/1.1 302 Found\r\nLocation: /x\rContent-Length: 0\r\r${EVIL}\r\nContent-Length: 9\r\n\r\n`,
    ),
    {
      name: "a second response behind the first",
      machine: ok("Content-Length: 5\r\n", `hello${EVIL}`),
      gets: "200 hello",
      more: true,
      fools: "nobody",
    },
    {
      name: "a second response behind the last chunk",
      machine: ok("Transfer-Encoding: chunked\r\n", `5\r\nhello\r\n0\r\n\r\n${EVIL}`),
      gets: "200 hello",
      more: true,
      fools: "nobody",
    },
    {
      name: "one byte behind the first",
      machine: ok("Content-Length: 5\r\n", "hello\n"),
      gets: "200 hello",
      more: true,
      fools: "nobody",
    },
  ],
  "1xx and 101": [
    {
      name: "100 and 103 go on",
      machine: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n${
        ok("Content-Length: 5\r\n", "hello")
      }`,
      gets: "100 103 200 hello",
      fools: "nobody",
    },
    {
      name: "103 with a length goes on without it",
      machine: `HTTP/1.1 103 Hints\r\nContent-Length: 30\r\n\r\n${ok("Content-Length: 5\r\n", "hello")}`,
      gets: "103 200 hello",
      fools: "nobody",
    },
    {
      name: "103 with chunked goes on without it",
      machine: `HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n${
        ok("Content-Length: 5\r\n", "hello")
      }`,
      gets: "103 200 hello",
      fools: "nobody",
    },
    bad(
      "100 with a body",
      `HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello${ok("Content-Length: 0\r\n")}`,
      "nobody",
    ),
    bad("more 1xx than the bound", "HTTP/1.1 102 Processing\r\n\r\n".repeat(5), "nobody"),
    bad(
      "101 that nobody asked for",
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n${EVIL}`,
      "nobody",
    ),
    {
      ...bad(
        "101 to an offer of h2c",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "nobody",
      ),
      request: get("/first", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    },
    {
      ...bad("101 that names no protocol", `HTTP/1.1 101 Switching Protocols\r\n\r\n${EVIL}`, "nobody"),
      request: get("/first", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    },
  ],
  "no body": [
    ...[204, 304].flatMap((status): ResponseCase[] => [
      {
        name: `${status} with a body of a length`,
        machine: `HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\nhello`,
        gets: `${status} `,
        more: true,
        fools: "nobody",
      },
      {
        name: `${status} with chunks`,
        machine: `HTTP/1.1 ${status} X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
        gets: `${status} `,
        more: true,
        fools: "nobody",
      },
      {
        name: `${status} with another response behind`,
        machine: `HTTP/1.1 ${status} X\r\n\r\n${EVIL}`,
        gets: `${status} `,
        more: true,
        fools: "nobody",
      },
    ]),
    {
      name: "HEAD with a length",
      request: head,
      machine: ok("Content-Length: 5\r\n"),
      gets: "200 ",
      fools: "nobody",
    },
    {
      name: "HEAD with a body",
      request: head,
      machine: ok("Content-Length: 5\r\n", "hello"),
      gets: "200 ",
      more: true,
      fools: "nobody",
    },
    {
      name: "HEAD with another response as its body",
      request: head,
      machine: ok(`Content-Length: ${EVIL.length}\r\n`, EVIL),
      gets: "200 ",
      more: true,
      fools: "nobody",
    },
  ],
  "chunks": [
    ...[
      ["a size that is none", "g\r\n"],
      ["0x", "0x5\r\nhello\r\n0\r\n\r\n"],
      ["a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"],
      ["bare LF behind the size", `5\nhello\r\n0\r\n\r\n`],
      ["bare LF in an extension", `5;a\nhello\r\n0\r\n\r\n`],
      ["a quote over a line end", `5;a="\r\nhello\r\n0\r\n\r\n"\r\n`],
      ["a size beyond 32 bits", `100000005\r\nhello\r\n0\r\n\r\n${EVIL}`],
      ["a size beyond 64 bits", `10000000000000005\r\nhello\r\n0\r\n\r\n${EVIL}`],
      ["no end behind the data", "5\r\nhello0\r\n\r\n"],
      ["another end behind the data", "5\r\nhelloXX0\r\n\r\n"],
      ["bare LF behind the last chunk", `5\r\nhello\r\n0\n\r\n`],
      ["bare LF as the last line", `5\r\nhello\r\n0\r\n\n`],
      ["Content-Length as a trailer", "0\r\nContent-Length: 5\r\n\r\n"],
      ["Set-Cookie as a trailer", "0\r\nSet-Cookie: a=b\r\n\r\n"],
      ["a folded trailer", "0\r\nX: a\r\n b\r\n\r\n"],
    ].map(([name = "", body = ""]): ResponseCase => ({
      name,
      machine: ok("Transfer-Encoding: chunked\r\n", body),
      gets: "cut",
      ...(/none|trailer|no end/.test(name) ? { fools: "nobody" } : {}),
    })),
    {
      name: "extensions and trailers go on",
      machine: ok("Transfer-Encoding: chunked\r\n", '5;a="b;c"\r\nhello\r\n0;d\r\nServer-Timing: x\r\n\r\n'),
      gets: "200 hello",
      fools: "nobody",
    },
  ],
};

async function run(one: ResponseCase, inPieces: boolean): Promise<void> {
  const { edge, origin, log } = hostile;
  origin.take();
  log.length = 0;
  const request = one.request ?? get("/first");
  origin.pieceBytes = inPieces ? PIECE : Infinity;
  origin.answer = (seen) => seen.start.endsWith(" /first") ? one.machine : answerWithWhatWasSeen(seen);
  const client = await RawClient.open(edge.port);
  client.send(request + get("/next"));
  const methods = [request.split(" ")[0]!, "GET"];
  if (one.gets === "cut") await client.end();
  else await client.has("saw GET /next with 0");
  const other = await RawClient.open(edge.port);
  expect(await other.send(get("/other")).has(" with 0")).toEndWith("\r\n\r\nsaw GET /other with 0");
  other.close();

  // All readings see the responses that the edge logged, and no other.
  const sight = seeResponses(client.text, methods, RFC);
  for (const reading of READINGS) {
    expect(seeResponses(client.text, methods, reading), reading.name).toEqual(sight);
  }
  await until(() => log.length >= (one.gets === "cut" ? 2 : 3));
  const first = log.find(({ target }) => target === "/first");
  if (one.gets === "cut") {
    expect(sight.messages).toEqual([]);
    expect(first!.code).toBe("edge.machine_bad_response");
  } else {
    const statuses = log.filter(({ target }) => target !== "/other").map(({ status }) => String(status));
    expect(sight.messages.filter(({ start }) => start >= "200").map(({ start }) => start)).toEqual(statuses);
    const wanted = one.gets === "bad" ? /^(1\d\d )*502 / : new RegExp(`^${one.gets}$`);
    expect(
      sight.messages.slice(0, -1).map(({ start, body }) => `${start} ${start < "200" ? "" : body}`).join("")
        .replace("  ", " "),
    ).toMatch(wanted);
    if (one.gets === "bad") expect(first!.code).toBe("edge.bad_response");
    expect(sight.rest).toBe("");
  }
  expect(client.text).not.toContain("evil");
  client.close();

  // A connection that carried a bad response, or a byte too many, carries nothing else.
  if (one.gets === "bad" || one.gets === "cut" || one.more === true) {
    const [told] = origin.connections.filter(({ text }) => text.includes(" /first "));
    await until(() => told!.closed);
    expect(told!.text).not.toContain("/next");
    expect(told!.text).not.toContain("/other");
  }
  if (one.fools !== "nobody") {
    const all = one.machine + answerWithWhatWasSeen({ start: "GET /next", host: "", body: "" });
    const asRfc = JSON.stringify(seeResponses(all, methods, RFC).messages);
    expect(READINGS.some((reading) => JSON.stringify(seeResponses(all, methods, reading).messages) !== asRfc))
      .toBe(true);
  }
}

for (const [family, cases] of Object.entries(groups)) {
  describe(family, () => {
    for (const one of cases) {
      test(one.name, () => run(one, false));
      // Bytes that come once the connection serves another request cannot be told from its answer.
      if (one.more !== true) test(`${one.name}, in pieces`, () => run(one, true));
    }
  });
}

describe("words out of turn", () => {
  test("what a machine says on an idle connection ends it, and reaches nobody", async () => {
    const { edge, origin } = hostile;
    origin.pieceBytes = Infinity;
    origin.answer = answerWithWhatWasSeen;
    origin.take();
    const client = await RawClient.open(edge.port);
    client.send(get("/first"));
    await client.has("saw GET /first");
    const [connection] = origin.connections.filter(({ text }) => text.includes("/first"));
    connection!.socket.write(EVIL);
    await until(() => connection!.closed);
    client.send(get("/next"));
    expect(await client.has("saw GET /next")).not.toContain("evil");
    client.close();
  });

  test("a response that ends with its connection may look like two", async () => {
    const { edge, origin } = hostile;
    origin.answer = (seen, socket) => {
      if (!seen.start.endsWith("/first")) return answerWithWhatWasSeen(seen);
      setImmediate(() => socket.end());
      return `HTTP/1.1 200 OK\r\n\r\nhello${EVIL}`;
    };
    const client = await RawClient.open(edge.port);
    client.send(get("/first") + get("/next"));
    const text = await client.end();
    expect(text).toContain("Connection: close");
    expect(text).toEndWith(`\r\n\r\nhello${EVIL}`);
  });
});
