// A server on Socket.IO as one writes it from its manual: groups are rooms, members are told by acknowledgements.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { announce, publishing } from "./announce.js";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

// Its manual, performance tuning: do not keep the first request of each client in memory.
io.engine.on("connection", (raw) => {
  raw.request = null;
});

function send(group, data) {
  io.to(group).emit("message", group, data);
}

io.on("connection", (socket) => {
  socket.on("join", (groups, done) => {
    socket.join(groups);
    done(groups.length);
  });
  socket.on("leave", (groups, done) => {
    for (const group of groups) socket.leave(group);
    done(groups.length);
  });
  socket.on("send", send);
});

// Socket.IO passes on what is not its own path.
const publish = publishing(send);
server.on("request", (req, res) => {
  if (!req.url.startsWith("/socket.io/")) publish(req, res);
});

announce(server, "socket.io");
