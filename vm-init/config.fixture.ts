/** A run configuration for tests, with what a test leaves open. */
import type { RunConfig } from "../control/contract/run-config.ts";

export function runConfig(
  mode: RunConfig["mode"],
  image: Partial<RunConfig["image"]>,
  rest: Partial<RunConfig> = {},
): RunConfig {
  return {
    schema: 1,
    mode,
    machine_id: "00000000000001",
    app_name: "app",
    region: "ams",
    hostname: "00000000000001",
    image: { entrypoint: [], cmd: [], env: [], working_dir: "", user: "", stop_signal: null, ...image },
    entrypoint: null,
    command: null,
    env: {},
    host_clock_ms: Date.now(),
    network: null,
    hosts: [],
    stop: { signal: "SIGTERM", timeout_s: 5 },
    limits: { nofile: 10_240 },
    ...rest,
  };
}
