import { expect, test } from "bun:test";
import { GuestMetrics } from "../../control/contract/guest-api.ts";
import { metricsOf, parseCpu, parseDisks, parseInterfaces } from "./metrics.ts";

test("parseCpu() adds up the fields of the first line and counts the others", () => {
  expect(parseCpu("cpu  10 2 5 100 7 1 2 3 0 0\ncpu0 5 1\ncpu1 5 1\nintr 1\n")).toEqual({
    cpus: 2,
    user_ms: 120,
    system_ms: 80,
    idle_ms: 1_000,
    iowait_ms: 70,
    steal_ms: 30,
  });
});

test("parseDisks() has whole disks and not their parts", () => {
  const text =
    " 254 0 vda 10 0 80 5 3 0 16 9 0 0 0\n 254 1 vda1 10 0 80 5 3 0 16 9 0 0 0\n 7 0 loop0 1 0 8 0 0 0 0 0 0 0 0\n";
  expect(parseDisks(text)).toEqual([
    { name: "vda", reads: 10, read_bytes: 40_960, writes: 3, written_bytes: 8_192 },
  ]);
});

test("parseInterfaces() reads both halves of a line", () => {
  const text = "Inter-| Receive\n face |bytes\n  eth0: 100 2 0 1 0 0 0 0 200 3 0 4 0 0 0 0\n";
  expect(parseInterfaces(text)).toEqual([{
    name: "eth0",
    received_bytes: 100,
    received_packets: 2,
    sent_bytes: 200,
    sent_packets: 3,
    dropped: 5,
  }]);
});

test("metricsOf() is what the contract says", () => {
  const metrics = metricsOf({ execs: 1, log: { lines: 5, dropped: 2 } });
  expect(GuestMetrics.parse(metrics)).toEqual(metrics);
  expect(metrics.memory.total_kb).toBeGreaterThan(metrics.memory.available_kb);
});
