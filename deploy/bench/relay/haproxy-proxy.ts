/** HAProxy with one thread, connections to the backend reused always, and its log written to a file by way of stdout. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Launch, type ProxyPlan, WEBSOCKET_HOST } from "./proxy.ts";

export function haproxyProxy(plan: ProxyPlan): Launch {
  const configFile = join(plan.folder, "haproxy.cfg");
  writeFileSync(configFile, configuration(plan));
  return {
    argv: ["haproxy", "-db", "-f", configFile],
    ...(plan.logFile === null ? {} : { stdoutFile: plan.logFile }),
  };
}

const LOG_FORMAT = [
  '{"at":"%T","request_id":"%ID","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0)]","target":"%HU",',
  '"status":%ST,"machine":"%b/%s","bytes_in":%U,"bytes_out":%B,"first_byte_ms":%Tr,"total_ms":%Ta,',
  '"user_agent":"%[capture.req.hdr(1)]"}',
].join("");

function configuration(plan: ProxyPlan): string {
  const { httpPort, tlsPort, backend, certificate, logFile } = plan;
  const logged = logFile === null ? "" : `
  log global
  log-format ${LOG_FORMAT.replaceAll('"', '\\"').replaceAll(" ", "\\ ")}
  declare capture request len 128
  declare capture request len 128
  http-request capture req.hdr(Host) id 0
  http-request capture req.hdr(User-Agent) id 1`;
  return `global
  nbthread 1
  maxconn 8192
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ${logFile === null ? "" : "log stdout len 2048 format raw local0 info"}

defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
  timeout tunnel 1h

frontend clients${logged}
  bind 127.0.0.1:${httpPort} backlog 4096
  bind 127.0.0.1:${tlsPort} backlog 4096 ssl crt ${certificate.bothFile} alpn h2,http/1.1
  option forwardfor
  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
  http-after-response set-header X-Request-Id %[unique-id]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Port %[dst_port]
  use_backend websocket if { req.hdr(Host) -i ${WEBSOCKET_HOST} }
  default_backend app

backend app
  server app1 127.0.0.1:${backend.httpPort}

backend websocket
  server websocket1 127.0.0.1:${backend.websocketPort}
`;
}
