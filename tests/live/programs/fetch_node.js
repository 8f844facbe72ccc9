// Fetches URLs by node's http or https into files 0, 1, 2, … over one
// connection.
//
//     fetch_node.js [--cafile FILE] [--post FOLDER] URL…
//
// With --post, sends to each URL the file of FOLDER that has its last name.
"use strict";
const fs = require("fs");
const path = require("path");

const urls = process.argv.slice(2);
function option(name) {
  const at = urls.indexOf(name);
  return at < 0 ? undefined : urls.splice(at, 2)[1];
}
const cafile = option("--cafile");
const post = option("--post");
const http = require(cafile ? "https" : "http");
const options = {
  agent: new http.Agent({ keepAlive: true, maxSockets: 1 }),
  ca: cafile && fs.readFileSync(cafile),
  method: post ? "POST" : "GET",
};

function fetch(url, name) {
  return new Promise((resolve, reject) => {
    const body = post && fs.readFileSync(path.join(post, path.basename(url)));
    const headers = post
      ? { "Content-Length": body.length, "Content-Type": "application/octet-stream" }
      : {};
    const request = http.request(url, { ...options, headers }, (response) => {
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
    request.end(body);
  });
}

(async () => {
  for (const [number, url] of urls.entries()) {
    await fetch(url, String(number));
  }
  options.agent.destroy();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
