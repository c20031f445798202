/** What `GET /v1/status` answers. */
import type { GuestStatus } from "../../control/contract/guest-api.ts";
import { GUEST_API_SCHEMA } from "../../control/contract/guest-limits.ts";
import type { Life } from "../boot/life.ts";
import { uptimeS } from "../system/clock.ts";
import { initMemory, memoryAvailableKb } from "../system/memory.ts";

export function statusOf(life: Life): GuestStatus {
  const memory = initMemory();
  const availableKb = memoryAvailableKb();
  return {
    schema: GUEST_API_SCHEMA,
    phase: life.phase,
    pid: life.pid,
    run: life.run,
    steps: [...life.steps],
    failure: life.failure,
    exit: life.exit,
    uptime_s: uptimeS(),
    clock_ms: Date.now(),
    memory_available_mb: availableKb === null ? null : Math.floor(availableKb / 1_024),
    init_rss_kb: memory.rssKb,
    init_rss_anon_kb: memory.rssAnonKb,
  };
}
