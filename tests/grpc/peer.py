"""A server and a client of notes.proto by grpcio.

usage: peer.py serve SET            prints its port, and serves until its input ends
       peer.py call SET ADDRESS METHOD JSON    prints a JSON line: the answer with its metadata, or the status

SET is a file with a FileDescriptorSet.
"""

import json
import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


def note_class(path: str):
    files = descriptor_pb2.FileDescriptorSet.FromString(open(path, "rb").read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Note"))


def serve(note) -> None:
    def unary(request, context):
        context.send_initial_metadata((("x-header", "of python"),))
        context.set_trailing_metadata((("x-trailer", "of python"), ("x-mine", dict(context.invocation_metadata()).get("x-mine", ""))))
        return request

    def collect(requests, context):
        return note(tags=[tag for request in requests for tag in request.tags])

    def bidi(requests, context):
        yield from requests

    def ticks(request, context):
        for _ in range(request.count):
            yield request

    def fail(request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no ü: 100 %")

    forms = {"request_deserializer": note.FromString, "response_serializer": note.SerializeToString}
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, **forms),
        "Collect": grpc.stream_unary_rpc_method_handler(collect, **forms),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi, **forms),
        "Ticks": grpc.unary_stream_rpc_method_handler(ticks, **forms),
        "Fail": grpc.unary_unary_rpc_method_handler(fail, **forms),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


def call(note, address: str, method: str, text: str) -> None:
    request = json_format.Parse(text, note())
    with grpc.insecure_channel(address) as channel:
        unary = channel.unary_unary(f"/test.Echo/{method}", note.SerializeToString, note.FromString)
        try:
            answer, rpc = unary.with_call(request, timeout=10, metadata=(("x-mine", "m"),))
            metadata = dict(rpc.initial_metadata())
            print(json.dumps({"answer": json_format.MessageToDict(answer), "metadata": metadata}))
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name, "message": error.details()}))


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    serve(note_class(path)) if what == "serve" else call(note_class(path), *rest)
