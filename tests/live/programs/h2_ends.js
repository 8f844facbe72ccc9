// Streams and connections of HTTP/2 that end otherwise than usual, by node:
//
//	h2_ends.js serve DOCROOT [CERT KEY]      prints its port
//	h2_ends.js cancel [--cafile CA] URL      resets a stream when a part has come,
//	                                         and asks once more
//	h2_ends.js connect [--cafile CA] URL AUTHORITY TARGET
//	                                         a request of HTTP/1.0 within CONNECT;
//	                                         keeps what comes in the file "got"
//
// The server gives
//
//	/push/NAME      "pushed", and pushes the file
//	/slow           PART, and never the rest
//	/refuse/CODE    resets the stream at once
//	/goaway/N...    GOAWAY when N wait, and then answers
//	/trailers/NAME  103, the file, and its length as a trailer
//	/NAME           the file
//
// and connects to the authority of CONNECT.
"use strict";
const fs = require("fs");
const http2 = require("http2");
const net = require("net");
const path = require("path");

const PART = "p".repeat(1000);
const [mode, ...rest] = process.argv.slice(2);

function answer(stream, headers) {
	stream.on("error", () => {});
	if (headers[":method"] === "CONNECT") {
		const [, host, port] = headers[":authority"].match(/^(.*):(\d+)$/);
		const socket = net.connect(Number(port), host, () => {
			stream.respond({ ":status": 200 });
			socket.pipe(stream).pipe(socket);
		});
		return;
	}
	const target = headers[":path"];
	const [, first, second] = target.split("?")[0].split("/");
	const file = (name) => fs.readFileSync(path.join(rest[0], path.basename(name)));
	const body = (content) => {
		stream.respond({ ":status": 200, "content-length": content.length });
		stream.end(content);
	};
	switch (first) {
	case "push":
		stream.pushStream({ ":path": `/${second}` }, (error, pushed) => {
			const content = file(second);
			pushed.respond({ ":status": 200, "content-length": content.length });
			pushed.end(content);
			body(Buffer.from("pushed"));
		});
		break;
	case "slow":
		stream.respond({ ":status": 200 });
		stream.write(PART);
		break;
	case "refuse":
		stream.close(Number(second));
		break;
	case "goaway": {
		const session = stream.session;
		session.late ??= [];
		session.late.push(() => body(Buffer.from(target)));
		if (session.late.length >= Number(second)) {
			session.goaway(0);
			for (const give of session.late.splice(0))
				give();
		}
		break;
	}
	case "trailers": {
		stream.additionalHeaders({ ":status": 103, "link": "</style.css>; rel=preload" });
		const content = file(second);
		stream.respond({ ":status": 200 }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers({ "x-length": content.length }));
		stream.end(content);
		break;
	}
	default:
		body(file(first));
	}
}

function serve() {
	const [, cert, key] = rest;
	const server = cert
		? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
		: http2.createServer();
	server.on("stream", answer);
	server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

function client() {
	let ca;
	if (rest[0] === "--cafile")
		ca = fs.readFileSync(rest.splice(0, 2)[1]);
	const [url, authority, target] = rest;
	const session = http2.connect(url, { ca });
	if (mode === "connect") {
		const stream = session.request({ ":method": "CONNECT", ":authority": authority });
		stream.on("response", () => stream.end(`GET ${target} HTTP/1.0\r\nHost: ${authority}\r\n\r\n`));
		stream.on("data", (chunk) => fs.appendFileSync("got", chunk));
		stream.on("end", () => session.close());
		return;
	}
	const stream = session.request({ ":path": "/slow" });
	let length = 0;
	stream.on("data", (chunk) => {
		length += chunk.length;
		if (length === PART.length)
			stream.close(http2.constants.NGHTTP2_CANCEL);
	});
	stream.on("close", () => {
		const again = session.request({ ":path": "/a.txt" });
		again.resume().on("end", () => session.close());
	});
}

if (mode === "serve")
	serve();
else
	client();
