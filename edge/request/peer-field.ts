/**
 * What one edge tells another with a request: `Godwit-Peer: TOKEN BASE64URL(JSON)`. The field is cut out of everything that
 * clients send, and believed only on a listener for peers and with the fleet's token, which is made of a shared secret.
 * It goes in the clear over the fleet's private network, like the request itself; a signature for each request would cost
 * more than the routing and protect nothing that the request beside it does not show.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { MachineId, Port } from "../../control/contract/names.ts";

export const PEER_SECRET_CHARACTERS_MIN = 32;

/** Machine and port asked for, and all that only the first edge knows about the request. */
export const PeerRequest = z.object({
  machine: MachineId,
  /** External port of the service. */
  port: Port,
  /** The first edge cannot pick again: answer, hold or start the machine here. */
  final: z.boolean(),
  /** There is no request: the machine is to be started, for a connection that will come to it straight. */
  start: z.literal(true).optional(),
  request_id: z.string().regex(/^[0-9A-Za-z-]{1,64}$/),
  /** Lines with CR LF that the machine gets after those of the client. */
  fields: z.string().max(16_384).regex(/^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/),
});
export type PeerRequest = z.infer<typeof PeerRequest>;

export class PeerFields {
  readonly #token: string;
  readonly #tokenBytes: Buffer;

  constructor(secret: string) {
    this.#token = createHmac("sha256", secret).update("godwit-peer-1").digest("base64url");
    this.#tokenBytes = Buffer.from(this.#token);
  }

  /** @returns the line, with CR LF */
  write(request: PeerRequest): string {
    return `Godwit-Peer: ${this.value(request)}\r\n`;
  }
  value(request: PeerRequest): string {
    return `${this.#token} ${Buffer.from(JSON.stringify(request)).toString("base64url")}`;
  }

  /** @returns null for what no edge of this fleet has written */
  read(value: string | null): PeerRequest | null {
    if (value === null) return null;
    const space = value.indexOf(" ");
    const token = Buffer.from(value.slice(0, Math.max(0, space)));
    if (token.length !== this.#tokenBytes.length || !timingSafeEqual(token, this.#tokenBytes)) return null;
    let json: unknown;
    try {
      json = JSON.parse(Buffer.from(value.slice(space + 1), "base64url").toString("utf8"));
    } catch {
      return null; // no edge of this version
    }
    const parsed = PeerRequest.safeParse(json);
    return parsed.success ? parsed.data : null;
  }
}
