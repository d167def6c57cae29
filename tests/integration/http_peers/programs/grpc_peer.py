"""gRPC without generated code: grpc_peer.py serve PORT | ask HOST:PORT.

The client prints `call SERVICE/METHOD CODE SENT-BY` for each call: whether the server said how it
ended, or the client gave up by itself.
"""

import concurrent.futures
import sys
import threading

import grpc

SERVICE = "shop.v1.Orders"


def unary(request, context):
    return request


def refuse(request, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


def fail_late(request, context):
    yield request
    context.abort(grpc.StatusCode.DATA_LOSS, "half of it is gone")


def count(requests, context):
    return str(sum(1 for _ in requests)).encode()


def split(request, context):
    for byte in request:
        yield bytes([byte])


def talk(requests, context):
    yield from requests


def hang(request, context):
    """Until the client gives up."""
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)
    return b""


def hang_after_one(request, context):
    yield request
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
        "Count": grpc.stream_unary_rpc_method_handler(count),
        "Split": grpc.unary_stream_rpc_method_handler(split),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Hang": grpc.unary_unary_rpc_method_handler(hang),
        "HangAfterOne": grpc.unary_stream_rpc_method_handler(hang_after_one),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def told(method, code, by="server"):
    print(f"call {SERVICE}/{method} {code.value[0]} {by}", flush=True)


def ask(addr):
    ok = grpc.StatusCode.OK
    with grpc.insecure_channel(addr) as channel:
        grpc.channel_ready_future(channel).result(30)

        def path(method):
            return f"/{SERVICE}/{method}"

        for _ in range(3):
            assert channel.unary_unary(path("Unary"))(b"hello", timeout=30) == b"hello"
            told("Unary", ok)
        # More than one frame each way.
        large = b"x" * 200_000
        assert channel.unary_unary(path("Unary"))(large, timeout=30) == large
        told("Unary", ok)
        # Several at once.
        calls = [channel.unary_unary(path("Unary")).future(b"%d" % n, timeout=30) for n in range(10)]
        for call in calls:
            call.result()
            told("Unary", call.code())

        assert channel.stream_unary(path("Count"))(iter([b"a", b"b", b"c"]), timeout=30) == b"3"
        told("Count", ok)
        assert list(channel.unary_stream(path("Split"))(b"abc", timeout=30)) == [b"a", b"b", b"c"]
        told("Split", ok)
        assert list(channel.stream_stream(path("Talk"))(iter([b"a", b"b"]), timeout=30)) == [b"a", b"b"]
        told("Talk", ok)

        for method in ["Refuse", "Missing"]:
            try:
                channel.unary_unary(path(method))(b"", timeout=30)
            except grpc.RpcError as error:
                told(method, error.code())
        try:
            list(channel.unary_stream(path("FailLate"))(b"a", timeout=30))
        except grpc.RpcError as error:
            told("FailLate", error.code())

        try:
            channel.unary_unary(path("Hang"))(b"", timeout=0.3)
        except grpc.RpcError as error:
            told("Hang", error.code(), "client")
        call = channel.unary_stream(path("HangAfterOne"))(b"a", timeout=30)
        assert next(call) == b"a"
        call.cancel()
        told("HangAfterOne", grpc.StatusCode.CANCELLED, "client")
        # The connection is as good as before.
        channel.unary_unary(path("Unary"))(b"hello", timeout=30)
        told("Unary", ok)


serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(sys.argv[2])
