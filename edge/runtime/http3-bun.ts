/** HTTP/3 by Bun.serve, which calls it experimental: what it cannot do stands in deploy/notes. */
import type { Http3Port } from "./http3-port.ts";

/** Bun takes no more. */
const IDLE_S_MAX = 255;

export const bunHttp3: Http3Port = {
  listen({ address, port, certificates, idleMsMax, bodyBytesMax, answer }) {
    const server = Bun.serve({
      hostname: address,
      port,
      http1: false,
      http3: true,
      idleTimeout: Math.min(IDLE_S_MAX, Math.ceil(idleMsMax / 1_000)),
      maxRequestBodySize: bodyBytesMax,
      tls: certificates.map(({ name, chain, key }) => ({
        cert: chain,
        key,
        ...(name === null ? {} : { serverName: name }),
      })),
      fetch(request, own) {
        const from = own.requestIP(request);
        return answer(request, { address: from?.address ?? "", port: from?.port ?? 0 });
      },
    });
    return { port: server.port ?? port, stop: (force) => server.stop(force) };
  },
};
