/** What a call for a start or a stop comes back with. */
import type { ClientRequest } from "node:http";
import { WireError } from "../../control/contract/errors.ts";

export const ANSWER_WAIT_MS_MAX = 5_000;
const ANSWER_BYTES_MAX = 65_536;
export const UNREACHABLE = "unreachable";

/** @returns null where it was taken on (2xx), else the answer's code, or UNREACHABLE; never rejects */
export function answerOf(call: ClientRequest): Promise<string | null> {
  return new Promise((resolve) => {
    call.on("response", (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => {
        if (text.length < ANSWER_BYTES_MAX) text += part;
      });
      answer.on("end", () => resolve((answer.statusCode ?? 0) < 300 ? null : codeOf(text)));
      answer.on("error", () => resolve(UNREACHABLE));
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(UNREACHABLE));
    call.on("close", () => resolve(UNREACHABLE));
    call.end();
  });
}

function codeOf(body: string): string {
  try {
    return WireError.parse((JSON.parse(body) as { error?: unknown }).error).code;
  } catch {
    return "worker.internal"; // whatever it was, it was not the answer that the contract names
  }
}
