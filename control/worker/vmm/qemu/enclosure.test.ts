import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../driver.fixture.ts";
import { enclosed, ENCLOSED_ENVIRONMENT, removeEnclosure } from "./enclosure.ts";

const UID = 0x6000_0000;
let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "godwit-enclosure-"));
  writeFileSync(join(home, "kernel"), "what the guest starts from");
});
afterAll(() => rmSync(home, { recursive: true }));

async function inside(script: string, files: Record<string, string> = {}) {
  const folder = join(home, "root");
  const argv = enclosed({ folder, uid: UID, program: "sh", files, devices: [] }, ["-c", script]);
  const child = Bun.spawn(argv, {
    env: ENCLOSED_ENVIRONMENT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  removeEnclosure(folder);
  expect(existsSync(folder) || existsSync(`${folder}.mounts`)).toBe(false);
  return { status, stdout, stderr };
}

test("an enclosed program has the files that it was given, and can change none", async () => {
  const files = { kernel: join(home, "kernel") };
  const { stdout } = await inside("cat /kernel; ls /; id -u", files);
  expect(stdout).toBe(`what the guest starts fromdev\netc\nkernel\nlib\nlib64\nusr\n${UID}\n`);
  const write =
    "for f in /new /kernel /usr/new /dev/new /etc/new; do (echo > $f) 2>/dev/null && echo $f; done";
  expect((await inside(`${write}; echo tried > /dev/null; echo end`, files)).stdout).toBe("end\n");
});

test("an enclosed program gets no way out: no mount, no device node, no other user, no signal to others", async () => {
  const tries = [
    "mount -t tmpfs none /usr",
    "unshare --mount true",
    "mknod /dev/x c 1 1",
    "setpriv --reuid 0 true",
    `kill -0 ${process.pid}`,
  ];
  const { stdout } = await inside(
    tries.map((one) => `${one} 2>/dev/null && echo "${one}"`).join("\n") + "\necho end",
  );
  expect(stdout).toBe("end\n");
});

test("what cannot be enclosed does not run, and says why", async () => {
  const { status, stdout, stderr } = await inside("echo ran", { kernel: "/nowhere/kernel" });
  expect(status).not.toBe(0);
  expect(stdout).toBe("");
  expect(stderr).toBe(
    "Cannot enclose: mount(/nowhere/kernel, kernel, none, 20480, 0): No such file or directory\n",
  );
});

test("removeEnclosure() deletes nothing through a mount", async () => {
  const folder = join(home, "root");
  enclosed({ folder, uid: UID, program: "sh", files: {}, devices: [] }, []);
  await run(["mount", "--bind", "/usr/share", join(folder, "usr")]);
  try {
    expect(() => removeEnclosure(folder)).toThrow("EBUSY");
    expect(existsSync("/usr/share/doc") || existsSync("/usr/share/qemu")).toBe(true);
  } finally {
    await run(["umount", join(folder, "usr")]);
  }
  removeEnclosure(folder);
});
