import { expect, test } from "bun:test";
import { once } from "node:events";
import { closeSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenAt } from "./listening-socket.ts";

test("listenAt() takes a connection before anybody accepts it, and ends it with the last descriptor", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-listen-"));
  const path = join(folder, "socket");
  closeSync(listenAt(path));
  const fd = listenAt(path);
  expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
  const client = connect({ path });
  await once(client, "connect");
  client.on("error", () => {}); // Its end may come as a reset.
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  closeSync(fd);
  await closed;
  rmSync(folder, { recursive: true });
});

test("listenAt() says where it cannot listen", () => {
  expect(() => listenAt("/nowhere/socket")).toThrow("Cannot listen at /nowhere/socket");
});
