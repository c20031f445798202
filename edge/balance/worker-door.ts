/** Asks this host's worker for a start or a stop (control/contract/worker-edge-api.ts). */
import { request } from "node:http";
import { ANSWER_WAIT_MS_MAX, answerOf } from "./door-answer.ts";
import type { StartDoor } from "./starts.ts";

export class WorkerDoor implements StartDoor<null> {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** @returns null where the worker has taken it on, else its code, or UNREACHABLE; never rejects */
  call(machineId: string, what: "start" | "start?spare=true" | "stop"): Promise<string | null> {
    return answerOf(request({
      socketPath: this.#socket,
      method: "POST",
      path: `/v1/machines/${machineId}/${what}`,
      headers: { host: "worker", "content-length": 0 },
      timeout: ANSWER_WAIT_MS_MAX,
    }));
  }
}
