// Serves HTTP: serve.js http|http2 PORT LOG, with `METHOD STATUS` in LOG for each response.
const fs = require("fs");
const http = require("http");
const http2 = require("http2");

const [mode, port, path] = process.argv.slice(2);
const log = fs.openSync(path, "w");
const STATUS = {
  "/ok": 200, "/stream": 200, "/take": 200, "/empty": 204, "/moved": 302, "/same": 304, "/broken": 500,
};
const BODY = "hello\n";

function answer(request, response) {
  request.resume();
  request.on("end", () => {
    const status = STATUS[request.url] ?? 404;
    fs.writeSync(log, `${request.method} ${status}\n`);
    const headers = { "X-Mixed-Case": "Kept" };
    if (status === 302) {
      headers.Location = "/ok";
    }
    const streams = request.url === "/stream" && request.method !== "HEAD";
    if (streams && mode === "http") {
      headers.Trailer = "X-Last";
    }
    response.writeHead(status, headers);
    if (streams) {
      response.write(BODY);
      response.write(BODY);
      response.addTrailers({ "X-Last": "yes" });
    }
    response.end(status === 204 || status === 304 ? undefined : BODY);
  });
}

const server = mode === "http2" ? http2.createServer(answer) : http.createServer(answer);
server.listen(Number(port), "127.0.0.1");
