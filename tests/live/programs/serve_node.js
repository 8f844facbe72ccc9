// node's https as a server: the files of a folder, and POST is echoed. Prints
// its port.
//
//     serve_node.js FOLDER CERTIFICATE KEY
"use strict";
const fs = require("fs");
const https = require("https");
const path = require("path");

const [folder, cert, key] = process.argv.slice(2);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const server = https.createServer(options, (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body =
      request.method === "POST"
        ? Buffer.concat(chunks)
        : fs.readFileSync(path.join(folder, path.basename(request.url)));
    response.writeHead(200, { "Content-Length": body.length });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
