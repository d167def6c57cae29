// Asks an HTTP server: ask.js http|http2 HOST:PORT METHOD:PATH[:length|:chunked]...
// Prints `status N` for each response. HTTP/2: all requests at once, on one connection.
const http = require("http");
const http2 = require("http2");

const [mode, addr, ...words] = process.argv.slice(2);
const items = words.map((word) => word.split(":"));
const BODY = Buffer.alloc(3000, "x");

function told(status) {
  console.log("status", status);
}

function send(stream, framing) {
  if (framing === "chunked") {
    for (let start = 0; start < BODY.length; start += 1000) {
      stream.write(BODY.subarray(start, start + 1000));
    }
    stream.end();
  } else {
    stream.end(framing === "length" ? BODY : undefined);
  }
}

async function overHttp1() {
  const [host, port] = addr.split(":");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (const [method, path, framing] of items) {
    await new Promise((resolve, reject) => {
      const headers = framing === "length" ? { "Content-Length": BODY.length } : {};
      const request = http.request({ host, port, method, path, headers, agent }, (answer) => {
        told(answer.statusCode);
        answer.resume();
        answer.on("end", resolve);
      });
      request.on("error", reject);
      send(request, framing);
    });
  }
  agent.destroy();
}

async function overHttp2() {
  const session = http2.connect(`http://${addr}`);
  await Promise.all(
    items.map(
      ([method, path, framing]) =>
        new Promise((resolve, reject) => {
          const options = { endStream: framing === undefined };
          const stream = session.request({ ":method": method, ":path": path }, options);
          stream.on("response", (headers) => told(headers[":status"]));
          stream.on("end", resolve);
          stream.on("error", reject);
          stream.resume();
          if (framing !== undefined) {
            send(stream, framing);
          }
        }),
    ),
  );
  session.close();
}

(mode === "http2" ? overHttp2() : overHttp1()).catch((error) => {
  console.error(error);
  process.exit(1);
});
