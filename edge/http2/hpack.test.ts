import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import type { Field } from "./hpack-table.ts";
import { huffmanDecode } from "./huffman.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

function decodeAll(decoder: HpackDecoder, block: Buffer): [string, string][] | null {
  const fields: [string, string][] = [];
  const whole = decoder.decode(block, 0, block.length, {
    field: (field: Field) => fields.push([field.name, field.value]),
  });
  return whole ? fields : null;
}

describe("huffmanDecode()", () => {
  test("reads the strings of RFC 7541, appendix C", () => {
    const cases: [string, string][] = [
      ["f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com"],
      ["a8eb 1064 9cbf", "no-cache"],
      ["25a8 49e9 5ba9 7d7f", "custom-key"],
      ["25a8 49e9 5bb8 e8b4 bf", "custom-value"],
      ["d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ["9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", "https://www.example.com"],
      [
        "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      ],
    ];
    for (const [code, text] of cases) {
      const bytes = hex(code);
      expect(huffmanDecode(bytes, 0, bytes.length)).toBe(text);
    }
  });

  test("refuses padding of zeros, padding of a whole byte, and the end symbol", () => {
    for (const code of ["a8eb 1064 9cb0", "a8eb 1064 9cbf ff", "ffff ffff", "ffff fffc"]) {
      const bytes = hex(code);
      expect(huffmanDecode(bytes, 0, bytes.length)).toBeNull();
    }
  });
});

describe("HpackDecoder", () => {
  test("keeps its table over the requests of RFC 7541, appendix C.4", () => {
    const decoder = new HpackDecoder();
    const first = decodeAll(decoder, hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"));
    const pseudo = (path: string, scheme: string): [string, string][] => [
      [":method", "GET"],
      [":scheme", scheme],
      [":path", path],
      [":authority", "www.example.com"],
    ];
    expect(first).toEqual(pseudo("/", "http"));
    expect(decodeAll(decoder, hex("8286 84be 5886 a8eb 1064 9cbf"))).toEqual(
      [...pseudo("/", "http"), ["cache-control", "no-cache"]],
    );
    expect(decodeAll(decoder, hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"))).toEqual(
      [...pseudo("/index.html", "https"), ["custom-key", "custom-value"]],
    );
    expect(decoder.size).toBe(164);
  });

  test("evicts as the responses of appendix C.6 do", () => {
    const decoder = new HpackDecoder(256);
    const date = "Mon, 21 Oct 2013 20:13:21 GMT";
    const rest: [string, string][] = [["location", "https://www.example.com"]];
    expect(decodeAll(
      decoder,
      hex(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      ),
    )).toEqual([[":status", "302"], ["cache-control", "private"], ["date", date], ...rest]);
    expect(decoder.size).toBe(222);
    expect(decodeAll(decoder, hex("4883 640e ffc1 c0bf"))).toEqual(
      [[":status", "307"], ["cache-control", "private"], ["date", date], ...rest],
    );
    expect(decoder.size).toBe(222);
  });

  test("refuses what cannot be: unknown index, endless number, string past the end, late or large resize", () => {
    for (
      const code of ["80", "be", "ff ffff ffff ff", "40 7f ff ff", "40 05 61", "00", "82 20", "3f e2 1f"]
    ) {
      expect(decodeAll(new HpackDecoder(), hex(code))).toBeNull();
    }
  });

  test("survives any bytes within its table's size", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (blocks) => {
        const decoder = new HpackDecoder(256);
        for (const block of blocks) {
          decodeAll(decoder, Buffer.from(block));
          expect(decoder.size).toBeLessThanOrEqual(256);
        }
      }),
    );
  });
});

describe("HpackEncoder", () => {
  test("says any fields so that the decoder reads them again, through evictions and resizes", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
      .filter((text) => !["connection", "keep-alive", "upgrade", "transfer-encoding", "te"].includes(text));
    const value = fc.stringMatching(/^[!-~]([ -~]{0,400}[!-~])?$/);
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            fields: fc.array(fc.tuple(name, value), { maxLength: 12 }),
            size: fc.integer({ min: 0, max: 6_000 }),
          }),
          { maxLength: 12 },
        ),
        (blocks) => {
          const encoder = new HpackEncoder();
          const decoder = new HpackDecoder();
          for (const { fields, size } of blocks) {
            encoder.setCapacity(size);
            const lines = fields.map(([n, v]) => `${n}: ${v}\r\n`).join("");
            const block = encoder.begin().status(200).lines(lines).end();
            expect(decodeAll(decoder, block)).toEqual([[":status", "200"], ...fields]);
            const again = encoder.begin().status(418).lines(lines).end();
            expect(decodeAll(decoder, again)).toEqual([[":status", "418"], ...fields]);
          }
        },
      ),
    );
  });

  test("tells the smallest of several new sizes, and then the last", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    decodeAll(decoder, encoder.begin().lines("X-App: yes\r\n").end());
    encoder.setCapacity(0);
    encoder.setCapacity(4_096);
    const block = encoder.begin().lines("X-App: yes\r\n").end();
    expect(block.subarray(0, 4)).toEqual(hex("20 3f e1 1f"));
    expect(decodeAll(decoder, block)).toEqual([["x-app", "yes"]]);
  });

  test("says a repeated field in one byte, a secret never in the table, and no connection fields", () => {
    const encoder = new HpackEncoder();
    const lines = "X-App: yes\r\nServer: godwit\r\n";
    encoder.begin().status(200).lines(lines);
    expect(encoder.begin().status(200).lines(lines).end().length).toBe(3);
    const secret = "Set-Cookie: id=1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n";
    const first = Buffer.from(encoder.begin().lines(secret).end());
    expect(first[0]! & 0xf0).toBe(0x10);
    expect(encoder.begin().lines(secret).end()).toEqual(first);
    expect(decodeAll(new HpackDecoder(), first)).toEqual([["set-cookie", "id=1"]]);
  });
});
