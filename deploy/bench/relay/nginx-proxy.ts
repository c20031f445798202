/** nginx as a reverse proxy the way its manual advises: kept upstream connections, buffered log, HTTP/2 beside TLS. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { nginxUser } from "./backend.ts";
import { type Launch, type ProxyPlan, WEBSOCKET_HOST } from "./proxy.ts";

export function nginxProxy(plan: ProxyPlan): Launch {
  const configFile = join(plan.folder, "nginx.conf");
  writeFileSync(configFile, configuration(plan));
  return { argv: ["nginx", "-p", plan.folder, "-c", configFile, "-e", "stderr"] };
}

function configuration(plan: ProxyPlan): string {
  const { folder, httpPort, tlsPort, backend, certificate, logFile } = plan;
  return `daemon off;
${nginxUser()}worker_processes 1;
worker_rlimit_nofile 20000;
pid ${folder}/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  log_format requests escape=json '{"at_ms":"$msec","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","target":"$request_uri","status":$status,'
    '"machine":"$upstream_addr","bytes_in":$request_length,"bytes_out":$body_bytes_sent,'
    '"first_byte_s":"$upstream_header_time","total_s":$request_time,"user_agent":"$http_user_agent"}';
  access_log ${logFile === null ? "off" : `${logFile} requests buffer=64k flush=50ms`};
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  http2_max_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size 64k;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  ssl_certificate ${certificate.certificateFile};
  ssl_certificate_key ${certificate.keyFile};
  ssl_protocols TLSv1.2 TLSv1.3;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream app { server 127.0.0.1:${backend.httpPort}; keepalive 256; keepalive_requests 1000000000; }
  upstream websocket { server 127.0.0.1:${backend.websocketPort}; keepalive 16; }
  map $host $app { ${WEBSOCKET_HOST} websocket; default app; }
  proxy_http_version 1.1;
  proxy_set_header Host $host;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Request-Id $request_id;
  add_header X-Request-Id $request_id always;
  # Nothing goes through a file; larger buffers serve the larger bodies.
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  proxy_buffer_size 8k;
  proxy_buffers 8 32k;
  proxy_busy_buffers_size 64k;
  server {
    listen 127.0.0.1:${httpPort} backlog=4096;
    listen 127.0.0.1:${tlsPort} backlog=4096 ssl http2;
    location / { proxy_pass http://$app; }
  }
}
`;
}
