/** The last lines of a request that goes to the edge of the machine's host (`peer.ts`) instead of to the machine. */
import type { Edge } from "../edge.ts";
import type { Exchange } from "./exchange.ts";

/** Times that one request may come back to be picked again. */
export const SEND_BACKS_MAX = 3;

/** @param fields what the machine is to get after the client's own lines; ends with the head's empty line */
export function toPeer(edge: Edge, exchange: Exchange, fields: string): string {
  const { head, service } = exchange;
  return edge.peers!.write({
    machine: exchange.backend!.machineId,
    port: service!.port,
    final: head.hasBody || exchange.backend!.retired ||
      exchange.sendBacks + 1 >= Math.min(SEND_BACKS_MAX, service!.size),
    request_id: exchange.id,
    fields: fields.slice(0, -2),
  }) + "\r\n";
}
