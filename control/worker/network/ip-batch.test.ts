import { expect, test } from "bun:test";
import { LINES_OF_SETUP, parseIpFailures, saysMissing, setUpLink } from "./ip-batch.ts";
import { linkOf } from "./link.ts";

test("parseIpFailures() gives each failed line what ip said before it", () => {
  const stderr = `ioctl(TUNSETIFF): Device or resource busy
Command failed -:1
Cannot find device "gw0a1b2ct1"
Command failed -:12
Error: argument "x" is wrong: "mtu" value is invalid

Command failed -:13
`;
  const failures = parseIpFailures(stderr);
  expect(failures.map(({ line }) => line)).toEqual([1, 12, 13]);
  expect(failures[0]!.complaint).toContain("busy");
  expect(saysMissing(failures[1]!.complaint)).toBe(true);
  expect(failures[2]!.complaint).toContain("mtu");
  expect(parseIpFailures("")).toEqual([]);
});

test("setUpLink() has the number of lines that failures are told apart by, the alias last", () => {
  const machineId = "9080e6f3a12b04";
  const range = { prefix: "gw0a1b2c", range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48" };
  const link = linkOf(range, { index: 0, machineId, orgId: "", orgNetwork: 0, kind: "tap" });
  const lines = setUpLink(link, machineId);
  expect(lines).toHaveLength(LINES_OF_SETUP);
  expect(lines.at(-1)).toContain(`alias ${machineId}`);
});
