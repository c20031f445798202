import { expect, test } from "bun:test";
import { join } from "node:path";
import { driverCheck } from "./driver-check.ts";

const GUEST_MS_MAX = 300_000;

async function check(...args: string[]): Promise<{ output: string; status: number }> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  return { output: await new Response(child.stdout).text(), status: await child.exited };
}

test("check --driver says in words why a driver cannot be checked here, and fails", async () => {
  const { output, status } = await check("--driver", "xen");
  expect(output).toContain("there is no driver xen: one of qemu, runc, firecracker");
  expect(output).toEndWith("0 passed, 1 failed\n");
  expect(status).toBe(1);
});

const isHere = Bun.which("firecracker") !== null && Bun.which("jailer") !== null;
const unlessHere = isHere
  ? " (skipped: Firecracker is installed here: run `bun run check --driver firecracker`)"
  : "";
test.skipIf(isHere)(
  `check --driver firecracker says what is missing where it is not installed${unlessHere}`,
  async () => {
    const { output, status } = await check("--driver", "firecracker");
    expect(output).toContain("cannot check the driver firecracker on this host: ");
    expect(output).toContain("is not installed");
    expect(output).toEndWith("0 passed, 1 failed\n");
    expect(status).toBe(1);
  },
  GUEST_MS_MAX,
);

test("driverCheck() gives the suite of a driver that works here", async () => {
  const { file, note } = await driverCheck("runc");
  expect(file).toBe("control/worker/vmm/runc/runc.test.ts");
  expect(note).toContain("CONTAINERS, NOT VMs");
}, GUEST_MS_MAX);
