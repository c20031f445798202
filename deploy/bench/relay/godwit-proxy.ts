/** The edge by itself, every stage on, its table filled from a file of rows. */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { planOfHosts, REGION, tableRows } from "../table-rows.ts";
import type { Launch, ProxyPlan } from "./proxy.ts";

export const edgeProgram = join(import.meta.dir, "../../../edge/main.ts");
const WRITE_CHARACTERS = 1_048_576;

/** @param profile with Bun's sampling profiler, whose file lands in the plan's folder when the edge ends */
export function godwitProxy(plan: ProxyPlan, profile = false): Launch {
  const rowsFile = join(plan.folder, "rows.ndjson");
  writeRows(rowsFile, plan);
  const profiler = ["--cpu-prof", `--cpu-prof-dir=${plan.folder}`, "--cpu-prof-interval=250"];
  return {
    argv: [
      ...[
        process.execPath,
        ...(profile ? profiler : []),
        edgeProgram,
        "--region",
        REGION,
        "--rows",
        rowsFile,
      ],
      ...["--from", `127.0.0.1:${plan.httpPort}`, "--access-log", plan.logFile ?? "off"],
      ...["--tls", `127.0.0.1:${plan.tlsPort}`],
      ...["--cert", plan.certificate.certificateFile, "--key", plan.certificate.keyFile],
    ],
  };
}

/** The first app's machine is the plain backend, the second's the WebSocket one; nobody asks for the others. */
function writeRows(file: string, { backend, hosts, httpPort, tlsPort }: ProxyPlan): void {
  const fd = openSync(file, "w", 0o600);
  let text = "";
  const at = (machine: number) => ({
    address4: "127.0.0.1",
    port: machine === 1 ? backend.websocketPort : backend.httpPort,
  });
  for (const row of tableRows(planOfHosts(hosts), { at, servicePorts: [httpPort, tlsPort] })) {
    text += JSON.stringify(row) + "\n";
    if (text.length < WRITE_CHARACTERS) continue;
    writeSync(fd, text);
    text = "";
  }
  writeSync(fd, text);
  closeSync(fd);
}
