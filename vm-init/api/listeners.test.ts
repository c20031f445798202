import { expect, test } from "bun:test";
import { parseListening } from "./listeners.ts";

const HEAD =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

test("parseListening() reads IPv4 sockets that listen, and no others", () => {
  const table = HEAD +
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17402 1 0\n" +
    "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17403 1 0\n" +
    "   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 17404 1 0\n";
  expect(parseListening(table)).toEqual([
    { address: "127.0.0.1", port: 8080, inode: "17402" },
    { address: "0.0.0.0", port: 80, inode: "17403" },
  ]);
});

test("parseListening() reads IPv6 in its short form", () => {
  const line = (hex: string) => `   0: ${hex}:0016 ${"0".repeat(32)}:0000 0A 0:0 00:0 0 0 0 9 1 0\n`;
  const addresses = (hex: string) => parseListening(HEAD + line(hex)).map(({ address }) => address);
  expect(addresses("0".repeat(32))).toEqual(["::"]);
  expect(addresses("00000000000000000000000001000000")).toEqual(["::1"]);
  expect(addresses("000000FD000000000000000015000000")).toEqual(["fd00::15"]);
});

test("parseListening() takes an empty table", () => {
  expect(parseListening(HEAD)).toEqual([]);
  expect(parseListening("")).toEqual([]);
});
