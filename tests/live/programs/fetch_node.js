// Fetches URLs by node's http into files 0, 1, 2, … over one connection.
//
//     fetch_node.js URL…
"use strict";
const fs = require("fs");
const http = require("http");

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function fetch(url, name) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent }, (response) => {
      if (response.statusCode !== 200) {
        reject(new Error(`${url}: ${response.statusCode}`));
        return;
      }
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        fs.writeFileSync(name, Buffer.concat(chunks));
        resolve();
      });
    });
    request.on("error", reject);
  });
}

(async () => {
  const urls = process.argv.slice(2);
  for (const [number, url] of urls.entries()) {
    await fetch(url, String(number));
  }
  agent.destroy();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
