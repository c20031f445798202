/**
 * Publishes a table of hosts, then rows at the rate it is told, 0 included: the machines of those hosts, one after the
 * other, and in every batch the one that the client asks for.
 */
import { Redis } from "ioredis";
import { newRowId } from "../../../control/contract/names.ts";
import type { MachineRow } from "../../../control/contract/rows.ts";
import { planOfHosts, type Row, tableRows } from "../table-rows.ts";
import type { Answer } from "./probe.ts";
import { answerMessages } from "./program.ts";
import { StateStream } from "./state-stream.ts";

const TICK_MS = 20;

export type ToStorm =
  | {
    readonly type: "open";
    readonly redisUrl: string;
    readonly hosts: number;
    /** Where every machine answers, and the edge's port that its service stands behind. */
    readonly backendPort: number;
    readonly servicePort: number;
  }
  | { readonly type: "rate"; readonly rowsPerS: number }
  | { readonly type: "stop" };

let redis: Redis | null = null;
let stream: StateStream | null = null;
const machines: Row[] = [];
let rowsPerS = 0;
let next = 0;
let owed = 0;
let lastMs = performance.now();
let appending: Promise<unknown> = Promise.resolve();

const timer = setInterval(() => {
  const nowMs = performance.now();
  owed += rowsPerS * (nowMs - lastMs) / 1_000;
  lastMs = nowMs;
  const count = Math.floor(owed);
  if (count === 0) return;
  owed -= count;
  appending = appending.then(() => stream?.append(changed(count)));
}, TICK_MS);

answerMessages<ToStorm>(async (message): Promise<Answer | void> => {
  switch (message.type) {
    case "open": {
      const { redisUrl, hosts, backendPort, servicePort } = message;
      redis = new Redis(redisUrl, { protocol: 2 });
      stream = new StateStream(redis);
      const at = () => ({ address4: "127.0.0.1", port: backendPort });
      const rows = [...tableRows(planOfHosts(hosts), { at, servicePorts: [servicePort] })];
      machines.push(...rows.filter(({ table }) => table === "machines"));
      await stream.append(rows);
      return;
    }
    case "rate":
      rowsPerS = message.rowsPerS;
      owed = 0;
      return;
    case "stop":
      clearInterval(timer);
      await appending;
      redis?.disconnect();
  }
});

function* changed(count: number): Generator<Row> {
  yield released(machines[0]!);
  for (let i = 1; i < count; i++) yield restarted(machines[1 + next++ % (machines.length - 1)]!);
}

function restarted({ table, key, row }: Row): Row {
  return { table, key, row: { ...row as MachineRow, started_at_ms: Date.now() } };
}

/** It runs on: one that is said to have started anew gets new connections, 50 times a second all of the load's. */
function released({ table, key, row }: Row): Row {
  return { table, key, row: { ...row as MachineRow, release_id: newRowId() } };
}
