# A real SOAP server for the tests of the plugin `xml-json`: PyPI `spyne` on a free port, which it prints. /11 speaks SOAP 1.1 and /12
# speaks SOAP 1.2. It ends when its standard input does.
import logging
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

from spyne import Application, ComplexModel, Fault, Float, Integer, Iterable, ServiceBase, Unicode, rpc
from spyne.protocol.soap import Soap11, Soap12
from spyne.server.wsgi import WsgiApplication

logging.disable(logging.CRITICAL)
NAMESPACE = "urn:shop"


class Order(ComplexModel):
    __namespace__ = NAMESPACE
    id = Integer
    total = Float
    note = Unicode


class Shop(ServiceBase):
    @rpc(Unicode, Integer(default=2), _returns=Iterable(Order))
    def orders(ctx, customer, count):
        if customer == "nobody":
            raise Fault("Client.NotFound", "a secret about nobody")
        if customer == "broken":
            raise ValueError("a secret of the server")
        return [Order(id=n, total=n + 0.5, note=customer) for n in range(1, count + 1)]

    @rpc(Unicode, _returns=Unicode)
    def echo(ctx, text):
        return text


def application(protocol):
    return WsgiApplication(Application([Shop], NAMESPACE, in_protocol=protocol(validator="lxml"), out_protocol=protocol()))


versions = {"/11": application(Soap11), "/12": application(Soap12)}


def answer(environ, start_response):
    return versions[environ["PATH_INFO"]](environ, start_response)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, answer, handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
