/** What stands behind every proxy: an nginx of its own with answers that cost it little, and a WebSocket echo on Bun. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, startServer } from "../../servers/child.ts";

export const SMALL_BODY = "All requests of this benchmark get the same 63 bytes as answer\n";
export const BODY_64K_BYTES = 65_536;
export const BODY_64M_BYTES = 67_108_864;

export interface Backend {
  readonly httpPort: number;
  readonly websocketPort: number;
  stop(): Promise<void>;
}

/** @param prefix before each command, `taskset -c 1` */
export async function startBackend(folder: string, prefix: readonly string[]): Promise<Backend> {
  const files = join(folder, "www");
  mkdirSync(files, { recursive: true });
  writeFileSync(join(files, "64k"), Buffer.alloc(BODY_64K_BYTES, "k"));
  writeFileSync(join(files, "64m"), Buffer.alloc(BODY_64M_BYTES, "m"));
  const httpPort = await freePort();
  const websocketPort = await freePort();
  const configFile = join(folder, "backend.conf");
  writeFileSync(configFile, configuration(folder, files, httpPort));
  const [http, websocket] = await Promise.all([
    startServer({
      name: "the backend's nginx",
      argv: [...prefix, "nginx", "-p", folder, "-c", configFile, "-e", "stderr"],
      logFile: join(folder, "backend.log"),
      ready: () => fetch(`http://127.0.0.1:${httpPort}/small`).then((r) => r.ok, () => false),
      stopSignal: "SIGTERM",
    }),
    startServer({
      name: "the WebSocket echo",
      argv: [...prefix, process.execPath, join(import.meta.dir, "websocket-echo.ts"), String(websocketPort)],
      logFile: join(folder, "websocket.log"),
      ready: () => fetch(`http://127.0.0.1:${websocketPort}/small`).then((r) => r.ok, () => false),
    }),
  ]);
  const stop = async () => void await Promise.all([http.stop(), websocket.stop()]);
  return { httpPort, websocketPort, stop };
}

/** The master's own: workers of another user could not read the testbed's folder. */
export function nginxUser(): string {
  return process.getuid?.() === 0 ? "user root;\n" : "";
}

/** `/seen` tells what the proxy passed on: request id, forwarded address and scheme, host. */
function configuration(folder: string, files: string, port: number): string {
  return `daemon off;
${nginxUser()}worker_processes 1;
pid ${folder}/backend.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  default_type application/octet-stream;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_max_body_size 0;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root ${files};
    location = /small { default_type text/plain; return 200 "${SMALL_BODY.replace("\n", "\\n")}"; }
    location = /sink { default_type text/plain; return 200 "taken\\n"; }
    location = /seen {
      default_type text/plain;
      return 200 "$http_fly_request_id$http_x_request_id|$http_x_forwarded_for|$http_x_forwarded_proto|$http_host";
    }
  }
}
`;
}
