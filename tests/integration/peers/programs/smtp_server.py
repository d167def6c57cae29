import socketserver
import sys


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 mail.test ESMTP\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = 0
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines += line.startswith(b"line ")
                self.wfile.write(b"250 taken %d\r\n" % lines)
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 well\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Session) as server:
    server.serve_forever()
