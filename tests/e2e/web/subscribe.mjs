// A gRPC-Web client as a browser would be one: createGrpcWebTransport over fetch, HTTP/1.1.
//
//   node subscribe.mjs GATEWAY_URL DESCRIPTOR_SET TOKEN COUNT [binary|text]
//
// Prints "ready" once the subscription is open, then each incident id, one a line, and ends after COUNT incidents.
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const [url, descriptors, token, count] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const live = registry.getService("tocsin.live.v1.LiveService");
if (!live) throw new Error("tocsin.live.v1.LiveService is not in the descriptor set");

const client = createClient(live, createGrpcWebTransport({ baseUrl: url }));
let received = 0;
try {
  const responses = client.subscribe(
    { kinds: [3], from: 1 },
    { headers: { authorization: `Bearer ${token}` } },
  );
  for await (const response of responses) {
    if (response.change.case === "heartbeat") console.log("ready");
    if (response.change.case !== "incident") continue;
    console.log(response.change.value.id);
    received += 1;
    // A server stream never ends by itself: the client leaves, as a closed browser tab does.
    if (received >= Number(count)) process.exit(0);
  }
} catch (error) {
  console.error(`${error.code ?? ""} ${error.message}`);
  process.exitCode = 1;
}
