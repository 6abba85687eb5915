// Loaded before a server. It listens on loopback alone; SIGTERM ends it at once, where kept-alive connections would
// hold it; each SIGUSR2 moves its clock 301 seconds ahead, and is answered by a line of its log.
const { Server } = require("node:net");

const { listen } = Server.prototype;
Server.prototype.listen = function (port, ...rest) {
  return typeof port === "number" ? listen.call(this, port, "127.0.0.1", ...rest) : listen.call(this, port, ...rest);
};

const { exit } = process; // the server puts its own in its place
process.on("SIGTERM", () => exit.call(process, 0));

const origin = performance.timeOrigin;
let ahead = 0;
Object.defineProperty(performance, "timeOrigin", { get: () => origin + ahead });
process.on("SIGUSR2", () => {
  ahead += 301_000;
  console.error("the clock was moved");
});
