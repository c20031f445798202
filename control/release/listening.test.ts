import { describe, expect, test } from "bun:test";
import { describeListeners, missingPorts } from "./listening.ts";

const machine = { address4: "172.20.16.3", address6: "fd00:1::3" };
const services = [{ internal_port: 8_080 }, { internal_port: 9_000 }, { internal_port: 8_080 }];

describe("missingPorts()", () => {
  test("counts wildcard addresses and the machine's own as reachable, loopback not", () => {
    const missingWith = (address: string) =>
      missingPorts([{ internal_port: 8_080 }], [{ address, port: 8_080 }], machine);
    for (const address of ["0.0.0.0", "::", "::ffff:0.0.0.0", "172.20.16.3", "fd00:1::3", "FD00:1::3"]) {
      expect(missingWith(address)).toEqual([]);
    }
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "172.20.16.4"]) {
      expect(missingWith(address)).toEqual([8_080]);
    }
  });

  test("names each port that is missing once", () => {
    expect(missingPorts(services, [], machine)).toEqual([8_080, 9_000]);
    expect(missingPorts(services, [{ address: "::", port: 9_000 }], machine)).toEqual([8_080]);
  });
});

test("describeListeners() writes addresses as people do, and not endlessly", () => {
  expect(describeListeners([])).toBe("nothing");
  expect(describeListeners([{ address: "127.0.0.1", port: 3_000 }, { address: "::1", port: 3_000 }])).toBe(
    "127.0.0.1:3000, [::1]:3000",
  );
  const many = Array.from({ length: 100 }, (_, port) => ({ address: "127.0.0.1", port }));
  expect(describeListeners(many).split(", ")).toHaveLength(8);
});
