const crypto = require("crypto");
const http = require("http");
const net = require("net");

const [url, port] = process.argv.slice(2);

function tell(word, stream, then) {
  const hash = crypto.createHash("sha256");
  stream.on("data", (chunk) => hash.update(chunk));
  stream.on("end", () => {
    console.log(word, hash.digest("hex"));
    then();
  });
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

http
  .get(url, { agent: new http.Agent({ keepAlive: false }) }, (answer) => {
    tell("fetched", answer, () => {
      const socket = net.connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
      socket.on("error", fail);
      tell("echoed", socket, () => socket.destroy());
      socket.end(Buffer.alloc(1_000_000, "x"));
    });
  })
  .on("error", fail);
