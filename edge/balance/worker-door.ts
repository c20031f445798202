/** Asks this host's worker for a start or a stop (control/contract/worker-edge-api.ts). */
import { request } from "node:http";
import { WireError } from "../../control/contract/errors.ts";

export const WORKER_ANSWER_WAIT_MS_MAX = 5_000;
const ANSWER_BYTES_MAX = 65_536;
export const UNREACHABLE = "unreachable";

export class WorkerDoor {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** @returns null where the worker has taken it on, else its code, or UNREACHABLE; never rejects */
  call(machineId: string, what: "start" | "start?spare=true" | "stop"): Promise<string | null> {
    return new Promise((resolve) => {
      const call = request({
        socketPath: this.#socket,
        method: "POST",
        path: `/v1/machines/${machineId}/${what}`,
        headers: { host: "worker", "content-length": 0 },
        timeout: WORKER_ANSWER_WAIT_MS_MAX,
      }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (part: string) => {
          if (text.length < ANSWER_BYTES_MAX) text += part;
        });
        answer.on("end", () => resolve(answer.statusCode === 200 ? null : codeOf(text)));
        answer.on("error", () => resolve(UNREACHABLE));
      });
      call.on("timeout", () => call.destroy());
      call.on("error", () => resolve(UNREACHABLE));
      call.on("close", () => resolve(UNREACHABLE));
      call.end();
    });
  }
}

function codeOf(body: string): string {
  try {
    return WireError.parse((JSON.parse(body) as { error?: unknown }).error).code;
  } catch {
    return "worker.internal"; // whatever it was, it was not the answer that the contract names
  }
}
