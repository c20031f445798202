/** Caddy, for reference: the only one of the peers that most of its users run as it comes. One processor, like the rest. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Launch, type ProxyPlan, WEBSOCKET_HOST } from "./proxy.ts";

export function caddyProxy(plan: ProxyPlan): Launch {
  const configFile = join(plan.folder, "Caddyfile");
  writeFileSync(configFile, configuration(plan));
  return {
    argv: ["caddy", "run", "--config", configFile, "--adapter", "caddyfile"],
    env: { GOMAXPROCS: "1", HOME: plan.folder, XDG_DATA_HOME: plan.folder, XDG_CONFIG_HOME: plan.folder },
  };
}

function configuration(plan: ProxyPlan): string {
  const { httpPort, tlsPort, backend, certificate, logFile } = plan;
  const logged = logFile === null ? "" : `
  log {
    output file ${logFile} {
      roll_disabled
    }
    format json
  }`;
  return `{
  admin off
  auto_https off
  log {
    level ERROR
  }
}
(app) {
  bind 127.0.0.1${logged}
  header X-Request-Id {http.request.uuid}
  @websocket host ${WEBSOCKET_HOST}
  reverse_proxy @websocket 127.0.0.1:${backend.websocketPort}
  reverse_proxy 127.0.0.1:${backend.httpPort} {
    header_up X-Request-Id {http.request.uuid}
    transport http {
      keepalive_idle_conns_per_host 256
      compression off
    }
  }
}
:${httpPort} {
  import app
}
https://:${tlsPort} {
  tls ${certificate.certificateFile} ${certificate.keyFile}
  import app
}
`;
}
