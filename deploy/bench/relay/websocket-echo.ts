/** The WebSocket backend: each message comes back as it is. `websocket-echo.ts PORT` */
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("ready\n");
  },
  websocket: {
    perMessageDeflate: false,
    message: (socket, message) => void socket.send(message),
  },
});
