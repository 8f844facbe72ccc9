// Two stories of what node's HTTP/2 client and server send each other: the
// blocks from the wire, and the fields as the other end says it received them.
//
//   node node.js REQUESTS RESPONSES FOLDER
'use strict';
const fs = require('fs');
const http2 = require('http2');
const net = require('net');
const path = require('path');

const [requests, responses, folder] = process.argv.slice(2);

// Header lists from the lines that lists.py prints, as node takes them.
function lists(file) {
  const all = [];
  let headers = {};
  let never = [];
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    const [what, secret, name, value] = line.split('\t');
    if (what === 'field') {
      // node's strings are Latin-1 on the wire.
      if (/[^\x20-\x7e]/.test(value)) continue;
      headers[name] = name in headers ? [].concat(headers[name], value) : value;
      if (secret === '1') never.push(name);
    } else if (what === 'end') {
      headers[http2.sensitiveHeaders] = never;
      all.push(headers);
      headers = {};
      never = [];
    }
  }
  return all;
}

// The header blocks in what one side sent.
function blocks(chunks, preface) {
  let bytes = Buffer.concat(chunks).subarray(preface);
  const found = [];
  let block = null;
  while (bytes.length >= 9) {
    const length = bytes.readUIntBE(0, 3);
    const [type, flags] = [bytes[3], bytes[4]];
    let payload = bytes.subarray(9, 9 + length);
    bytes = bytes.subarray(9 + length);
    if (type === 1) {
      if (flags & 8) payload = payload.subarray(1, length - payload[0]);
      if (flags & 0x20) payload = payload.subarray(5);
      block = [payload];
    } else if (type === 9) {
      block.push(payload);
    } else {
      continue;
    }
    if (flags & 4) found.push(Buffer.concat(block));
  }
  return found;
}

function story(name, wires, received) {
  if (wires.length !== received.length) throw new Error(`${name}: ${wires.length} blocks`);
  const cases = wires.map((wire, seqno) => {
    const headers = [];
    for (let i = 0; i < received[seqno].length; i += 2) {
      headers.push({ [received[seqno][i]]: received[seqno][i + 1] });
    }
    const never = headers.map((h) => Object.keys(h)[0]).filter((n) =>
      ['authorization', 'set-cookie'].includes(n));
    return JSON.stringify({
      seqno, header_table_size: 4096, wire: wire.toString('hex'), headers, never_indexed: never,
    });
  });
  const text = `{"description":"encoded by node ${name}","cases":[\n${cases.join(',\n')}\n]}\n`;
  fs.writeFileSync(path.join(folder, `node-${name}.json`), text);
}

const sent = lists(requests);
const answers = lists(responses);
const [got, answered] = [[], []];
const server = http2.createServer();
server.on('stream', (stream, headers, flags, raw) => {
  got.push(raw);
  stream.on('error', () => {});
  stream.resume();
  const answer = answers[got.length - 1];
  delete answer['content-length'];
  stream.respond(answer, { endStream: true });
});
server.listen(0, '127.0.0.1', () => {
  // Between them, what records both directions.
  const wire = [[], []];
  const between = net.createServer((near) => {
    const far = net.connect(server.address().port, '127.0.0.1');
    near.on('data', (b) => { wire[0].push(b); far.write(b); }).on('end', () => far.end());
    far.on('data', (b) => { wire[1].push(b); near.write(b); }).on('end', () => near.end());
  });
  between.listen(0, '127.0.0.1', async () => {
    const client = http2.connect(`http://127.0.0.1:${between.address().port}`);
    for (const headers of sent) {
      await new Promise((resolve, reject) => {
        const stream = client.request(headers, { endStream: true });
        stream.on('response', (_, __, raw) => answered.push(raw));
        stream.on('error', reject);
        stream.on('close', resolve);
        stream.resume();
      });
    }
    client.close(() => {
      story('requests', blocks(wire[0], 24), got);
      story('responses', blocks(wire[1], 0), answered);
      between.close();
      server.close();
    });
  });
});
