import { expect, test } from "bun:test";
import { chooseHandshake, isAcmeValidation } from "./choose-handshake.ts";
import type { ClientHello } from "./client-hello.ts";
import { NO_PROTOCOL, VERSION_REFUSED } from "./tls-refusals.ts";

const hello = (fields: Partial<ClientHello> = {}): ClientHello => ({
  serverName: "a.test",
  protocols: null,
  tls12: true,
  tls13: true,
  ...fields,
});

test("chooseHandshake() takes the listener's protocols in its own order, or none where the client offers none", () => {
  const of = (http2: boolean, ...protocols: string[]) =>
    chooseHandshake(hello(protocols.length > 0 ? { protocols } : {}), null, http2);
  expect(of(true, "http/1.1", "h2")).toEqual({ versions: "1.2-1.3", protocol: "h2" });
  expect(of(false, "http/1.1", "h2")).toEqual({ versions: "1.2-1.3", protocol: "http/1.1" });
  expect(of(true)).toEqual({ versions: "1.2-1.3", protocol: null });
  expect(of(false, "h2")).toBe(NO_PROTOCOL);
  expect(of(true, "acme-tls/1")).toBe(NO_PROTOCOL);
});

test("chooseHandshake() takes the service's protocols in the service's order", () => {
  const options = { alpn: ["mqtt", "h2", "http/1.1"] };
  const of = (http2: boolean, ...protocols: string[]) =>
    chooseHandshake(hello({ protocols }), options, http2);
  expect(of(true, "http/1.1", "mqtt")).toMatchObject({ protocol: "mqtt" });
  expect(of(true, "http/1.1", "h2")).toMatchObject({ protocol: "h2" });
  expect(of(false, "http/1.1", "h2")).toMatchObject({ protocol: "http/1.1" });
});

test("chooseHandshake() refuses a client that shares no version with the service", () => {
  const of = (versions: ("TLSv1.2" | "TLSv1.3")[] | undefined, fields: Partial<ClientHello>) =>
    chooseHandshake(hello(fields), versions === undefined ? null : { versions }, true);
  expect(of(undefined, { tls12: false, tls13: false })).toBe(VERSION_REFUSED);
  expect(of(["TLSv1.3"], { tls13: false })).toBe(VERSION_REFUSED);
  expect(of(["TLSv1.2"], { tls12: false })).toBe(VERSION_REFUSED);
  expect(of(["TLSv1.3"], {})).toMatchObject({ versions: "1.3-1.3" });
  expect(of(["TLSv1.2"], {})).toMatchObject({ versions: "1.2-1.2" });
  expect(of(["TLSv1.3", "TLSv1.2"], { tls13: false })).toMatchObject({ versions: "1.2-1.3" });
});

test("isAcmeValidation() is a client that offers acme-tls/1 and nothing else", () => {
  expect(isAcmeValidation(hello({ protocols: ["acme-tls/1"] }))).toBe(true);
  expect(isAcmeValidation(hello({ protocols: ["acme-tls/1", "h2"] }))).toBe(false);
  expect(isAcmeValidation(hello())).toBe(false);
});
