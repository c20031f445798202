import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { clientKey } from "./client-key.ts";

describe("clientKey()", () => {
  test("is an IPv4 address itself", () => {
    expect(clientKey("192.0.2.7")).toBe("192.0.2.7");
  });

  test("is the /64 of an IPv6 address, however it is written", () => {
    expect(clientKey("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::/64");
    expect(clientKey("2001:db8:1:2::6")).toBe("2001:db8:1:2::/64");
    expect(clientKey("2001:0db8:0001:0002::")).toBe("2001:db8:1:2::/64");
    expect(clientKey("2001:db8::6")).toBe("2001:db8::/64");
    expect(clientKey("2001:db8::3:4:5:6:7")).toBe("2001:db8:0:3::/64");
    expect(clientKey("2001:DB8::6")).toBe(clientKey("2001:db8::7"));
    expect(clientKey("::1")).toBe("::/64");
    expect(clientKey("fe80::1%eth0")).toBe("fe80::/64");
    expect(clientKey("64:ff9b::192.0.2.33")).toBe("64:ff9b::/64");
  });

  test("does not depend on the lower 64 bits, and does on each of the upper", () => {
    const group = fc.integer({ min: 0, max: 0xffff });
    const upper = fc.tuple(group, group, group, group);
    const text = (groups: number[]) => groups.map((each) => each.toString(16)).join(":");
    fc.assert(
      fc.property(upper, upper, upper, (network, one, two) => {
        expect(clientKey(text([...network, ...one]))).toBe(clientKey(text([...network, ...two])));
        const other = [...network];
        other[3] = other[3]! ^ 1;
        expect(clientKey(text([...other, ...one]))).not.toBe(clientKey(text([...network, ...one])));
      }),
    );
  });
});
