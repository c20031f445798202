/** QEMU's migration by QMP, as far as memory that is saved or taken up again needs it (QEMU: docs/devel/migration.rst). */
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { GodwitError } from "../../../contract/errors.ts";
import type { Qmp } from "../qmp.ts";

/** Bytes a second: as fast as it can. Its default would hold a save below 128 MiB/s. */
const BANDWIDTH_MAX = 2 ** 40;
const POLL_MS_MIN = 2;
const POLL_MS_MAX = 100;
/** Of the time that it took, what the end may be seen late. */
const POLL_GROWTH = 1.2;
/** Once its bytes have passed, only devices are left to be written or read. */
export const SETTLE_MS_MAX = 30_000;

const Status = z.object({
  status: z.string().optional(),
  "error-desc": z.string().optional(),
});
const OVER = new Set(["completed", "failed", "cancelled"]);

export async function sendMemory(qmp: Qmp, uri: string): Promise<void> {
  await qmp.execute("migrate-set-parameters", { "max-bandwidth": BANDWIDTH_MAX });
  await qmp.execute("migrate", { uri });
}

/** Of a QEMU that was started with INCOMING: it listens at `uri` once this resolves. */
export async function takeMemory(qmp: Qmp, uri: string): Promise<void> {
  await qmp.execute("migrate-incoming", { uri });
}

/** Resolves when the migration is complete. @throws GodwitError `vmm.qmp_failed` where it failed or takes too long. */
export async function migrated(qmp: Qmp): Promise<void> {
  const { status, "error-desc": why } = await migrationEnd(qmp);
  if (status === "completed") return;
  throw failed(`the migration is ${status ?? "gone"}${why === undefined ? "" : `: ${why}`}`);
}

/** Does nothing where none is under way. */
export async function cancelMigration(qmp: Qmp): Promise<void> {
  await qmp.execute("migrate_cancel");
  await migrationEnd(qmp);
}

async function migrationEnd(qmp: Qmp): Promise<z.infer<typeof Status>> {
  const begun = performance.now();
  for (let waitMs = POLL_MS_MIN;; waitMs = Math.min(waitMs * POLL_GROWTH, POLL_MS_MAX)) {
    const found = Status.parse(await qmp.execute("query-migrate"));
    if (found.status === undefined || OVER.has(found.status)) return found;
    if (performance.now() - begun > SETTLE_MS_MAX) {
      throw failed(`the migration is still ${found.status} after ${SETTLE_MS_MAX} ms`);
    }
    await delay(waitMs);
  }
}

const RunState = z.object({ status: z.string() });

export async function runState(qmp: Qmp): Promise<string> {
  return RunState.parse(await qmp.execute("query-status")).status;
}

function failed(what: string): GodwitError {
  return new GodwitError("vmm.qmp_failed", `QMP: ${what}`, { fault: "us", retryable: true });
}
