import { expect, test } from "bun:test";
import { mountPointsBelow } from "./rootfs.ts";

test("mountPointsBelow() finds the mounts of one folder alone, blanks decoded", () => {
  const mountinfo = [
    "23 1 254:0 / / rw shared:1 - ext4 /dev/vda rw",
    "90 23 7:0 / /run/g/m1/image ro - erofs /dev/loop0 ro",
    "91 23 7:1 / /run/g/m10/image ro - erofs /dev/loop0 ro",
    "92 23 0:1 / /run/g/m1/a\\040b rw - overlay x rw",
    "",
  ].join("\n");
  expect(mountPointsBelow(mountinfo, "/run/g/m1")).toEqual(["/run/g/m1/image", "/run/g/m1/a b"]);
});
