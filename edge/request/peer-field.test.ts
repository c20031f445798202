import { expect, test } from "bun:test";
import { PeerFields, type PeerRequest } from "./peer-field.ts";

const request: PeerRequest = {
  machine: "0123456789abcd",
  port: 443,
  final: false,
  request_id: "01ABC-ams",
  fields: "Fly-Client-IP: 192.0.2.7\r\nVia: 1.1 godwit\r\n",
};
const valueOf = (line: string) => line.slice(line.indexOf(" ") + 1).trimEnd();

test("PeerFields reads what it wrote, with the same secret alone", () => {
  const value = valueOf(new PeerFields("s".repeat(32)).write(request));
  expect(new PeerFields("s".repeat(32)).read(value)).toEqual(request);
  expect(new PeerFields("t".repeat(32)).read(value)).toBe(null);
});

test("PeerFields takes nothing that could end the head or name another field", () => {
  const peers = new PeerFields("s".repeat(32));
  const forged = (fields: string) => peers.read(valueOf(peers.write({ ...request, fields })));
  expect(forged("A: b\r\n\r\nGET / HTTP/1.1\r\n")).toBe(null);
  expect(forged("A: b\nB: c\r\n")).toBe(null);
  expect(forged("A : b\r\n")).toBe(null);
  expect(forged("A: b")).toBe(null);
  expect(forged("")).not.toBe(null);
  for (const value of [null, "", " ", "x", `${valueOf(peers.write(request)).split(" ")[0]} !!`]) {
    expect(peers.read(value)).toBe(null);
  }
});
