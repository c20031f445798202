/** Asks the edge of another host to have a machine of its own started (`request/peer.ts`). */
import { request } from "node:http";
import type { Target } from "../routes/backend.ts";
import { ANSWER_WAIT_MS_MAX, answerOf } from "./door-answer.ts";
import type { StartDoor } from "./starts.ts";

export interface PeerDoorway {
  /** Its id. */
  readonly host: string;
  readonly target: Target;
  /** External port of the service that is wanted. */
  readonly port: number;
}

export class PeerDoor implements StartDoor<PeerDoorway> {
  readonly #fieldOf: (machineId: string, port: number) => string | null;

  /** @param fieldOf the value of `Godwit-Peer`; null while there is no secret to write it with */
  constructor(fieldOf: (machineId: string, port: number) => string | null) {
    this.#fieldOf = fieldOf;
  }

  call(machineId: string, _what: string, { target, port }: PeerDoorway): Promise<string | null> {
    const field = this.#fieldOf(machineId, port);
    return answerOf(request({
      host: target.address,
      port: target.port,
      method: "POST",
      path: "/",
      headers: {
        host: "edge",
        accept: "application/json",
        "content-length": 0,
        ...(field === null ? {} : { "godwit-peer": field }),
      },
      timeout: ANSWER_WAIT_MS_MAX,
    }));
  }
}
