// A WebSocket server that echoes, and a client for it, by node's ws.
//
//     websocket.js server MODE LOG [CERTIFICATE KEY]
//     websocket.js client MODE LOG URL [CERTIFICATE]
//
// As websocket.py beside it.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const https = require("https");
const { WebSocket, WebSocketServer } = require("ws");

const [role, mode, path, ...rest] = process.argv.slice(2);
const log = fs.openSync(path, "w");
const line = (fields) => fs.writeSync(log, JSON.stringify(fields) + "\n");
const small = Number(process.env.SMALL ?? 1000);

function message(direction, data, binary, kind) {
  const type = kind || (binary ? "binary" : "text");
  line({ direction, type, base64: Buffer.from(data).toString("base64") });
}

const alone = mode === "alone";
const perMessageDeflate = mode !== "plain" && {
  threshold: 0,
  serverNoContextTakeover: alone,
  clientNoContextTakeover: alone,
};

function server() {
  const [cert, key] = rest.map((file) => fs.readFileSync(file));
  const listener = cert ? https.createServer({ cert, key }) : http.createServer();
  const sockets = new WebSocketServer({ server: listener, perMessageDeflate });
  sockets.on("connection", (socket) => {
    socket.ping("from the server");
    message("send", "from the server", false, "ping");
    socket.on("ping", (data) => message("receive", data, false, "ping"));
    socket.on("pong", (data) => message("receive", data, false, "pong"));
    socket.on("message", (data, binary) => {
      message("receive", data, binary);
      socket.send(data, { binary });
      message("send", data, binary);
    });
    socket.on("close", (code, reason) => {
      line({ direction: "receive", type: "close", code, reason: reason.toString() });
      listener.close();
    });
  });
  listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
}

function client() {
  const ca = rest[1] && fs.readFileSync(rest[1]);
  const socket = new WebSocket(rest[0], { perMessageDeflate, ca });
  const send = (data, binary) => {
    socket.send(data, { binary });
    message("send", data, binary);
  };
  const texts = ["Hello", "", "grüße, 世界 🌍", "x".repeat(70000)];
  let expected = texts.length + 3 + small;
  const go = () => {
    texts.forEach((text) => send(text, false));
    send(crypto.randomBytes(300), true);
    send(crypto.randomBytes(1 << 20), true);
    socket.send("in three ", { fin: false });
    socket.ping("between");
    message("send", "between", false, "ping");
    socket.send("parts, ", { fin: false });
    socket.send("with a ping between", { fin: true });
    message("send", "in three parts, with a ping between", false);
    for (let n = 0; n < small; n++) {
      send(JSON.stringify({ n, what: "one of many small messages" }), false);
    }
  };
  socket.on("open", () => {
    if (process.env.HOLD === undefined) return go();
    expected += 5;
    for (let n = 0; n < 5; n++) {
      send(JSON.stringify({ n: -n, what: "one of many small messages" }), false);
    }
    let held = 5;
    socket.on("message", () => {
      held -= 1;
      if (held !== 0) return;
      console.log("held");
      process.stdin.once("data", () => {
        process.stdin.destroy();
        go();
      });
    });
  });
  socket.on("ping", (data) => message("receive", data, false, "ping"));
  socket.on("pong", (data) => message("receive", data, false, "pong"));
  socket.on("message", (data, binary) => {
    message("receive", data, binary);
    expected -= 1;
    if (expected === 0) {
      socket.close(4001, "enough");
      line({ direction: "send", type: "close", code: 4001, reason: "enough" });
    }
  });
  socket.on("close", (code, reason) => {
    line({ direction: "receive", type: "close", code, reason: reason.toString() });
  });
}

role === "server" ? server() : client();
