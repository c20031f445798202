import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BodyReader } from "./body-reader.ts";
import { LIMITS } from "./limits.ts";
import { CHUNKED, UNTIL_CLOSE } from "./response-head.ts";

interface Outcome {
  consumed: number;
  done: boolean;
  invalid: boolean;
  payload: string;
}

function read(length: number, pieces: Buffer[]): Outcome {
  const reader = new BodyReader(LIMITS);
  reader.begin(length);
  let payload = "", consumed = 0;
  reader.onPayload = (bytes, from, to) => payload += bytes.toString("latin1", from, to);
  for (const piece of pieces) {
    if (reader.done || reader.invalid) break;
    consumed += reader.feed(piece, 0);
  }
  return { consumed, done: reader.done, invalid: reader.invalid, payload };
}
const chunked = (text: string) => read(CHUNKED, [Buffer.from(text, "latin1")]);

describe("body reader", () => {
  test("ends a counted body at its length", () => {
    expect(read(3, [Buffer.from("abcdef")])).toMatchObject({ consumed: 3, done: true, payload: "abc" });
  });
  test("passes a body without length until the connection ends", () => {
    expect(read(UNTIL_CLOSE, [Buffer.from("abc")])).toMatchObject({
      consumed: 3,
      done: false,
      payload: "abc",
    });
  });
  test("reads chunks, extensions and trailers", () => {
    const text = '5;a=b;c="d"\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n';
    expect(chunked(text + "NEXT")).toMatchObject({ consumed: text.length, done: true, payload: "hello!" });
  });

  test("gives trailers that may pass, each as it came", () => {
    const reader = new BodyReader(LIMITS);
    reader.begin(CHUNKED);
    const trailers: string[] = [];
    reader.onTrailer = (line) => trailers.push(line);
    reader.feed(Buffer.from("0\r\ngrpc-status: 0\r\nX-Sum:  1 \r\nHost: evil\r\n\r\n"), 0);
    expect(trailers).toEqual(["grpc-status: 0", "X-Sum:  1 "]);
    expect(reader.invalid).toBe(true);
  });
  test("gives no more than the largest body, however it comes", () => {
    const read = (pieces: string[]) => {
      const reader = new BodyReader({ ...LIMITS, bodyBytesMax: 4 });
      reader.begin(6);
      let payload = "";
      reader.onPayload = (bytes, from, to) => payload += bytes.toString("latin1", from, to);
      for (const piece of pieces) if (!reader.invalid) reader.feed(Buffer.from(piece), 0);
      return { payload, tooLarge: reader.tooLarge };
    };
    for (const pieces of [["abcdef"], ["abc", "def"], ["abcd", "e", "f"]]) {
      expect(read(pieces)).toEqual({ payload: "abcd", tooLarge: true });
    }
  });
  test("takes chunks of up to 2 GiB", () => {
    expect(chunked("7fffffff\r\na")).toMatchObject({ invalid: false, payload: "a" });
  });
  test("knows the grammar of extensions", () => {
    for (const each of [";a", ";a=b", ';a="b; c "', ";a;b=c;d", ';a="";b']) {
      expect(chunked(`1${each}\r\nx\r\n0${each}\r\n\r\n`)).toMatchObject({ done: true, payload: "x" });
    }
  });

  for (
    const bad of [
      "g\r\n",
      "\r\n",
      " 1\r\na",
      "1 \r\na",
      "-1\r\n",
      "0x1\r\n",
      "1\na\n",
      "1\r\nab\r\n",
      "1\r\na\n",
      "1\r\na\r\r",
      "1;\r\na\r\n",
      "1;=b\r\na\r\n",
      "1;a=\r\na\r\n",
      "1; a\r\na\r\n",
      "1;a b\r\na\r\n",
      '1;a="b\r\na\r\n',
      '1;a="b\\"\r\na\r\n',
      '1;a="\\""\r\na\r\n',
      '1;a="b"c\r\na\r\n',
      '1;a"b"\r\na\r\n',
      "1;a=b=c\r\na\r\n",
      "1;a\nb\r\n",
      "1;a\rb\r\n",
      "80000000\r\n",
      "100000001\r\na\r\n",
      "0000000000001\r\na\r\n",
      `1;${"a".repeat(300)}\r\n`,
      "0\r\nX : 1\r\n\r\n",
      "0\r\nContent-Length: 5\r\n\r\n",
      "0\r\nTransfer_Encoding: chunked\r\n\r\n",
      "0\r\nKeep-Alive: 5\r\n\r\n",
      "0\r\nProxy_Authorization: x\r\n\r\n",
      "0\r\nFly-Client-IP: 6.6.6.6\r\n\r\n",
      "0\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
      "0\r\n folded\r\n\r\n",
      "0\r\nX: 1\n\r\n",
      `0\r\n${"X: 12345678\r\n".repeat(700)}\r\n`,
    ]
  ) {
    test(`refuses ${JSON.stringify(bad.slice(0, 40))}`, () => expect(chunked(bad).invalid).toBe(true));
  }

  test("pieces of any size give what the whole gives", () => {
    const part = fc.oneof(
      fc.string({ minLength: 1, maxLength: 30 }).map((s) => {
        const data = Buffer.from(s);
        return `${data.length.toString(16)}\r\n${data.toString("latin1")}\r\n`;
      }),
      fc.constantFrom("2;x=1\r\nab\r\n", "0\r\nA: 1\r\n\r\n", "0\r\n\r\n", "1\r\nab", "z"),
    );
    fc.assert(fc.property(fc.array(part), fc.array(fc.nat(400)), (parts, cuts) => {
      const whole = Buffer.from(`${parts.join("")}0\r\nT: 1\r\n\r\nREST`, "latin1");
      const at = [...new Set([0, ...cuts.map((cut) => cut % whole.length), whole.length])].sort((a, b) =>
        a - b
      );
      const pieces = at.slice(1).map((to, i) => whole.subarray(at[i]!, to));
      expect(read(CHUNKED, pieces)).toEqual(read(CHUNKED, [whole]));
    }));
  });
});
