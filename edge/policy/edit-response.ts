/** What a service's policy does to a machine's response before it goes out: fields edited, the body compressed. */
import type { Edge } from "../edge.ts";
import type { ResponseHead } from "../relay/response-head.ts";
import type { Exchange } from "../request/exchange.ts";
import { CompressFilter, ENCODERS_MAX } from "./compress-filter.ts";
import { compressedFields, compressionOf, withVary, withWeakEtag } from "./compressible.ts";
import type { Policy } from "./policy.ts";

export function editResponse(edge: Edge, exchange: Exchange, head: ResponseHead, policy: Policy): void {
  if (policy.headerEdits !== null) {
    head.fields = policy.headerEdits.apply(head.fields);
    // No second Date where the service removed or set it.
    head.hasDate ||= !policy.headerEdits.date;
  }
  if (policy.compress) compress(edge, exchange, head);
}

function compress(edge: Edge, exchange: Exchange, head: ResponseHead): void {
  const compression = compressionOf(exchange.head, head);
  if (compression === null) return;
  const { coding } = compression;
  if (head.status === 304) {
    head.fields = withVary(coding === null ? head.fields : withWeakEtag(head.fields));
  } else if (coding === null) {
    head.fields = withVary(head.fields);
  } else if (exchange.head.method === "HEAD") {
    head.fields = compressedFields(head.fields, coding);
  } else if (edge.policyCounts.compressions >= ENCODERS_MAX) {
    edge.policyCounts.compressionsSkipped++;
    head.fields = withVary(head.fields);
  } else {
    new CompressFilter(edge.relay, exchange, coding, edge.policyCounts);
  }
}
