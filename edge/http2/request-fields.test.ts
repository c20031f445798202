import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LIMITS } from "../relay/limits.ts";
import { parseRequestHead, RequestHead } from "../relay/request-head.ts";
import { Field } from "./hpack-table.ts";
import { type Fields, pseudo } from "./http2.fixture.ts";
import { RequestFields } from "./request-fields.ts";
import { TrailerFields } from "./trailer-fields.ts";

function read(fields: Fields, ends = true): string {
  const sink = new RequestFields(LIMITS).begin();
  for (const [name, value] of fields) sink.field(new Field(name, value));
  const lines = sink.end(ends);
  return typeof lines === "string" ? lines : `${lines.status} ${lines.message}`;
}

describe("RequestFields", () => {
  test("makes the head of an HTTP/1.1 request", () => {
    const fields: Fields = [...pseudo("GET", "/a?b"), ["cookie", "a=1"], ["x-one", "1"], ["cookie", "b=2"], [
      "te",
      "trailers",
    ]];
    expect(read(fields)).toBe("GET /a?b HTTP/1.1\r\nhost: app.test\r\nx-one: 1\r\ncookie: a=1; b=2\r\n");
  });

  test("announces a body without a length as chunks, and its absence where one is expected", () => {
    expect(read(pseudo("POST"), false)).toEndWith("transfer-encoding: chunked\r\n");
    expect(read(pseudo("POST"))).toEndWith("content-length: 0\r\n");
    expect(read([...pseudo("POST"), ["content-length", "3"]], false)).toEndWith("content-length: 3\r\n");
  });

  const without = (name: string) => pseudo().filter(([each]) => each !== name);
  const refused: Record<string, Fields> = {
    "upper case": [...pseudo(), ["X-One", "1"]],
    "an empty name": [...pseudo(), ["", "1"]],
    "a colon in a name": [...pseudo(), ["x:y", "1"]],
    "a space in a name": [...pseudo(), ["x y", "1"]],
    "a line end in a name": [...pseudo(), ["x\r\ny", "1"]],
    "a line end in a value": [...pseudo(), ["x", "1\r\ny: 2"]],
    "a bare line feed in a value": [...pseudo(), ["x", "1\ny"]],
    "a NUL in a value": [...pseudo(), ["x", "1\0"]],
    "a space before a value": [...pseudo(), ["x", " 1"]],
    "a tab behind a value": [...pseudo(), ["x", "1\t"]],
    "connection": [...pseudo(), ["connection", "close"]],
    "keep-alive": [...pseudo(), ["keep-alive", "1"]],
    "proxy-connection": [...pseudo(), ["proxy-connection", "close"]],
    "transfer-encoding": [...pseudo(), ["transfer-encoding", "chunked"]],
    "upgrade": [...pseudo(), ["upgrade", "websocket"]],
    "te of something else": [...pseudo(), ["te", "gzip"]],
    "no method": without(":method"),
    "no path": without(":path"),
    "no scheme": without(":scheme"),
    "no host": without(":authority"),
    "two methods": [...pseudo(), [":method", "GET"]],
    "two paths": [...pseudo(), [":path", "/"]],
    "two authorities": [...pseudo(), [":authority", "app.test"]],
    "an unknown pseudo-field": [...pseudo(), [":x", "1"]],
    "a response's pseudo-field": [...pseudo(), [":status", "200"]],
    "a pseudo-field behind a field": [...without(":path"), ["x", "1"], [":path", "/"]],
    "an empty path": pseudo("GET", ""),
    "a path with a space": pseudo("GET", "/a b"),
    "a path that would be a request line": pseudo("GET", "/ HTTP/1.1\r\nx: y"),
    "a path with a fragment": pseudo("GET", "/a#b"),
    "a path that is a whole URI": pseudo("GET", "http://other.test/"),
    "a path without its slash": pseudo("GET", "a"),
    "an asterisk to GET": pseudo("GET", "*"),
    "a method with a space": pseudo("GET /x HTTP/1.1\r\n", "/"),
    "an empty method": pseudo("", "/"),
    "a host with a line end": pseudo("GET", "/", "app.test\r\nx: y"),
    "an empty host": pseudo("GET", "/", ""),
    "a host unlike the authority": [...pseudo(), ["host", "other.test"]],
    "two hosts": [...without(":authority"), ["host", "app.test"], ["host", "app.test"]],
    "an unknown scheme": [[":method", "GET"], [":scheme", "ftp"], [":authority", "app.test"], [":path", "/"]],
    "a protocol without CONNECT": [...pseudo(), [":protocol", "websocket"]],
  };
  for (const [what, fields] of Object.entries(refused)) {
    test(`refuses ${what}`, () => expect(read(fields)).toStartWith("400 "));
  }

  test("refuses CONNECT, and heads over the limits", () => {
    expect(read(pseudo("CONNECT"))).toStartWith("405 ");
    expect(read(pseudo("GET", `/${"x".repeat(9_000)}`))).toStartWith("414 ");
    expect(read([...pseudo(), ["x", "y".repeat(20_000)]])).toStartWith("431 ");
    expect(read([...pseudo(), ...Array.from({ length: 200 }, (_, i) => [`x${i}`, "y"] as const)]))
      .toStartWith("431 ");
  });

  test("whatever fields come, what it accepts is one request head with as many lines as it should have", () => {
    const text = fc.string({ unit: fc.constantFrom(..."ax:/ \t\r\n\0,;%#@AZé".split("")), maxLength: 12 });
    const name = fc.oneof(
      text,
      fc.constantFrom("host", "cookie", "content-length", "x-a", "te", ":path", ":method"),
    );
    const odd = fc.array(fc.tuple(name, text), { maxLength: 5 });
    let accepted = 0;
    fc.assert(
      fc.property(odd, fc.boolean(), (fields, ends) => {
        const lines = read([...pseudo("POST"), ...fields], ends);
        if (/^\d{3} /.test(lines)) return;
        const head = parseRequestHead(lines, LIMITS);
        if (!(head instanceof RequestHead)) return;
        accepted++;
        expect(head.target).toBe("/");
        expect(head.host).toBe("app.test");
        const dropped = fields.filter(([each]) => each === "te" || each === "host").length;
        const cookies = fields.filter(([each]) => each === "cookie").length;
        const framed = fields.some(([each]) => each === "content-length") ? 0 : 1;
        const count = 1 + fields.length - dropped - Math.max(0, cookies - 1) + framed;
        expect(lines.split("\r\n").length - 1).toBe(count + 1);
      }),
      { numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });
});

describe("TrailerFields", () => {
  test("takes fields, and refuses pseudo-fields, upper case, line ends and too much", () => {
    const lines = (fields: Fields) => {
      const sink = new TrailerFields(LIMITS).begin();
      for (const [name, value] of fields) sink.field(new Field(name, value));
      return sink.lines;
    };
    expect(lines([["grpc-status", "0"], ["x", ""]])).toBe("grpc-status: 0\r\nx: \r\n");
    for (
      const [name, value] of [[":path", "/"], ["X", "1"], ["x", "1\r\ny: 2"], [
        "x",
        "y".repeat(9_000),
      ]] as const
    ) {
      expect(lines([[name, value]])).toBeNull();
    }
  });
});
