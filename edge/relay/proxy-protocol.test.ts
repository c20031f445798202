import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Endpoint,
  readProxyHeader,
  V1_BYTES_MAX,
  V2_BYTES_MAX,
  writeProxyHeader,
} from "./proxy-protocol.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");
const read = (text: string) => readProxyHeader(bytes(text));
const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";
function v2(command: number, family: number, body: string, size = body.length): string {
  return SIGNATURE + String.fromCharCode(command, family, size >> 8, size & 255) + body;
}

describe("readProxyHeader() of version 1", () => {
  test("reads both families and says where the rest begins", () => {
    const line = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
    expect(read(`${line}GET / HTTP/1.1\r\n`)).toEqual({
      kind: "header",
      bytes: line.length,
      source: { address: "192.0.2.1", port: 56_324 },
    });
    const line6 = "PROXY TCP6 2001:DB8:0:0::1 ::1 1 2\r\n";
    expect(read(line6)).toMatchObject({ bytes: line6.length, source: { address: "2001:db8::1", port: 1 } });
  });

  test("takes the connection's own address where the sender does not know", () => {
    expect(read("PROXY UNKNOWN\r\nx")).toEqual({ kind: "header", bytes: 15, source: null });
    expect(read("PROXY UNKNOWN ffff:f a b 65535 65535\r\n")).toMatchObject({ source: null });
  });

  test("refuses what is nearly one", () => {
    for (
      const line of [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 ::1 ::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 056 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "GET / HTTP/1.1\r\n",
        "\r\n\r\n\0\r\nQUIT\r",
        `PROXY UNKNOWN ${"x".repeat(V1_BYTES_MAX)}\r\n`,
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n".padEnd(V1_BYTES_MAX, "x"),
      ]
    ) expect([line, read(line).kind]).toEqual([line, "invalid"]);
  });
});

describe("readProxyHeader() of version 2", () => {
  const four = "\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb";

  test("reads both families, and skips the fields behind the addresses", () => {
    const header = v2(0x21, 0x11, `${four}\x03\0\x04abcd`);
    expect(read(`${header}rest`)).toEqual({
      kind: "header",
      bytes: header.length,
      source: { address: "192.0.2.1", port: 56_324 },
    });
    const six = `\x20\x01\x0d\xb8${"\0".repeat(11)}\x01${"\0".repeat(15)}\x01\0\x07\0\x08`;
    expect(read(v2(0x21, 0x21, six))).toMatchObject({ source: { address: "2001:db8::1", port: 7 } });
    const mapped = `${"\0".repeat(10)}\xff\xff\x0a\0\0\x01${"\0".repeat(16)}\0\x07\0\x08`;
    expect(read(v2(0x21, 0x21, mapped))).toMatchObject({ source: { address: "10.0.0.1", port: 7 } });
  });

  test("LOCAL, UNSPEC and Unix sockets name no client", () => {
    expect(read(v2(0x20, 0x00, ""))).toEqual({ kind: "header", bytes: 16, source: null });
    expect(read(v2(0x20, 0x11, four))).toMatchObject({ bytes: 28, source: null });
    expect(read(v2(0x21, 0x00, "tlvs"))).toMatchObject({ bytes: 20, source: null });
    expect(read(v2(0x21, 0x31, "u".repeat(216)))).toMatchObject({ source: null });
  });

  test("refuses other versions, commands, transports, and lengths that cannot be", () => {
    for (
      const header of [
        v2(0x11, 0x11, four),
        v2(0x22, 0x11, four),
        v2(0x21, 0x12, four),
        v2(0x21, 0x22, "x".repeat(36)),
        v2(0x21, 0x41, four),
        v2(0x21, 0x11, four, 11),
        v2(0x21, 0x21, four),
        v2(0x21, 0x11, four, V2_BYTES_MAX - 15),
      ]
    ) expect(read(header).kind).toBe("invalid");
  });
});

const port = fc.integer({ min: 0, max: 65_535 });
const endpoints: fc.Arbitrary<[Endpoint, Endpoint]> = fc.oneof(
  fc.tuple(fc.ipV4(), fc.ipV4(), port, port),
  fc.tuple(fc.ipV6(), fc.ipV6(), port, port),
).map(([one, two, p, q]) => [{ address: one, port: p }, { address: two, port: q }]);

test("what writeProxyHeader() writes is read again, in any pieces, and never before it is whole", () => {
  const seed = Date.now() & 0x7fffffff;
  console.log(`proxy-protocol.test seed ${seed}`);
  fc.assert(
    fc.property(
      endpoints,
      fc.constantFrom("v1" as const, "v2" as const),
      ([source, destination], version) => {
        // Version 1 takes the address as it is; sockets give it in its canonical form.
        const canonical = readProxyHeader(bytes(writeProxyHeader("v2", source, destination)));
        if (canonical.kind !== "header" || canonical.source === null) throw new Error("not read");
        const header = bytes(writeProxyHeader(version, source, destination));
        for (let i = 0; i < header.length; i++) {
          expect(readProxyHeader(header.subarray(0, i)).kind).toBe(
            "more",
          );
        }
        expect(readProxyHeader(Buffer.concat([header, bytes("PROXY ")]))).toEqual({
          kind: "header",
          bytes: header.length,
          source: canonical.source,
        });
        expect(canonical.source.port).toBe(source.port);
      },
    ),
    { seed, numRuns: 300 },
  );
});

test("writeProxyHeader() says that it does not know where the families differ", () => {
  const one = { address: "192.0.2.1", port: 1 }, two = { address: "::1", port: 2 };
  expect(writeProxyHeader("v1", one, two)).toBe("PROXY UNKNOWN\r\n");
  expect(read(writeProxyHeader("v2", one, two))).toMatchObject({ kind: "header", source: null });
});

test("readProxyHeader() takes any bytes without an exception, and never more than its bounds", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("", "PROXY ", "PROXY TCP4 ", "PROXY TCP6 ", SIGNATURE, `${SIGNATURE}\x21`),
      fc.uint8Array({ maxLength: 300 }),
      (start, rest) => {
        const header = readProxyHeader(Buffer.concat([bytes(start), rest]));
        if (header.kind === "header") expect(header.bytes).toBeLessThanOrEqual(V2_BYTES_MAX);
      },
    ),
  );
});
