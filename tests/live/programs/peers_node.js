// Many connections by node, and who they were with: as peers_asyncio.py.
//
//     peers_node.js serve LOG PORTS CERTIFICATE KEY
//     peers_node.js ask LOG CAFILE CONNECTIONS REQUESTS early|late PORT…
"use strict";
const fs = require("fs");
const https = require("https");
const readline = require("readline");

const [mode, logFile] = process.argv.slice(2);
const log = fs.openSync(logFile, "w");
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function note(role, socket, target) {
  if (target.startsWith("/warm")) return;
  const local = `${socket.localAddress}:${socket.localPort}`;
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  fs.writeSync(log, `${role} ${local} ${peer} ${target}\n`);
}

async function serve(count, certificate, key) {
  const options = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
  const ports = [];
  for (let i = 0; i < Number(count); i++) {
    const server = https.createServer(options, (request, response) => {
      note("server", request.socket, request.url);
      response.end("0123456\n");
    });
    server.keepAliveTimeout = 0;
    await new Promise((listening) => server.listen(0, "127.0.0.1", 512, listening));
    ports.push(server.address().port);
  }
  console.log(ports.join(" "));
}

function fetch(agent, ca, port, path) {
  return new Promise((resolve, reject) => {
    const request = https.get(
      { host: "127.0.0.1", port, path, agent, ca, headers: { Host: "localhost" } },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`${path}: ${response.statusCode}`));
        note("client", response.socket, path);
        response.on("error", reject);
        response.on("end", resolve);
        response.resume();
      },
    );
    request.on("error", reject);
  });
}

async function ask(cafile, connections, requests, when, ...servers) {
  const ca = fs.readFileSync(cafile);
  const ports = Array(Number(connections)).fill(servers).flat();
  // One connection each.
  const agents = ports.map(() => new https.Agent({ keepAlive: true, maxSockets: 1 }));
  const pad = (number) => String(number).padStart(5, "0");
  const all = (steps) =>
    Promise.all(
      ports.map(async (port, number) => {
        for (const step of steps) await fetch(agents[number], ca, port, step(number));
      }),
    );
  if (when === "late") await all([(number) => `/warm${pad(number)}`]);
  console.log("ready");
  await lines.next();
  const steps = [...Array(Number(requests)).keys()];
  await all(steps.map((step) => (number) => `/${pad(number)}-${pad(step)}`));
  console.log("done");
  await lines.next();
  agents.forEach((agent) => agent.destroy());
  process.exit(0);
}

(mode === "serve" ? serve : ask)(...process.argv.slice(4)).catch((error) => {
  console.error(error);
  process.exit(1);
});
