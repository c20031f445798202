/** The one place that asks which runtime this is. Imports are dynamic because bun:sqlite does not exist on Deno. */
import type { SocketPort } from "./socket-port.ts";
import type { OpenDatabase } from "./sqlite-port.ts";

export interface Runtime {
  readonly name: "bun" | "deno";
  readonly sockets: SocketPort;
  readonly openDatabase: OpenDatabase;
}

export async function loadRuntime(): Promise<Runtime> {
  if ("Bun" in globalThis) {
    const [{ bunSockets }, { openBunDatabase }] = await Promise.all([
      import("./socket-bun.ts"),
      import("./sqlite-bun.ts"),
    ]);
    return { name: "bun", sockets: bunSockets, openDatabase: openBunDatabase };
  }
  const [{ nodeSockets }, { openNodeDatabase }] = await Promise.all([
    import("./socket-node.ts"),
    import("./sqlite-node.ts"),
  ]);
  return { name: "deno", sockets: nodeSockets, openDatabase: openNodeDatabase };
}
