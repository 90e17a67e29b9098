// Calls the service of notes.proto as browsers do, and prints one JSON line for what each call gave.
//
// usage: client.mjs MODULES SET GATEWAY CLIENT, where SET is a file with a FileDescriptorSet and CLIENT one of connect,
// connect-json, connect-grpc-web, grpc-web, grpc-web-text
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, set, gateway, client] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(modules, "index.js")));
const { createFileRegistry, fromBinary, toBinary, toJson, create } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(set)));
const service = registry.getService("test.Echo");
const note = registry.getMessage("test.Note");
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const json = (message) => toJson(note, message);

async function byConnect(transport) {
  const { createClient, Code } = require("@connectrpc/connect");
  const echo = createClient(service, transport);
  let header, trailer;
  const heard = { onHeader: (it) => (header = it), onTrailer: (it) => (trailer = it), headers: { "x-mine": "m" } };
  const answer = await echo.unary({ text: "ü", count: 5n, tags: ["a"] }, heard);
  say({ answer: json(answer), header: header.get("x-header"), trailer: trailer.get("x-trailer") });
  try {
    await echo.fail({});
  } catch (error) {
    say({ code: Code[error.code], message: error.rawMessage });
  }
  try {
    await echo.hang({}, { timeoutMs: 1500 });
  } catch (error) {
    say({ code: Code[error.code] });
  }
  if (client === "connect-grpc-web") {
    for await (const message of echo.ticks({ count: 2n })) say({ message: json(message) });
  }
}

// Without streams: what stands in for XMLHttpRequest here shows an answer only when it is whole.
async function byGrpcWeb(format) {
  global.XMLHttpRequest = require("xhr2");
  const { GrpcWebClientBase, MethodDescriptor, MethodType } = require("grpc-web");
  const base = new GrpcWebClientBase({ format });
  const method = (name, type) =>
    new MethodDescriptor(`/test.Echo/${name}`, type, Object, Object, (it) => toBinary(note, it), (it) => fromBinary(note, it));
  const unary = (name, message) =>
    base.thenableCall(`${gateway}/test.Echo/${name}`, message, { "x-mine": "m" }, method(name, MethodType.UNARY));
  say({ answer: json(await unary("Unary", create(note, { text: "ü", count: 5n, tags: ["a"] }))) });
  try {
    await unary("Fail", create(note, {}));
  } catch (error) {
    say({ code: error.code, message: error.message });
  }
}

const { createConnectTransport, createGrpcWebTransport } = require("@connectrpc/connect-web");
switch (client) {
  case "connect":
    await byConnect(createConnectTransport({ baseUrl: gateway, useBinaryFormat: true }));
    break;
  case "connect-json":
    await byConnect(createConnectTransport({ baseUrl: gateway }));
    break;
  case "connect-grpc-web":
    await byConnect(createGrpcWebTransport({ baseUrl: gateway }));
    break;
  case "grpc-web":
    await byGrpcWeb("binary");
    break;
  case "grpc-web-text":
    await byGrpcWeb("text");
    break;
}
say("end");
