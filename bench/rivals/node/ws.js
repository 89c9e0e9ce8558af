// A server on ws as one writes it from its README: groups are sets of sockets, a message is sent to each member.
import { createServer } from "node:http";
import { WebSocketServer, WebSocket } from "ws";
import { announce, publishing } from "./announce.js";

const groups = new Map(); // name → set of sockets

function join(socket, name) {
  let members = groups.get(name);
  if (!members) groups.set(name, (members = new Set()));
  members.add(socket);
  socket.joined.add(name);
}

function leave(socket, name) {
  const members = groups.get(name);
  members?.delete(socket);
  if (members?.size === 0) groups.delete(name);
  socket.joined.delete(name);
}

function send(group, data) {
  const message = JSON.stringify({ group, data });
  for (const member of groups.get(group) ?? []) {
    if (member.readyState === WebSocket.OPEN) member.send(message);
  }
}

const server = createServer(publishing(send));
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

sockets.on("connection", (socket) => {
  socket.joined = new Set();
  socket.on("message", (bytes) => {
    let message;
    try {
      message = JSON.parse(bytes);
    } catch {
      socket.close(1007, "not JSON");
      return;
    }
    switch (message.op) {
      case "join":
        for (const name of message.groups) join(socket, name);
        socket.send(JSON.stringify({ op: "joined", count: message.groups.length }));
        break;
      case "leave":
        for (const name of message.groups) leave(socket, name);
        socket.send(JSON.stringify({ op: "left", count: message.groups.length }));
        break;
      case "send":
        send(message.group, message.data);
        break;
      default:
        socket.close(1008, `unknown op ${message.op}`);
    }
  });
  socket.on("close", () => {
    for (const name of socket.joined) leave(socket, name);
  });
  socket.on("error", () => socket.terminate());
});

announce(server, "ws");
