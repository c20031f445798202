/** The one place that asks which runtime this is. Imports are dynamic because bun:sqlite does not exist on Deno. */
import type { Http3Port } from "./http3-port.ts";
import type { SocketPort } from "./socket-port.ts";
import type { OpenDatabase } from "./sqlite-port.ts";

export interface Runtime {
  readonly name: "bun" | "deno";
  readonly sockets: SocketPort;
  readonly openDatabase: OpenDatabase;
  /** Null where the runtime has none. */
  readonly http3: Http3Port | null;
}

export async function loadRuntime(): Promise<Runtime> {
  if ("Bun" in globalThis) {
    const [{ bunSockets }, { openBunDatabase }, { bunHttp3 }] = await Promise.all([
      import("./socket-bun.ts"),
      import("./sqlite-bun.ts"),
      import("./http3-bun.ts"),
    ]);
    return { name: "bun", sockets: bunSockets, openDatabase: openBunDatabase, http3: bunHttp3 };
  }
  const [{ nodeSockets }, { openNodeDatabase }] = await Promise.all([
    import("./socket-node.ts"),
    import("./sqlite-node.ts"),
  ]);
  return { name: "deno", sockets: nodeSockets, openDatabase: openNodeDatabase, http3: null };
}
