import { expect, test } from "bun:test";
import { parseGroup, parsePasswd, resolveUser } from "./user.ts";

const PASSWD = `root:x:0:0:root:/root:/bin/bash
# a comment
web:x:1000:1001:Web,,,:/home/web:/bin/sh
nohome:x:1002:1002
1234:x:7:7::/seven:
broken:x:x:y::/:
`;
const GROUP = "root:x:0:\nweb:x:1001:\nextra:x:77:web,other\nmore:x:78:other,web\nstaff:*:50:\n";

test.each([
  ["", { uid: 0, gid: 0, groups: [0], home: "/root" }],
  ["web", { uid: 1000, gid: 1001, groups: [1001, 77, 78], home: "/home/web" }],
  ["1000", { uid: 1000, gid: 1001, groups: [1001, 77, 78], home: "/home/web" }],
  ["web:staff", { uid: 1000, gid: 50, groups: [50], home: "/home/web" }],
  ["web:4711", { uid: 1000, gid: 4711, groups: [4711], home: "/home/web" }],
  ["4711", { uid: 4711, gid: 0, groups: [0], home: "/" }],
  ["4711:extra", { uid: 4711, gid: 77, groups: [77], home: "/" }],
  ["nohome", { uid: 1002, gid: 1002, groups: [1002], home: "/" }],
  ["1234", { uid: 7, gid: 7, groups: [7], home: "/seven" }],
])("resolveUser() reads %p", (wanted, user) => {
  expect(resolveUser(wanted, PASSWD, GROUP)).toEqual(user);
});

test.each([
  ["nobody", 'Cannot run as user "nobody": /etc/passwd of the image has no such name (4 entries)'],
  ["web:nogroup", 'Cannot run as group "nogroup": /etc/group of the image has no such name (5 entries)'],
  ["4294967296", 'Cannot run as user "4294967296"'],
  ["broken", 'Cannot run as user "broken"'],
])("resolveUser() refuses %p in words", (wanted, message) => {
  expect(() => resolveUser(wanted, PASSWD, GROUP)).toThrow(message);
});

test("resolveUser() takes numbers from an image without files", () => {
  expect(resolveUser("65532:65532", "", "")).toEqual({ uid: 65532, gid: 65532, groups: [65532], home: "/" });
  expect(resolveUser("", "", "")).toEqual({ uid: 0, gid: 0, groups: [0], home: "/" });
});

test("parsePasswd() and parseGroup() pass over lines that are no entries", () => {
  expect(parsePasswd("\n::0:0::\nx\n")).toEqual([]);
  expect(parseGroup("\n# c\ng:x:\n")).toEqual([]);
});
