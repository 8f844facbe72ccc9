// A server of gRPC-Web in HTTP/1.1 or HTTP/2, in clear or inside TLS:
//
//	grpc_web.js 1|2 [CERT KEY]   prints its port
//
// A method whose name begins with Echo gives back each message, any other ends
// with NOT_FOUND. What is sent as text is answered as text, a piece for each
// frame.
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");

const [version, certificate, key] = process.argv.slice(2);

function frame(flags, content) {
	const prefix = Buffer.alloc(5);
	prefix.writeUInt8(flags, 0);
	prefix.writeUInt32BE(content.length, 1);
	return Buffer.concat([prefix, content]);
}

// Pieces may be padded; Buffer.from takes one.
function decoded(text) {
	const groups = text.toString().match(/.{4}/g) || [];
	return Buffer.concat(groups.map((group) => Buffer.from(group, "base64")));
}

function answer(request, response) {
	const type = request.headers["content-type"];
	const asText = type.startsWith("application/grpc-web-text");
	const chunks = [];
	request.on("data", (chunk) => chunks.push(chunk));
	request.on("end", () => {
		const send = (bytes) => response.write(asText ? bytes.toString("base64") : bytes);
		let body = Buffer.concat(chunks);
		if (asText)
			body = decoded(body);
		response.writeHead(200, { "content-type": type });
		let trailers = "grpc-status: 5\r\ngrpc-message: not here: 50%25 %C3%A9\r\n";
		if (request.url.includes("/Echo")) {
			for (let at = 0; at < body.length;) {
				const end = at + 5 + body.readUInt32BE(at + 1);
				send(body.subarray(at, end));
				at = end;
			}
			trailers = "grpc-status:0\r\ngrpc-message:\r\n";
		}
		send(frame(0x80, Buffer.from(trailers)));
		response.end();
	});
}

let server;
if (certificate) {
	const options = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true };
	server = http2.createSecureServer(options, answer);
} else {
	server = (version === "2" ? http2 : http).createServer(answer);
}
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
