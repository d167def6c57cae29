import socket
import sys

value = bytes(n * 7 % 251 for n in range(500_000))
same = 0
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    file = connection.makefile("rb")
    for n in range(20):
        connection.sendall(b"set k%d 0 0 %d\r\n" % (n, len(value)) + value + b"\r\n")
        assert file.readline() == b"STORED\r\n"
        connection.sendall(b"get k%d\r\n" % n)
        assert file.readline() == b"VALUE k%d 0 %d\r\n" % (n, len(value))
        same += file.read(len(value)) == value
        assert file.readline() == b"\r\n" and file.readline() == b"END\r\n"
print("same", same, "times")
