// What both servers have in common: how they listen, what they print, and publications by HTTP.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

// Connections that may wait to be accepted: Node's 511 overflow in a storm of connects.
const backlog = 4096;

// announce listens on any port of loopback and prints the address and what runs.
export function announce(server, library) {
  server.keepAliveTimeout = 3600_000; // who publishes by HTTP may pause
  server.listen({ host: "127.0.0.1", port: 0, backlog }, () => {
    const { address, port } = server.address();
    console.log(`${address}:${port} ${library} ${require(`${library}/package.json`).version}, Node ${process.versions.node}`);
  });
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
}

// publishing answers POST /publish {"group":…,"data":…} by calling send(group, data).
export function publishing(send) {
  return (req, res) => {
    if (req.method !== "POST" || req.url !== "/publish") {
      res.writeHead(404).end();
      return;
    }
    const chunks = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      try {
        const { group, data } = JSON.parse(Buffer.concat(chunks).toString());
        send(group, data);
        res.writeHead(204).end();
      } catch (err) {
        res.writeHead(400).end(String(err));
      }
    });
  };
}
