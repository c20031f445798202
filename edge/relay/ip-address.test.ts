import { expect, test } from "bun:test";
import fc from "fast-check";
import { ipv6Groups, ipv6Text, shownAddress } from "./ip-address.ts";

test("ipv6Text() writes the form of RFC 5952", () => {
  const of = (address: string) => ipv6Text(ipv6Groups(address));
  expect(of("2001:0DB8:0000:0000:0001:0000:0000:0001")).toBe("2001:db8::1:0:0:1");
  expect(of("2001:db8:0:1:1:1:1:1")).toBe("2001:db8:0:1:1:1:1:1");
  expect(of("2001:db8:0:0:1:0:0:0")).toBe("2001:db8:0:0:1::");
  expect(of("::")).toBe("::");
  expect(of("::1")).toBe("::1");
  expect(of("fe80::1%eth0")).toBe("fe80::1");
  expect(of("64:ff9b::192.0.2.33")).toBe("64:ff9b::c000:221");
  expect(of("::0:0:0:0:0.0.0.0")).toBe("::");
});

test("ipv6Groups() reads what ipv6Text() writes", () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      expect(ipv6Groups(ipv6Text(groups))).toEqual(groups);
    }),
  );
});

test("shownAddress() shows an IPv4 client as IPv4", () => {
  expect(shownAddress("192.0.2.1")).toBe("192.0.2.1");
  expect(shownAddress("::ffff:192.0.2.1")).toBe("192.0.2.1");
  expect(shownAddress("0:0:0:0:0:FFFF:c000:201")).toBe("192.0.2.1");
  expect(shownAddress("2001:DB8::0")).toBe("2001:db8::");
});
