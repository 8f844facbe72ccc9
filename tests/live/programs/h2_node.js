// HTTP/2 by node, in clear (prior knowledge) or inside TLS:
//
//	h2_node.js serve DOCROOT [CERT KEY]   prints its port
//	h2_node.js get [--cafile CA] URL TARGET...   keeps answers in files 0, 1, ...
//	h2_node.js post [--cafile CA] URL FOLDER TARGET... posts the files of these
//	                                      names, keeps answers likewise
//	h2_node.js lines [--cafile CA] URL    a request for each line of its stdin
//
// The clients have one connection, on which all is asked for at once, except by
// `lines`, which prints what it sent and got. The server gives
//
//	/NAME            the file
//	/echo/...        what was sent, and its trailers as trailers
//	/headers...      the fields of the request as JSON
//	/many/N/SIZE     N fields of SIZE bytes
//	/trailers/NAME   the file, and its length as a trailer
//	/interim/NAME    103 before the file
//	/late/N...       answers when N wait for it on the connection
//	/gate/PORT/NAME  the file when somebody at that port has hung up
//	/join/N/PORT/... as /late/N, the first N of a connection when somebody at
//	                 that port has hung up too
"use strict";
const fs = require("fs");
const http2 = require("http2");
const net = require("net");
const path = require("path");

const [mode, ...rest] = process.argv.slice(2);
const settings = { maxHeaderListSize: 1 << 20, maxConcurrentStreams: 1000 };
const limits = { settings, maxHeaderListPairs: 4096, maxSessionMemory: 200 };

// Pairs of names and values without pseudo-fields, as they came.
function pairs(raw) {
	const list = [];
	for (let at = 0; at < raw.length; at += 2)
		if (!raw[at].startsWith(":"))
			list.push([raw[at], raw[at + 1]]);
	return list;
}

function answer(stream, headers, flags, raw) {
	const target = headers[":path"];
	const parts = target.split("?")[0].split("/");
	const body = (content, more) => {
		stream.respond({ ":status": 200, "content-length": content.length, ...more });
		stream.end(content);
	};
	stream.on("error", (error) => console.error("h2_node:", error.message));
	switch (parts[1]) {
	case "echo": {
		const chunks = [];
		let trailers = {};
		stream.on("trailers", (got) => { trailers = { ...got }; });
		stream.on("data", (chunk) => chunks.push(chunk));
		stream.on("end", () => {
			stream.respond({ ":status": 200 }, { waitForTrailers: true });
			stream.on("wantTrailers", () => stream.sendTrailers(trailers));
			stream.end(Buffer.concat(chunks));
		});
		break;
	}
	case "headers":
		body(Buffer.from(JSON.stringify(pairs(raw))));
		break;
	case "many": {
		const fields = {};
		for (let number = 0; number < Number(parts[2]); number++)
			fields[`x-${number}`] = String.fromCharCode(97 + number % 26).repeat(Number(parts[3]));
		body(Buffer.from("many"), fields);
		break;
	}
	case "trailers": {
		const content = fs.readFileSync(path.join(rest[0], parts[2]));
		stream.respond({ ":status": 200 }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers({ "x-length": content.length }));
		stream.end(content);
		break;
	}
	case "interim":
		stream.additionalHeaders({ ":status": 103, "link": "</style.css>; rel=preload" });
		body(fs.readFileSync(path.join(rest[0], parts[2])));
		break;
	case "late":
	case "join": {
		const session = stream.session;
		session.late ??= [];
		session.late.push(() => body(Buffer.from(target)));
		if (session.late.length >= Number(parts[2])) {
			// The last first.
			const all = session.late.splice(0).reverse();
			const give = () => all.forEach((one) => one());
			if (parts[1] === "late" || session.joined)
				give();
			else
				net.connect(Number(parts[3]), "127.0.0.1").resume().on("end", give);
			session.joined = true;
		}
		break;
	}
	case "gate":
		net.connect(Number(parts[2]), "127.0.0.1").resume().on("end", () => {
			body(fs.readFileSync(path.join(rest[0], parts[3])));
		});
		break;
	default:
		body(fs.readFileSync(path.join(rest[0], path.basename(target.split("?")[0]))));
	}
}

function serve() {
	const [, cert, key] = rest;
	const server = cert
		? http2.createSecureServer({ ...limits, cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
		: http2.createServer(limits);
	server.on("stream", answer);
	server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

function connect(url, ca) {
	const options = { ...limits };
	if (ca)
		options.ca = fs.readFileSync(ca);
	const session = http2.connect(url, options);
	session.on("error", (error) => {
		console.error("h2_node:", error);
		process.exit(1);
	});
	return session;
}

function ask(session, headers, content, trailers) {
	return new Promise((resolve, reject) => {
		const stream = session.request(headers, { endStream: content === undefined, waitForTrailers: Boolean(trailers) });
		if (trailers)
			stream.on("wantTrailers", () => stream.sendTrailers(trailers));
		if (content !== undefined)
			stream.end(content);
		const chunks = [];
		let status, fields;
		stream.on("response", (got, flags, raw) => { status = got[":status"]; fields = pairs(raw); });
		stream.on("data", (chunk) => chunks.push(chunk));
		stream.on("error", reject);
		stream.on("end", () => {
			if (status !== 200)
				reject(new Error(`${status}`));
			resolve({ sent: stream.sentHeaders, status, fields, content: Buffer.concat(chunks) });
		});
	});
}

async function lines(session) {
	const input = require("readline").createInterface({ input: process.stdin });
	for await (const line of input) {
		// METHOD TARGET then pairs of name and value, all between tabs.
		const [method, target, ...fields] = line.split("\t");
		const headers = { ":method": method, ":path": target };
		for (let at = 0; at < fields.length; at += 2)
			headers[fields[at]] = fields[at + 1];
		const got = await ask(session, headers, method === "POST" ? Buffer.from(target) : undefined);
		const sent = Object.entries(got.sent).map(([name, value]) => [name, `${value}`]);
		console.log(JSON.stringify({ sent, status: got.status, fields: got.fields, body: got.content.toString() }));
	}
}

async function main() {
	let ca;
	if (rest[0] === "--cafile")
		[, ca] = rest.splice(0, 2);
	const [url, ...more] = rest;
	const session = connect(url, ca);
	if (mode === "lines") {
		await lines(session);
	} else {
		const from = mode === "post" ? more.shift() : undefined;
		await Promise.all(more.map(async (target, number) => {
			const name = path.basename(target.split("?")[0]);
			const content = from && fs.readFileSync(path.join(from, name));
			const got = from
				? await ask(session, { ":method": "POST", ":path": target }, content, { "x-name": name })
				: await ask(session, { ":path": target });
			fs.writeFileSync(`${number}`, got.content);
		}));
	}
	session.close();
}

if (mode === "serve")
	serve();
else
	main().catch((error) => {
		console.error("h2_node:", error);
		process.exit(1);
	});
