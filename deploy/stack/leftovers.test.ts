import { describe, expect, test } from "bun:test";
import { belongsToStack, mountsOf, namesFolder } from "./leftovers.ts";

const home = { folder: "/tmp/h", runFolder: "/run/godwit-abc123", prefix: "gwabc123" };
const facts = { pid: 9, programs: ["bun"], argv: ["bun", "x.ts"], cwd: "/", cgroup: "0::/user.slice" };

describe("belongsToStack()", () => {
  test("knows a process by a path of the home in its arguments", () => {
    expect(belongsToStack({ ...facts, argv: ["bun", "--config", "/tmp/h/edge/config.json"] }, home)).toBe(
      true,
    );
    expect(
      belongsToStack(
        { ...facts, programs: ["qemu-system-x86_64"], argv: ["-drive", "file=/tmp/h/a,x"] },
        home,
      ),
    )
      .toBe(true);
    expect(
      belongsToStack({
        ...facts,
        programs: ["redis-server"],
        argv: ["redis-server 127.0.0.1:1"],
        cwd: "/tmp/h/redis",
      }, home),
    )
      .toBe(true);
    expect(belongsToStack({ ...facts, programs: ["anything"], cgroup: "4:memory:/gwabc123-9080\n" }, home))
      .toBe(
        true,
      );
  });

  test("spares other homes, and what a person has open", () => {
    expect(belongsToStack({ ...facts, argv: ["bun", "/tmp/h2/edge"] }, home)).toBe(false);
    expect(belongsToStack({ ...facts, argv: ["bun", "/mnt/tmp/h/edge"] }, home)).toBe(false);
    expect(
      belongsToStack({ ...facts, programs: ["tail"], argv: ["tail", "-f", "/tmp/h/logs/edge.log"] }, home),
    )
      .toBe(false);
    expect(belongsToStack({ ...facts, programs: ["bash"], cwd: "/tmp/h" }, home)).toBe(false);
    expect(belongsToStack({ ...facts, cgroup: "0::/gwabc1234" }, home)).toBe(false);
  });
});

test("namesFolder() wants the whole path", () => {
  expect(namesFolder("unix:/tmp/h/x.sock", "/tmp/h")).toBe(true);
  expect(namesFolder("/tmp/h", "/tmp/h")).toBe(true);
  expect(namesFolder("/tmp/h.bak/x", "/tmp/h")).toBe(false);
});

test("mountsOf() lists mounts below the home or named by the prefix, deepest first", () => {
  const text = `1 0 8:1 / / rw - ext4 /dev/vda rw
2 1 0:5 / /tmp/h/a rw - tmpfs tmpfs rw
3 1 0:6 / /tmp/h/a/deep\\040er rw - tmpfs tmpfs rw
4 1 0:7 / /run/netns/gwabc123-x rw - nsfs nsfs rw
5 1 0:8 / /tmp/h2 rw - tmpfs tmpfs rw`;
  expect(mountsOf(text, home)).toEqual(["/run/netns/gwabc123-x", "/tmp/h/a/deep er", "/tmp/h/a"]);
});
