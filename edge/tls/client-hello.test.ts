import { expect, test } from "bun:test";
import { connect as tlsConnect } from "node:tls";
import { Duplex } from "node:stream";
import fc from "fast-check";
import {
  type ClientHello,
  HELLO_INCOMPLETE,
  HELLO_MALFORMED,
  HELLO_NONE,
  readClientHello,
} from "./client-hello.ts";

/** The first flight of a real client. */
function helloOf(options: Record<string, unknown>): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(Buffer.from(chunk));
        done();
      },
    });
    tlsConnect({ socket: wire, rejectUnauthorized: false, ...options }).on("error", () => {});
  });
}

/** A hello by hand: `extensions` as they go on the wire. */
function hello(extensions: Buffer[], version = 0x0303): Buffer {
  const list = Buffer.concat(extensions);
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32),
    Buffer.from([0]),
    u16(2),
    u16(0x1301),
    Buffer.from([1, 0]),
    u16(list.length),
    list,
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), u16(message.length), message]);
}
const u16 = (n: number) => Buffer.from([n >> 8, n & 255]);
const extension = (type: number, body: Buffer) => Buffer.concat([u16(type), u16(body.length), body]);
const sni = (name: string, type = 0) =>
  extension(
    0,
    Buffer.concat([u16(name.length + 3), Buffer.from([type]), u16(name.length), Buffer.from(name, "latin1")]),
  );

test("readClientHello() reads name, protocols and versions of a real client", async () => {
  const bytes = await helloOf({ servername: "App.Example.test", ALPNProtocols: ["h2", "http/1.1"] });
  expect(readClientHello(bytes)).toEqual({
    serverName: "app.example.test",
    protocols: ["h2", "http/1.1"],
    tls12: true,
    tls13: true,
  });
  const old = await helloOf({ maxVersion: "TLSv1.2" });
  expect(readClientHello(old)).toMatchObject({
    serverName: null,
    protocols: null,
    tls12: true,
    tls13: false,
  });
});

test("readClientHello() says of each beginning that it is incomplete, and never reads past it", async () => {
  const bytes = await helloOf({ servername: "a.test" });
  for (let i = 0; i < bytes.length; i++) {
    expect(readClientHello(bytes.subarray(0, i))).toBe(HELLO_INCOMPLETE);
  }
  expect(readClientHello(Buffer.concat([bytes, Buffer.from("more")]))).toMatchObject({
    serverName: "a.test",
  });
});

test("readClientHello() puts together a hello that is spread over records", async () => {
  const bytes = await helloOf({ servername: "a.test" });
  const message = bytes.subarray(5);
  const spread = (count: number) => {
    const records: Buffer[] = [];
    const size = Math.ceil(message.length / count);
    for (let at = 0; at < message.length; at += size) {
      const piece = message.subarray(at, at + size);
      records.push(Buffer.from([22, 3, 1]), u16(piece.length), piece);
    }
    return Buffer.concat(records);
  };
  for (const count of [2, 8]) expect(readClientHello(spread(count))).toEqual(readClientHello(bytes));
  expect(readClientHello(spread(50))).toBe(HELLO_MALFORMED);
});

test("readClientHello() knows what is not TLS", () => {
  for (
    const text of [
      "GET / HTTP/1.1\r\n",
      "\x80\x2e\x01\x03\x01",
      "\x16\x02\x00\x00\x05",
      "\x15\x03\x03\x00\x02",
    ]
  ) {
    expect(readClientHello(Buffer.from(text, "latin1"))).toBe(HELLO_NONE);
  }
});

test("readClientHello() refuses names that are none, and what two readers could read differently", () => {
  for (const name of ["", "127.0.0.1.2", "[::1]", "a b", "a.test:443", "a\0b", "a/b", "x".repeat(254)]) {
    expect(readClientHello(hello([sni(name)]))).toBe(HELLO_MALFORMED);
  }
  expect(readClientHello(hello([sni("a.test"), sni("b.test")]))).toBe(HELLO_MALFORMED);
  expect(readClientHello(hello([sni("a.test", 1)]))).toBe(HELLO_MALFORMED);
  expect(readClientHello(hello([extension(16, u16(0))]))).toBe(HELLO_MALFORMED);
  expect(readClientHello(hello([extension(16, Buffer.from([0, 1, 0]))]))).toBe(HELLO_MALFORMED);
  const tooLarge = hello([sni("a.test")]);
  tooLarge.writeUIntBE(100_000, 6, 3);
  expect(readClientHello(tooLarge)).toBe(HELLO_MALFORMED);
});

test("readClientHello() takes an address for no name at all", () => {
  for (const address of ["127.0.0.1", "2001:db8::1"]) {
    expect(readClientHello(hello([sni(address)]))).toMatchObject({ serverName: null });
  }
});

test("readClientHello() takes the versions of the extension where there is one", () => {
  const versions = (...list: number[]) =>
    extension(43, Buffer.concat([Buffer.from([list.length * 2]), ...list.map(u16)]));
  const read = (bytes: Buffer) => {
    const { tls12, tls13 } = readClientHello(bytes) as ClientHello;
    return [tls12, tls13];
  };
  expect(read(hello([versions(0x0a0a, 0x0304)]))).toEqual([false, true]);
  expect(read(hello([versions(0x0303)]))).toEqual([true, false]);
  expect(read(hello([]))).toEqual([true, false]);
  expect(read(hello([], 0x0302))).toEqual([false, false]);
});

test("readClientHello() withstands any change of a byte", async () => {
  const bytes = await helloOf({ servername: "a.test", ALPNProtocols: ["h2"] });
  const seed = Date.now();
  console.log(`seed ${seed}`);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (changes) => {
        const changed = Buffer.from(bytes);
        for (const [at, value] of changes) changed[at] = value;
        const result = readClientHello(changed);
        return typeof result === "string" || result.serverName === null || result.serverName.length > 0;
      },
    ),
    { seed, numRuns: 2_000 },
  );
});
