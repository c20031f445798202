/** The last lines of a request that goes to the edge of the machine's host (`peer.ts`) instead of to the machine. */
import type { Edge } from "../edge.ts";
import { REPLAY_BODIES_BYTES_MAX } from "../replay/kept-body.ts";
import type { Exchange } from "./exchange.ts";

/** Times that one request may come back to be picked again. */
export const SEND_BACKS_MAX = 3;
/** A larger body is sent once; so small that what all of them may grow to is there when it is needed. */
export const SEND_BACK_BODY_BYTES_MAX = 65_536;

/** @param fields what the machine is to get after the client's own lines; ends with the head's empty line */
export function toPeer(edge: Edge, exchange: Exchange, fields: string): string {
  const { head, service } = exchange;
  return edge.peers!.write({
    machine: exchange.backend!.machineId,
    port: service!.port,
    final: (head.hasBody && !staysHere(edge, exchange)) || exchange.backend!.retired ||
      exchange.sendBacks + 1 >= Math.min(SEND_BACKS_MAX, service!.size),
    request_id: exchange.id,
    fields: fields.slice(0, -2),
  }) + "\r\n";
}

/** Its body is kept until the response begins, so that it can be sent to another machine. */
function staysHere(edge: Edge, { head, repeatable }: Exchange): boolean {
  const fits = head.contentLength > 0 && head.contentLength <= SEND_BACK_BODY_BYTES_MAX;
  return fits && repeatable && edge.replays.bodies.bytes < REPLAY_BODIES_BYTES_MAX / 2;
}
