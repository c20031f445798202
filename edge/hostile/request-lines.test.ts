/**
 * What is a line, a name, a host? The families bare LF, bare CR, NUL, obs-fold, duplicate Host and absolute-form with
 * another Host, and what a client may not say in the edge's name.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient } from "../edge.fixture.ts";
import {
  get,
  HOST,
  type Hostile,
  type RequestCase,
  runRequestCase,
  startHostile,
} from "./hostile.fixture.ts";

let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile();
});
afterAll(() => hostile.stop());

const HIDDEN = get("/smuggled");
const EVIL = "evil.test";
const refused = (name: string, send: string, fools?: "nobody"): RequestCase => ({
  name,
  send,
  answers: "refused",
  ...(fools === undefined ? {} : { fools }),
});
const lines = (name: string, text: string, fools?: "nobody") =>
  refused(name, `GET /first HTTP/1.1\r\nHost: ${HOST}\r\n${text}\r\n\r\n`, fools);

const groups: Record<string, RequestCase[]> = {
  "line ends": [
    refused("bare LF everywhere", `GET /first HTTP/1.1\nHost: ${HOST}\n\n`),
    refused("bare LF behind the request line", `GET /first HTTP/1.1\nHost: ${HOST}\r\n\r\n`),
    refused("bare LF as the empty line", `GET /first HTTP/1.1\r\nHost: ${HOST}\r\n\n${HIDDEN}`),
    refused("bare LF, then CR LF", `GET /first HTTP/1.1\r\nHost: ${HOST}\n\r\n${HIDDEN}`),
    lines("bare LF in a value", `X: a\n\nGET /smuggled HTTP/1.1\nHost: ${HOST}\nY: b`),
    lines("bare CR in a value", `X: a\r\rGET /smuggled HTTP/1.1\rHost: ${HOST}\rY: b`),
    lines("CR CR LF", "X: a\r\r\nContent-Length: 5", "nobody"),
    lines("LF CR", `X: a\n\rGET /smuggled HTTP/1.1`),
    refused("bare CR as the empty line", `GET /first HTTP/1.1\r\nHost: ${HOST}\r\n\r${HIDDEN}`),
    refused("bare CR behind the request line", `GET /first HTTP/1.1\rHost: ${EVIL}\r\nHost: ${HOST}\r\n\r\n`),
    lines("NUL in a value", "X: a\0Content-Length: 5"),
    lines("NUL in a name", `Ho\0st: ${EVIL}`),
    refused("NUL in the target", `GET /first\0/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`),
    refused("NUL first", `\0${HIDDEN}`),
    lines("vertical tab as a space", `X:\x0ba`, "nobody"),
    lines(
      "a line of UTF-8's line separator in its name",
      "X\u2028: a".replace("\u2028", "\xe2\x80\xa8"),
      "nobody",
    ),
  ],
  "obs-fold": [
    lines("a value folded with a space", "X: a\r\n Content-Length: 5"),
    lines("a value folded with a tab", "X: a\r\n\tContent-Length: 5"),
    lines("a folded empty value", "X:\r\n Transfer-Encoding: chunked"),
    lines("a folded Host", `X: a\r\n Host: ${EVIL}`, "nobody"),
    lines("a line of spaces alone", "X: a\r\n \r\nContent-Length: 5", "nobody"),
    refused(
      "the first line folded",
      `GET /first HTTP/1.1\r\n Host: ${HOST}\r\nHost: ${HOST}\r\n\r\n`,
      "nobody",
    ),
    refused("a folded request line", `GET /first\r\n HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
  ],
  "names": [
    lines("a space before the colon", "Content-Length : 5"),
    lines("a tab before the colon", "Transfer-Encoding\t: chunked"),
    lines("no name", ": 5", "nobody"),
    lines("no colon", "nonsense", "nobody"),
    lines("a space in a name", "Content Length: 5", "nobody"),
    lines("brackets in a name", "Content(Length): 5", "nobody"),
    lines("a quote in a name", '"Content-Length": 5', "nobody"),
    lines("a name of 8 bits", "Content-Length\xa0: 5"),
  ],
  "Host": [
    refused("twice", `GET /first HTTP/1.1\r\nHost: ${HOST}\r\nHost: ${EVIL}\r\n\r\n`),
    refused("twice the same", `GET /first HTTP/1.1\r\nHost: ${HOST}\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("the other one first", `GET /first HTTP/1.1\r\nHost: ${EVIL}\r\nHost: ${HOST}\r\n\r\n`),
    refused(
      "with a space before its colon",
      `GET /first HTTP/1.1\r\nHost : ${EVIL}\r\nHost: ${HOST}\r\n\r\n`,
    ),
    refused("folded before", `GET /first HTTP/1.1\r\n Host: ${EVIL}\r\nHost: ${HOST}\r\n\r\n`),
    refused("missing", `GET /first HTTP/1.1\r\n\r\n`, "nobody"),
    refused("empty", `GET /first HTTP/1.1\r\nHost:\r\n\r\n`, "nobody"),
    refused("a list", `GET /first HTTP/1.1\r\nHost: ${HOST}, ${EVIL}\r\n\r\n`, "nobody"),
    refused("with user information", `GET /first HTTP/1.1\r\nHost: ${HOST}@${EVIL}\r\n\r\n`, "nobody"),
    refused("with a path", `GET /first HTTP/1.1\r\nHost: ${HOST}/${EVIL}\r\n\r\n`, "nobody"),
    refused("with a fragment", `GET /first HTTP/1.1\r\nHost: ${HOST}#${EVIL}\r\n\r\n`, "nobody"),
    refused("with a space", `GET /first HTTP/1.1\r\nHost: ${HOST} ${EVIL}\r\n\r\n`, "nobody"),
    refused("with NUL", `GET /first HTTP/1.1\r\nHost: ${HOST}\0.${EVIL}\r\n\r\n`),
    refused("with a port that is none", `GET /first HTTP/1.1\r\nHost: ${HOST}:80.${EVIL}\r\n\r\n`, "nobody"),
  ],
  "absolute-form": [
    refused("with another Host", `GET http://${EVIL}/first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused(
      "with another Host behind",
      `GET http://${HOST}/first HTTP/1.1\r\nHost: ${EVIL}\r\n\r\n`,
      "nobody",
    ),
    refused("with another port", `GET http://${HOST}:81/first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("without Host", `GET http://${HOST}/first HTTP/1.1\r\n\r\n`, "nobody"),
    refused(
      "with user information",
      `GET http://${HOST}@${EVIL}/first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      "nobody",
    ),
    refused(
      "with a backslash",
      `GET http://${HOST}\\@${EVIL}/first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      "nobody",
    ),
    refused("of two slashes alone", `GET //${EVIL}/first HTTP/1.1\r\nHost: ${EVIL}\r\nHost: ${HOST}\r\n\r\n`),
    {
      name: "that agrees but for case and default port goes on as a path",
      send: `GET HTTP://ORIGIN.test:80/first HTTP/1.1\r\nHOST:\tOrigin.Test\r\n\r\n`,
      answers: [200],
      forwarded: ["GET /first"],
      fools: "nobody",
    },
  ],
  "request line": [
    refused("two spaces", `GET  /first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("tabs", `GET\t/first\tHTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("a space in the target", `GET /first /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("a space behind the version", `GET /first HTTP/1.1 \r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("a request line twice", `GET /first HTTP/1.1\r\n${HIDDEN}`, "nobody"),
    refused("no version", `GET /first\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("another version", `GET /first HTTP/1.2\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("a version with a zero", `GET /first HTTP/01.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("a method with a colon", `X: GET /first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, "nobody"),
    refused("the preface of HTTP/2", `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, "nobody"),
    {
      name: "OPTIONS * goes on",
      send: `OPTIONS * HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      answers: [200],
      forwarded: ["OPTIONS *"],
      fools: "nobody",
    },
    {
      name: "one empty line before it goes, and pipelined requests are answered in order",
      send: `\r\n${get("/first")}\r\n${get("/second")}HEAD /third HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      answers: [200, 200, 200],
      forwarded: ["GET /first", "GET /second", "HEAD /third"],
      fools: "nobody",
    },
  ],
};

for (const [family, cases] of Object.entries(groups)) {
  describe(family, () => {
    for (const one of cases) {
      test(one.name, () => runRequestCase(hostile, one, false));
      test(`${one.name}, in pieces`, () => runRequestCase(hostile, one, true));
    }
  });
}

describe("what a client may not say in the edge's name", () => {
  test("goes no further, in hyphens or underscores, listed by Connection or not", async () => {
    const { edge, origin } = hostile;
    origin.take();
    const claims = [
      "Fly-Client-IP",
      "Fly_Client_IP",
      "X-Forwarded-Proto",
      "x_forwarded_proto",
      "X-Forwarded-Ssl",
      "Fly-Region",
      "Fly-Request-Id",
      "Fly-Forwarded-Port",
      "X_Forwarded_For",
      "Proxy",
      "Keep-Alive",
      "Proxy-Connection",
      "Te",
    ].map((name) => `${name}: forged`).join("\r\n");
    const client = await RawClient.open(edge.port);
    client.send(
      get(
        "/first",
        `Connection: Fly-Client-IP, X-Forwarded-For, Host, x-hop\r\nX-Hop: forged\r\n${claims}\r\n`,
      ),
    );
    await client.has("saw GET /first");
    client.close();
    const [{ text } = { text: "" }] = origin.take();
    expect(text).not.toContain("forged");
    for (const name of ["Host", "Fly-Client-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Fly-Request-Id"]) {
      expect(text.split(`\r\n${name}: `).length, name).toBe(2);
    }
  });
});
