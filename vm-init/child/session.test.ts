import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSession } from "../system/spawn.ts";
import { endOf, reapOrphans } from "./reap.ts";
import { killSession, sessionIn } from "./session.ts";

test("sessionIn() reads the sixth field whatever the name holds", () => {
  expect(sessionIn("42 (sh) S 1 40 39 0 -1")).toBe(39);
  expect(sessionIn("42 (a) R ) b) S 1 40 39 0 -1")).toBe(39);
  expect(sessionIn("")).toBeNull();
});

test("killSession() ends a command and what it left in the background", async () => {
  const reap = () => void reapOrphans(new Set());
  process.on("SIGCHLD", reap);
  const folder = mkdtempSync(join(tmpdir(), "godwit-session-"));
  const output = Bun.file(join(folder, "output"));
  const fd = openSync(output.name!, "w+");
  const leader = spawnSession({
    file: "/bin/sh",
    argv: ["sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"],
    env: { PATH: "/bin:/usr/bin" },
    workingFolder: "/",
    stdio: [fd, fd, fd],
  });
  closeSync(fd);
  const end = endOf(leader);
  let text = "";
  while (!text.endsWith("\n")) text = await output.text();
  killSession(leader);
  expect(await end).toEqual({ exitCode: null, signal: "SIGKILL" });
  // Killed is not yet ended: the bound of the wait is the test's.
  const stat = () => Bun.file(`/proc/${text.trim()}/stat`).text().catch(() => "gone");
  for (let state = await stat(); state !== "gone" && !state.includes(") Z ");) state = await stat();
  process.off("SIGCHLD", reap);
  rmSync(folder, { recursive: true });
});
